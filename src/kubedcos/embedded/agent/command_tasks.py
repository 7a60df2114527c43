"""Tasks with a command, each under a command executor of its own: launch, kill, limits, end.

Tasks of a group share an executor instead: see `groups`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from kubedcos.embedded.agent.container_rules import EXECUTOR_MARGIN, executor_grace, limits_of
from kubedcos.embedded.agent.isolators.disk import Exceeded, Watched
from kubedcos.embedded.agent.launching import LaunchRefused, launch_failed
from kubedcos.errors import KubedcosError

if TYPE_CHECKING:
    from kubedcos.embedded.agent.agent import Agent
    from kubedcos.embedded.agent.taskrun import TaskRun
    from kubedcos.mesos.messages import KillPolicy, TaskStatus

log = logging.getLogger("kubedcos.embedded.agent")

SHUTDOWN_SLACK: Final = 1.0
"""Seconds that an executor gets beyond the grace period before its container is ended anyway."""


class CommandTasks:
    """All such tasks of one agent; which there are, the agent knows."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def launch(self, run: TaskRun) -> None:
        """Launch a task that was taken on."""
        run.launching = asyncio.create_task(self.agent.launcher.start(run))
        self.agent.spawn(self._launch(run, run.launching))

    def follow(self, run: TaskRun) -> None:
        """Follow the executor of a task until it is gone; it may be gone already."""
        run.watching = asyncio.create_task(self._watch(run))

    async def _launch(self, run: TaskRun, launching: asyncio.Task[None]) -> None:
        """From a task that was taken on to a running executor, or to the reason why not."""
        try:
            await launching
        except asyncio.CancelledError:
            state, reason = "TASK_KILLED", "REASON_TASK_KILLED_DURING_LAUNCH"
            failure = (state, reason, "Killed before delivery to the executor")
        except LaunchRefused as error:
            failure = error.status
            self.agent.count("slave/container_launch_errors")
        except Exception as error:
            log.exception("Launching task %s", run.run.executor_id)
            failure = launch_failed(f"{type(error).__name__}: {error}").status
        else:
            run.launching = None
            self.follow(run)
            return
        run.launching = None
        run.held = run.from_agent(self.agent.clock.time(), *failure)
        await self._finish(run)

    async def _watch(self, run: TaskRun) -> None:
        """Follow a container's executor until it is gone, then end the container."""
        connection = await self.agent.containers.connect(run.run.container_id)
        if connection is not None:
            reader, run.channel = connection
            run.recovered = False
            for line in run.unsent:
                run.channel.write(line)
            run.unsent.clear()
            with contextlib.suppress(ConnectionError):
                while await reader.read(4096):
                    self._take_in(run)
            run.channel.close()
            run.channel = None
        self._take_in(run)
        await self._finish(run)

    def _take_in(self, run: TaskRun) -> None:
        run.read_journal()
        self.agent.changed()

    async def _finish(self, run: TaskRun) -> None:
        """End the container; only then tell the framework, so that what it held is free."""
        agent = self.agent
        oom_kills = agent.containers.cgroups.oom_kills(run.run.container_id)
        try:
            await agent.containers.destroy(agent.agent_id, run.run)
        except KubedcosError as error:
            agent.count("containerizer/mesos/container_destroy_errors")
            log.error("Destroying container %s: %s", run.run.container_id, error)
        if not run.silent and not run.stream.terminated:
            status = run.told(self._terminal_status(run, oom_kills))
            run.stream.add(status)
            agent.count("slave/tasks_" + status.state.removeprefix("TASK_").lower())
        run.ended = True
        agent.settle(run)
        agent.changed()

    def _terminal_status(self, run: TaskRun, oom_kills: int) -> TaskStatus:
        now = self.agent.clock.time()
        if run.memory is not None:
            return run.memory_exceeded(now, run.memory)
        if run.held is not None:
            return run.held
        if oom_kills:
            report = self.agent.killed_by_limit(limits_of(run.task).hard_memory)
            return run.memory_exceeded(now, report)
        message = "Executor terminated"
        if run.recovered:
            message = "Abnormal executor termination: unknown container"
        return run.from_agent(now, "TASK_FAILED", "REASON_EXECUTOR_TERMINATED", message)

    def kill(self, run: TaskRun, policy: KillPolicy | None) -> None:
        """End a task, also while it is being launched."""
        if run.launching is not None and run.launching.cancel():
            return
        grace = policy.grace_period if policy is not None else None
        run.send({"kill": None if grace is None else grace.nanoseconds / 1e9})

    def end(self, runs: Iterable[TaskRun]) -> None:
        """End tasks without a word to anyone."""
        for run in runs:
            run.silent = True
            if run.ended:
                self.agent.settle(run)
            elif run.launching is None or not run.launching.cancel():
                grace = executor_grace(run.task, self._usual_grace)
                run.send({"shutdown": grace - EXECUTOR_MARGIN})
                self.agent.spawn(self._end_after(run, grace + SHUTDOWN_SLACK))

    def patience(self) -> float:
        """Seconds that ending all tasks may take."""
        usual = self._usual_grace
        alone = (run for run in self.agent.live() if run.group is None)
        return max([usual, *(executor_grace(run.task, usual) for run in alone)]) + SHUTDOWN_SLACK

    @property
    def _usual_grace(self) -> float:
        return self.agent.settings.flags.seconds("executor_shutdown_grace_period")

    async def _end_after(self, run: TaskRun, seconds: float) -> None:
        """End a container whose executor did not end in time."""
        if run.watching is not None:
            await asyncio.wait({run.watching}, timeout=seconds)
        if not run.ended:
            await self.agent.containers.destroy(self.agent.agent_id, run.run)

    # Disk

    def watched_of(self, run: TaskRun) -> Watched:
        """A task's container as the disk isolator sees it."""
        sandbox = self.agent.store.layout.sandbox(self.agent.agent_id, run.run)
        return Watched(run.run.container_id, sandbox, ((sandbox, run.task.resources),))

    def watched(self) -> list[Watched]:
        """The containers that live."""
        alone = (run for run in self.agent.live() if run.group is None and not run.ended)
        return [self.watched_of(run) for run in alone]

    def limit_exceeded(self, container_id: str, exceeded: Exceeded) -> None:
        """End the container, if it is ours, because it uses too much."""
        for run in self.agent.live():
            if run.run.container_id == container_id and run.held is None and not run.ended:
                run.held = run.disk_exceeded(self.agent.clock.time(), exceeded)
                self.agent.spawn(self.agent.end_container(run.run))
