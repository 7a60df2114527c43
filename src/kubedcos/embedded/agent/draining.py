"""What a drain means on the agent: how long tasks may take to end, and how their ends are told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from kubedcos.embedded.protocol import DrainConfig
from kubedcos.mesos.messages import FrameworkInfo, KillPolicy, TaskStatus

if TYPE_CHECKING:
    from kubedcos.embedded.agent.agent import Agent
    from kubedcos.embedded.agent.taskrun import TaskRun

log = logging.getLogger("kubedcos.embedded.agent")

TOO_LATE: Final = "Task was received while agent was already draining"
"""Why a task that comes during a drain is dropped."""


def kill_policy(config: DrainConfig, own: KillPolicy | None) -> KillPolicy | None:
    """The policy of a task's kill: the drain's where it is stricter than the task's `own`."""
    longest = config.max_grace_period
    if longest is None:
        return None
    grace = own.grace_period if own is not None else None
    if grace is None or longest.nanoseconds < grace.nanoseconds:
        return KillPolicy(longest)
    return None


def told(status: TaskStatus, config: DrainConfig | None, framework: FrameworkInfo) -> TaskStatus:
    """A status as the framework hears it, by the drain that goes on, if any.

    Where the agent will be marked gone, a PARTITION_AWARE framework hears of the beginning of the
    kill already as of the end.
    """
    if config is None or status.state not in {"TASK_KILLING", "TASK_KILLED"}:
        return status
    aware = any(capability.type == "PARTITION_AWARE" for capability in framework.capabilities)
    state = "TASK_GONE_BY_OPERATOR" if config.mark_gone and aware else status.state
    return replace(status, state=state, reason="REASON_AGENT_DRAINING")


class Draining:
    """The drain of one agent.

    Attributes:
        config: while a drain goes on, which is until nothing is left.
        started: since when, in seconds since 1970.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.config: DrainConfig | None = None
        self.started: float | None = None

    def start(self, config: DrainConfig) -> None:
        """Kill everything, and take on nothing until it is gone."""
        agent = self._agent
        if not agent.runs and not agent.groups.executors:
            log.info("Asked to drain; there is nothing to drain")
            return
        log.info("Draining")
        agent.store.save_drain(agent.agent_id, config)
        self.config, self.started = config, agent.clock.time()
        for run in agent.live():
            agent.kill(run.key, kill_policy(config, run.task.kill_policy))

    def end_when_done(self) -> None:
        """The drain is over when tasks and executors are, and everybody knows."""
        agent = self._agent
        if self.config is not None and not agent.runs and not agent.groups.executors:
            log.info("Drained")
            agent.store.forget_drain(agent.agent_id)
            self.config = self.started = None

    def recover(self) -> None:
        """Go on where an earlier agent process stopped, once its tasks are found again."""
        self.config = self._agent.store.drain(self._agent.agent_id)
        if self.config is not None:
            self.start(self.config)
            self.end_when_done()

    def tell_of(self, run: TaskRun) -> Callable[[TaskStatus], TaskStatus]:
        """How statuses of a task are told, by the drain of that moment."""
        return lambda status: told(status, self.config, run.framework)
