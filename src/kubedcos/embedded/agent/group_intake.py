"""Task groups that arrive at this agent: taken on, kept on disk, handed to their executor."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kubedcos.embedded.agent import group_store
from kubedcos.embedded.agent.container_rules import refusal
from kubedcos.embedded.agent.draining import TOO_LATE
from kubedcos.embedded.agent.group_executor import (
    GroupExecutor,
    Key,
    add_member,
    executor_of,
    without_executor,
)
from kubedcos.embedded.agent.group_launching import GroupLauncher
from kubedcos.embedded.agent.group_store import StoredGroup
from kubedcos.embedded.agent.launching import LaunchRefused, launch_failed
from kubedcos.embedded.agent.paths import Run
from kubedcos.embedded.agent.taskrun import TaskRun
from kubedcos.embedded.protocol import ExitedExecutor, RunTaskGroup
from kubedcos.mesos.messages import ExecutorInfo, FrameworkInfo, TaskInfo

if TYPE_CHECKING:
    from kubedcos.embedded.agent.groups import Groups

log = logging.getLogger("kubedcos.embedded.agent")

NEVER_STARTED = -1
"""Exit status of an executor that the master expects and that never ran."""


class GroupIntake:
    """What happens to a group between its arrival and its executor."""

    def __init__(self, groups: Groups) -> None:
        self.groups = groups
        self.agent = groups.agent
        self.launcher = GroupLauncher(groups.agent.launcher)

    def run_group(self, call: RunTaskGroup) -> None:
        """Take a group on: it is on disk when this returns, and is launched after that."""
        assert call.framework.id is not None
        key = (call.framework.id.value, call.executor.executor_id.value)
        tasks = call.tasks
        if self.agent.draining.config is not None:
            self._drop(call, TOO_LATE, "REASON_AGENT_DRAINING")
            if call.launch_executor:
                self.groups.exits.append(
                    ExitedExecutor(call.framework.id, call.executor.executor_id, NEVER_STARTED)
                )
            return
        if any((key[0], task.task_id.value) in self.agent.runs for task in tasks):
            log.warning("Ignoring a group of executor %s: a task of it is here already", key[1])
            return
        existing = self.groups.executors.get(key)
        if call.launch_executor and existing is not None:
            message = "Master wants to launch executor, but one already exists"
            self._drop(call, message)
            if existing.ended:
                self.groups.tell_exit(existing, NEVER_STARTED)
            else:
                self.groups.shutdown(key)
            return
        if not call.launch_executor and (existing is None or existing.ended):
            message = "No executor is expected to launch and there is none running"
            self._drop(call, message)
            return
        log.info("Got a group of %d tasks for executor %s of framework %s", len(tasks), *key[::-1])
        self.agent.save_framework(call.framework)
        executor = existing or self._new(key, call.executor, call.framework)
        members = self._take_on(executor, tasks)
        launch = asyncio.create_task(self._launch(executor, members))
        executor.launching[tuple(member.task.task_id.value for member in members)] = launch
        self.agent.spawn(self._launched(executor, members, launch))

    def _new(self, key: Key, info: ExecutorInfo, framework: FrameworkInfo) -> GroupExecutor:
        run = Run(*key, str(uuid.uuid4()))
        group_store.save_executor(self.agent.store, self.agent.agent_id, run, info)
        executor = executor_of(self.agent, run, info, framework)
        self.groups.executors[key] = executor
        return executor

    def _take_on(self, executor: GroupExecutor, tasks: Iterable[TaskInfo]) -> list[TaskRun]:
        store, agent_id = self.agent.store, self.agent.agent_id
        plain = tuple(without_executor(task) for task in tasks)
        containers = {task.task_id.value: str(uuid.uuid4()) for task in plain}
        group = StoredGroup(plain, containers)
        group_store.save_group(store, agent_id, executor.run, executor.groups, group)
        executor.groups += 1
        members = [add_member(self.agent, executor, task, containers) for task in plain]
        for member in members:
            self.agent.runs[member.key] = member
        return members

    def _drop(
        self, call: RunTaskGroup, message: str, reason: str = "REASON_EXECUTOR_TERMINATED"
    ) -> None:
        """The tasks never come to be; their framework hears why."""
        assert call.framework.id is not None
        for task in call.tasks:
            run = Run(call.framework.id.value, call.executor.executor_id.value, str(uuid.uuid4()))
            self.agent.drop(run, task, call.framework, reason, message)

    async def _launch(self, executor: GroupExecutor, members: list[TaskRun]) -> None:
        """Start the executor if need be, prepare the tasks, and hand them over.

        Raises:
            LaunchRefused: a task, and with it the group, cannot or may not be started.
        """
        for member in members:
            refused = refusal(member.task, self.agent.settings.isolators.names)
            if refused is not None:
                raise LaunchRefused(refused)
        async with executor.lock:
            if not executor.started:
                await self.launcher.start_executor(executor, members)
                executor.started = True
                executor.watching = asyncio.create_task(self.groups.watch(executor))
            descriptions = [await self.launcher.prepare(executor, member) for member in members]
            self.groups.limit(executor)
            if members:
                executor.send({"launch": descriptions})
            for member in members:
                executor.delivered.add(member.task.task_id.value)

    async def _launched(
        self, executor: GroupExecutor, members: list[TaskRun], launch: asyncio.Task[None]
    ) -> None:
        """What a launch came to: nothing more to do, or the last statuses of its tasks."""
        failure: tuple[str, str, str] | None = None
        try:
            await launch
        except asyncio.CancelledError:
            failure = (
                "TASK_KILLED",
                "REASON_TASK_KILLED_DURING_LAUNCH",
                "A task within the task group was killed before delivery to the executor",
            )
        except LaunchRefused as error:
            failure = error.status
            self.agent.count("slave/container_launch_errors")
        except Exception as error:
            log.exception("Launching a group of executor %s", executor.run.executor_id)
            failure = launch_failed(f"{type(error).__name__}: {error}").status
        executor.launching.pop(tuple(member.task.task_id.value for member in members), None)
        if failure is None:
            return
        for member in members:
            if not executor.ended:
                self.groups.end_task(member, failure)
        if executor.launching or executor.delivered:
            return
        if executor.started:
            self.groups.shutdown(executor.key)
        else:
            executor.exit_status = NEVER_STARTED
            await self.groups.finish(executor)
