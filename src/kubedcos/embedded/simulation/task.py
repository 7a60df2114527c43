"""Simulated tasks, executors of task groups, and what an agent needs of the world around it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kubedcos.clock import Clock
from kubedcos.embedded.agent.executor.lifecycle import DEFAULT_KILL_GRACE, Lifecycle, TaskRules
from kubedcos.embedded.agent.updates import UpdateStream
from kubedcos.embedded.protocol import AgentCall
from kubedcos.embedded.simulation.behaviour import Behaviour
from kubedcos.mesos.container_messages import IPAddress
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    AgentID,
    ContainerID,
    ContainerStatus,
    ExecutorID,
    ExecutorInfo,
    FrameworkID,
    FrameworkInfo,
    NetworkInfo,
    Task,
    TaskInfo,
)

if TYPE_CHECKING:
    from kubedcos.embedded.simulation.agent import SimulatedAgent

TaskKey = tuple[str, str]
"""Framework id and task id."""


class Timer(Protocol):
    """Something that happens later, unless it is cancelled."""

    def cancel(self) -> None:
        """It does not happen."""
        ...


class Outside(Protocol):
    """What an agent needs of the world."""

    clock: Clock
    chance: random.Random

    def later(self, seconds: float, do: Callable[[], None]) -> Timer:
        """Do something after a while."""
        ...

    def send(self, agent: SimulatedAgent, call: AgentCall) -> None:
        """Send a call to the master; it is lost when the master is out of reach."""
        ...

    def behaviour(self, task: TaskInfo) -> Behaviour:
        """How a task goes."""
        ...

    def launched(self, agent: SimulatedAgent, task: SimulatedTask) -> None:
        """A task has come."""
        ...


@dataclass(slots=True, eq=False)
class SimulatedTask:
    """A task from its arrival to the acknowledgement of its end.

    Attributes:
        silent: no updates any more, because its framework was shut down.
        executor: of task groups, which it belongs to.
    """

    info: TaskInfo
    framework: FrameworkInfo
    behaviour: Behaviour
    life: Lifecycle
    container: ContainerStatus
    launched_at: float
    stream: UpdateStream = field(default_factory=lambda: UpdateStream(_forget))
    timers: list[Timer] = field(default_factory=list)
    resend: Timer | None = None
    silent: bool = False
    executor: SimulatedExecutor | None = None

    @property
    def executor_id(self) -> ExecutorID:
        """Of its executor: that of its group, or one of its own."""
        return self.executor.info.executor_id if self.executor else ExecutorID(self.key[1])

    @property
    def key(self) -> TaskKey:
        """Framework and task id."""
        assert self.framework.id is not None
        return self.framework.id.value, self.info.task_id.value

    @property
    def state(self) -> str:
        """The newest state, which may not have been sent yet."""
        return self.stream.statuses[-1].state if self.stream.statuses else "TASK_STAGING"

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.state not in TERMINAL_STATES

    def view(self, agent_id: AgentID) -> Task:
        """The task as the agent lists it for the master."""
        forwarded, info = self.stream.forwarded, self.info
        return Task(
            name=info.name,
            task_id=info.task_id,
            framework_id=FrameworkID(self.key[0]),
            agent_id=agent_id,
            executor_id=self.executor_id if self.executor is not None else None,
            state=self.state,
            resources=info.resources,
            statuses=tuple(self.stream.statuses[-1:]),
            status_update_state=forwarded.state if forwarded else None,
            status_update_uuid=forwarded.uuid if forwarded else None,
            labels=info.labels,
            discovery=info.discovery,
            container=info.container,
            health_check=info.health_check,
            kill_policy=info.kill_policy,
            limits=info.limits,
        )


@dataclass(slots=True, eq=False)
class SimulatedExecutor:
    """The default executor: tasks of a group live and die together.

    Attributes:
        groups: tasks that were launched together.
    """

    info: ExecutorInfo
    framework: FrameworkInfo
    groups: list[list[SimulatedTask]] = field(default_factory=list)

    @property
    def tasks(self) -> list[SimulatedTask]:
        """Its tasks that have not ended."""
        return [task for group in self.groups for task in group if task.live]

    def others(self, task: SimulatedTask) -> list[SimulatedTask]:
        """Living tasks of the same group."""
        group = next(group for group in self.groups if task in group)
        return [other for other in group if other is not task and other.live]


def new_task(
    info: TaskInfo,
    framework: FrameworkInfo,
    outside: Outside,
    address: str,
    executor: SimulatedExecutor | None,
) -> SimulatedTask:
    """A task that has just come to the agent with that address."""
    policy = info.kill_policy.grace_period if info.kill_policy is not None else None
    limit = info.max_completion_time
    rules = TaskRules(
        task_id=info.task_id.value,
        kill_grace=DEFAULT_KILL_GRACE if policy is None else policy.nanoseconds / 1e9,
        reports_killing=any(c.type == "TASK_KILLING_STATE" for c in framework.capabilities),
        max_completion_time=None if limit is None else limit.nanoseconds / 1e9,
    )
    network = NetworkInfo(ip_addresses=(IPAddress("IPv4", address),))
    return SimulatedTask(
        info=info,
        framework=framework,
        behaviour=outside.behaviour(info),
        life=Lifecycle(rules),
        container=ContainerStatus(ContainerID(str(new_uuid(outside))), (network,)),
        launched_at=outside.clock.time(),
        executor=executor,
    )


def new_uuid(outside: Outside) -> uuid.UUID:
    """By chance, so that everything follows from its seed."""
    return uuid.UUID(int=outside.chance.getrandbits(128), version=4)


def _forget(_record: object) -> None:
    """There is no disk to store an update on."""
