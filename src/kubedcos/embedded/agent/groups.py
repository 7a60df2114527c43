"""Executors of task groups on this agent: updates, kills, end, recovery; see also `group_intake`.

Each task of a group is a `TaskRun` among all others of the agent; what they share, their executor
with its container, is a `GroupExecutor`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kubedcos.embedded.agent import group_store
from kubedcos.embedded.agent.containers import kill_marked
from kubedcos.embedded.agent.executor.proctree import host_pid
from kubedcos.embedded.agent.group_executor import GroupExecutor, Key, add_member, executor_of
from kubedcos.embedded.agent.group_intake import GroupIntake
from kubedcos.embedded.agent.group_launching import group_limits
from kubedcos.embedded.agent.group_store import StoredExecutor
from kubedcos.embedded.agent.isolators.disk import Exceeded, Watched
from kubedcos.embedded.agent.taskrun import TaskRun
from kubedcos.embedded.agent.updates import UpdateStream
from kubedcos.embedded.protocol import ExitedExecutor, KnownExecutor
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    ExecutorID,
    FrameworkID,
    FrameworkInfo,
    KillPolicy,
    TaskInfo,
)

if TYPE_CHECKING:
    from kubedcos.embedded.agent.agent import Agent

log = logging.getLogger("kubedcos.embedded.agent")

COMPLETED_TASKS = 200
"""Ended tasks of one executor that are remembered, as in Mesos."""
SLACK = 1.0
"""Seconds that an executor gets beyond the grace period before its container is ended anyway."""


class Groups:
    """All executors of task groups of one agent.

    Attributes:
        executors: by framework and executor id, until the last end is acknowledged.
        completed: those that are over, newest last.
        exits: ends that the master has not been told yet.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.executors: dict[Key, GroupExecutor] = {}
        self.completed: list[GroupExecutor] = []
        self.exits: list[ExitedExecutor] = []
        self.intake = GroupIntake(self)

    def listed(self) -> tuple[KnownExecutor, ...]:
        """The executors that the master has to hold for running, as REREGISTER wants them."""
        leaving = {(end.framework_id.value, end.executor_id.value) for end in self.exits}
        return tuple(
            KnownExecutor(FrameworkID(executor.run.framework_id), executor.info)
            for executor in self.executors.values()
            if not executor.silent and (not executor.ended or executor.key in leaving)
        )

    def frameworks(self) -> set[str]:
        """Ids of the frameworks that have executors here."""
        return {framework_id for framework_id, _ in self.executors}

    def containers(self) -> set[str]:
        """Ids of the containers that are ours."""
        return {executor.run.container_id for executor in self.executors.values()}

    # Following

    def end_task(self, member: TaskRun, failure: tuple[str, str, str]) -> None:
        """Give a task its last status: state, reason, message."""
        status = member.from_agent(self.agent.clock.time(), *failure)
        self._ended(member, status.state)
        if not member.silent:
            member.stream.add(member.told(status))
        self.agent.settle(member)
        self.agent.changed()

    def _ended(self, member: TaskRun, state: str) -> None:
        member.ended = True
        self.agent.count("slave/tasks_" + state.removeprefix("TASK_").lower())

    def limit(self, executor: GroupExecutor) -> None:
        """The container holds as much as the executor and its living tasks together."""
        tasks = [member.task for member in executor.alive()]
        with contextlib.suppress(KubedcosError):
            limits = group_limits(executor.info, tasks)
            self.agent.containers.cgroups.update(executor.run.container_id, limits)

    async def watch(self, executor: GroupExecutor) -> None:
        """Follow an executor until it is gone, then end its container."""
        connection = await self.agent.containers.connect(executor.run.container_id)
        if connection is not None:
            reader, executor.channel = connection
            for line in executor.unsent:
                executor.channel.write(line)
            executor.unsent.clear()
            with contextlib.suppress(ConnectionError):
                while await reader.read(4096):
                    self._take_in(executor)
            executor.channel.close()
            executor.channel = None
            executor.recovered = False
        self._take_in(executor)
        await self.finish(executor)

    def _take_in(self, executor: GroupExecutor) -> None:
        """Read on in the executor's journal."""
        for record in executor.journal.read():
            if "start" in record:
                executor.executor_pid = int(record["start"]["pid"])
            elif "launched" in record:
                executor.delivered |= set(record["launched"])
            elif "forked" in record:
                self._forked(executor, record["forked"])
            elif "status" in record:
                self._status(executor, record["status"])
            elif "memory" in record:
                executor.memory = record["memory"]
            elif "exit" in record:
                executor.exit_status = int(record["exit"]["status"])
            elif "sync" in record and executor.recovered:
                executor.recovered = False
                self._undelivered(executor)
        self.agent.changed()

    def _forked(self, executor: GroupExecutor, record: dict[str, Any]) -> None:
        member = executor.members.get(record["task_id"])
        if member is not None:
            own = executor.executor_pid
            pid = int(record["pid"])
            member.executor_pid = pid if own is None else host_pid(pid, own)

    def _status(self, executor: GroupExecutor, record: dict[str, Any]) -> None:
        executor.last_uuid = record["uuid"]
        member = executor.members.get(record["task_id"]["value"])
        if member is None:
            return
        status = member.from_executor(record)
        if not member.silent:
            member.stream.add(member.told(status))
        if status.state in TERMINAL_STATES:
            if not member.ended:
                self._ended(member, status.state)
            self.limit(executor)
            self.agent.settle(member)

    def _undelivered(self, executor: GroupExecutor) -> None:
        """Tasks that the agent took on, died over, and never handed to the executor."""
        for task_id, member in list(executor.members.items()):
            if task_id not in executor.delivered and not member.ended:
                aware = "PARTITION_AWARE" in {c.type for c in executor.framework.capabilities}
                state = "TASK_DROPPED" if aware else "TASK_LOST"
                message = "Task launched during agent restart"
                self.end_task(member, (state, "REASON_AGENT_RESTARTED", message))
        if not executor.delivered:
            self.shutdown(executor.key)

    async def finish(self, executor: GroupExecutor) -> None:
        """End the container; only then tell the framework, so that what it held is free."""
        agent = self.agent
        oom_kills = agent.containers.cgroups.oom_kills(executor.run.container_id)
        await self._destroy(executor)
        executor.ended = True
        group_store.save_end(agent.store, agent.agent_id, executor.run)
        self.tell_exit(executor, executor.exit_status)
        for member in list(executor.members.values()):
            if member.ended or member.stream.terminated:
                continue
            now = agent.clock.time()
            if executor.disk is not None:
                status = member.disk_exceeded(now, executor.disk)
            elif executor.memory is not None or oom_kills:
                limit = group_limits(executor.info, [m.task for m in executor.members.values()])
                hard = limit.hard_memory
                report = executor.memory or agent.killed_by_limit(hard)
                status = member.memory_exceeded(now, report)
            else:
                message = "Executor terminated"
                if executor.recovered:
                    message = "Abnormal executor termination: unknown container"
                reason = "REASON_EXECUTOR_TERMINATED"
                status = member.from_agent(now, "TASK_FAILED", reason, message)
            if not member.silent:
                member.stream.add(status)
            self._ended(member, status.state)
            agent.settle(member)
        self._settle_executor(executor)
        agent.changed()

    def watched(self) -> list[Watched]:
        """The containers as the disk isolator sees them."""
        return [self.watched_of(each) for each in self.executors.values() if not each.ended]

    def watched_of(self, executor: GroupExecutor) -> Watched:
        """One of them: all tasks share the executor's sandbox."""
        sandbox = self.agent.store.layout.sandbox(self.agent.agent_id, executor.run)
        parts = [(sandbox, executor.info.resources)]
        parts += [
            (sandbox / "containers" / str(member.nested_id), member.task.resources)
            for member in executor.alive()
        ]
        return Watched(executor.run.container_id, sandbox, tuple(parts))

    def limit_exceeded(self, container_id: str, exceeded: Exceeded) -> bool:
        """End the executor of that container, if it is one; all its tasks fail for that reason."""
        for executor in self.executors.values():
            if executor.run.container_id == container_id:
                if executor.disk is None and not executor.ended:
                    executor.disk = exceeded
                    self.agent.spawn(self.agent.end_container(executor.run))
                return True
        return False

    async def _destroy(self, executor: GroupExecutor) -> None:
        agent = self.agent
        try:
            await agent.containers.destroy(agent.agent_id, executor.run)
        except KubedcosError as error:
            agent.count("containerizer/mesos/container_destroy_errors")
            text = "Destroying container %s: %s"
            log.error(text, executor.run.container_id, error)
        sandbox = agent.store.layout.sandbox(agent.agent_id, executor.run)
        with contextlib.suppress(OSError):
            for entry in os.scandir(sandbox / "containers"):
                await asyncio.to_thread(kill_marked, entry.path)

    def tell_exit(self, executor: GroupExecutor, status: int) -> None:
        """The master hears that an executor ended, or never was."""
        if not executor.silent:
            ids = (FrameworkID(executor.run.framework_id), ExecutorID(executor.run.executor_id))
            self.exits.append(ExitedExecutor(*ids, status))

    def update_framework(self, framework: FrameworkInfo) -> None:
        """The framework changed."""
        for executor in self.executors.values():
            if framework.id is not None and executor.run.framework_id == framework.id.value:
                executor.framework = framework

    # Ending

    def kill(self, member: TaskRun, policy: KillPolicy | None) -> None:
        """End a task; with it goes the rest of its group, as the executor sees to."""
        executor = member.group
        assert executor is not None
        task_id = member.task.task_id.value
        for ids, launch in executor.launching.items():
            if task_id in ids and launch.cancel():
                return
        grace = policy.grace_period if policy is not None else None
        seconds = None if grace is None else grace.nanoseconds / 1e9
        executor.send({"kill": seconds, "task_id": task_id})

    def shutdown(self, key: Key) -> None:
        """End an executor; unknown ones are ignored."""
        executor = self.executors.get(key)
        if executor is None or executor.ended:
            log.warning("Ignoring the shutdown of executor %s, which does not run here", key[1])
            return
        for launch in list(executor.launching.values()):
            launch.cancel()
        own = executor.info.shutdown_grace_period
        grace = self.agent.settings.flags.seconds("executor_shutdown_grace_period")
        if own is not None:
            grace = own.nanoseconds / 1e9
        executor.send({"shutdown": grace})
        self.agent.spawn(self._end_after(executor, grace + SLACK))

    async def _end_after(self, executor: GroupExecutor, seconds: float) -> None:
        if executor.watching is not None:
            await asyncio.wait({executor.watching}, timeout=seconds)
            if not executor.ended:
                await self.agent.containers.destroy(self.agent.agent_id, executor.run)

    def end(self, framework_id: str | None = None) -> None:
        """End all executors, or those of a framework, without a word to anyone."""
        for executor in list(self.executors.values()):
            if framework_id in (None, executor.run.framework_id):
                executor.silent = True
                for member in list(executor.members.values()):
                    member.silent = True
                    self.agent.settle(member)
                if executor.ended:
                    self._settle_executor(executor)
                else:
                    self.shutdown(executor.key)

    def settled(self, member: TaskRun) -> None:
        """A task is over for everybody."""
        executor = member.group
        assert executor is not None
        executor.members.pop(member.task.task_id.value, None)
        executor.settled.append(member)
        del executor.settled[:-COMPLETED_TASKS]
        if not executor.members:
            if executor.ended:
                self._settle_executor(executor)
            else:
                executor.send({"settled": executor.last_uuid})

    def _settle_executor(self, executor: GroupExecutor) -> None:
        if executor.ended and not executor.members and self.executors.get(executor.key) is executor:
            del self.executors[executor.key]
            self._retire(executor)
            self.agent.forget_idle_framework(executor.run.framework_id)

    def _retire(self, executor: GroupExecutor) -> None:
        self.completed.append(executor)
        limit = self.agent.settings.flags.integer("max_completed_executors_per_framework")
        del self.completed[:-limit]
        self.agent.gc.schedule(self.agent.agent_id, executor.run)

    # Recovery

    def recover(self, stored: Iterable[StoredExecutor]) -> None:
        """Take over what an earlier agent process left."""
        agent = self.agent
        for entry in stored:
            executor = executor_of(agent, entry.run, entry.info, entry.framework)
            executor.started = executor.recovered = True
            executor.silent = entry.silent
            executor.groups = len(entry.groups)
            executor.networks = agent.networks_of(executor.run, executor.info.container)
            for group in entry.groups:
                for task in group.tasks:
                    self._recover_member(executor, task, group.containers)
            executor.ended = entry.ended
            self._take_in(executor)
            if executor.ended and not executor.members:
                self._retire(executor)
                continue
            self.executors[executor.key] = executor
            agent.frameworks[entry.run.framework_id] = entry.framework
            if not executor.ended:
                log.info("Recovering executor %s of framework %s", *executor.key[::-1])
                executor.send({"sync": str(uuid.uuid4())})
                if not executor.members:
                    executor.send({"settled": executor.last_uuid})
                executor.watching = asyncio.create_task(self.watch(executor))
            if executor.silent:
                self.end(entry.run.framework_id)

    def _recover_member(
        self, executor: GroupExecutor, task: TaskInfo, containers: dict[str, str]
    ) -> None:
        agent = self.agent
        member = add_member(agent, executor, task, containers)
        task_id = task.task_id.value
        found = group_store.records(agent.store, agent.agent_id, executor.run, task_id)
        append = group_store.updates(agent.store, agent.agent_id, executor.run, task_id)
        member.stream = UpdateStream.recover(found, append)
        member.silent = executor.silent
        member.ended = member.stream.terminated
        if member.done:
            del executor.members[task_id]
            executor.settled.append(member)
        else:
            agent.runs[member.key] = member
