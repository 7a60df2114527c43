"""One simulated agent: it keeps what an agent keeps and says what an agent says.

The life of a task and the order of its updates are the embedded agent's own code (`Lifecycle`,
`UpdateStream`); only processes are missing.
"""

from __future__ import annotations

import base64
import random
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from kubedcos.clock import Clock
from kubedcos.embedded.agent.executor.lifecycle import DEFAULT_KILL_GRACE, Lifecycle, TaskRules
from kubedcos.embedded.agent.updates import UpdateStream
from kubedcos.embedded.protocol import (
    AGENT_CAPABILITIES,
    MESOS_VERSION,
    AgentCall,
    AgentReply,
    MasterCall,
    Register,
    Reregister,
    RunTasks,
    StatusUpdate,
    UnknownTasks,
)
from kubedcos.embedded.simulation.behaviour import Behaviour
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    AgentID,
    AgentInfo,
    Capability,
    ContainerID,
    ContainerStatus,
    ExecutorID,
    FrameworkInfo,
    NetworkInfo,
    Resource,
    Task,
    TaskID,
    TaskInfo,
    TaskStatus,
)
from kubedcos.mesos.task_messages import IPAddress

_SOONEST: Final = 0.001
_CAPABILITIES: Final = tuple(Capability(name) for name in AGENT_CAPABILITIES)

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


class SimulatedAgent:
    """An agent.

    Args:
        info: who it is, without an id.
        address: the IP address that it says it has.
        outside: time, chance, and the way to the master.

    Attributes:
        tasks: those that live and those whose end nobody has acknowledged.
        reachable: whether anything passes between it and the master.
    """

    __slots__ = (
        *("address", "checkpointed", "id", "info", "outside", "reachable", "session", "tasks"),
    )

    def __init__(self, info: AgentInfo, address: str, outside: Outside) -> None:
        self.info = info
        self.address = address
        self.outside = outside
        self.id: AgentID | None = None
        self.session = ""
        self.tasks: dict[TaskKey, SimulatedTask] = {}
        self.checkpointed: tuple[Resource, ...] = ()
        self.reachable = True

    def registration(self) -> AgentCall:
        """The call that begins a session."""
        if self.id is None:
            register = Register(
                agent_info=self.info,
                address=self.address,
                version=MESOS_VERSION,
                checkpointed_resources=self.checkpointed,
                capabilities=_CAPABILITIES,
            )
            return AgentCall("REGISTER", register=register)
        told = [task for task in self.tasks.values() if not task.silent]
        frameworks = {task.key[0]: task.framework for task in told}
        reregister = Reregister(
            agent_info=replace(self.info, id=self.id),
            address=self.address,
            version=MESOS_VERSION,
            tasks=tuple(self._view(task) for task in told),
            frameworks=tuple(frameworks.values()),
            checkpointed_resources=self.checkpointed,
            capabilities=_CAPABILITIES,
        )
        return AgentCall("REREGISTER", agent_id=self.id, reregister=reregister)

    def registered(self, reply: AgentReply) -> None:
        """The session stands; what is not acknowledged goes out again."""
        self.id, self.session = reply.agent_id, reply.session
        for unknown in reply.unknown_tasks:
            self._tell_unknown(unknown)
        for task in list(self.tasks.values()):
            task.stream.resend()
            self._send_next(task)

    def take(self, call: MasterCall) -> None:
        """A call of the master."""
        match call:
            case MasterCall(run_tasks=RunTasks() as launched):
                for info in launched.tasks:
                    self._launch(info, launched.framework)
            case MasterCall(kill_task=order) if order is not None:
                self.kill((order.framework_id.value, order.task_id.value))
            case MasterCall(acknowledge=order) if order is not None:
                self._acknowledged((order.framework_id.value, order.task_id.value), order.uuid)
            case MasterCall(checkpoint_resources=order) if order is not None:
                self.checkpointed = order.resources
            case MasterCall(update_framework=order) if order is not None:
                self._framework_changed(order.framework)
            case MasterCall(shutdown_framework=order) if order is not None:
                framework_id = order.framework_id.value
                self._end_all(task for task in self._live() if task.key[0] == framework_id)
            case MasterCall(type="DRAIN"):
                for task in self._live():
                    self.kill(task.key)
            case MasterCall(type="SHUTDOWN"):
                self._end_all(self._live())
                self.reachable = False

    def kill(self, key: TaskKey) -> None:
        """End a task as an operator or a framework does: it is asked, then it stops."""
        task = self.tasks.get(key)
        if task is None or not task.live or task.life.killing_since is not None:
            return
        self._add(task, task.life.kill(self.outside.clock.monotonic()))
        stopping = min(task.behaviour.stops_after, task.life.rules.kill_grace)
        self._later(task, stopping, lambda: self._exited(task, signal.SIGTERM))

    def end(self, task: SimulatedTask, state: str, message: str = "", **more: Any) -> None:
        """A task ends by itself, in a state of the caller's choice."""
        told = {"message": message} if message else {}
        status = {"task_id": {"value": task.key[1]}, "state": state, "source": "SOURCE_EXECUTOR"}
        task.life.ended = True
        self._add(task, [status | told | more])

    def lose_tasks(self) -> None:
        """The machine was started anew: no task is left, and nobody was told."""
        self._end_all(list(self.tasks.values()))

    def _live(self) -> list[SimulatedTask]:
        return [task for task in self.tasks.values() if task.live]

    def _launch(self, info: TaskInfo, framework: FrameworkInfo) -> None:
        policy = info.kill_policy.grace_period if info.kill_policy is not None else None
        limit = info.max_completion_time
        rules = TaskRules(
            task_id=info.task_id.value,
            kill_grace=DEFAULT_KILL_GRACE if policy is None else policy.nanoseconds / 1e9,
            reports_killing=_can(framework, "TASK_KILLING_STATE"),
            max_completion_time=None if limit is None else limit.nanoseconds / 1e9,
        )
        network = NetworkInfo(ip_addresses=(IPAddress("IPv4", self.address),))
        task = SimulatedTask(
            info=info,
            framework=framework,
            behaviour=self.outside.behaviour(info),
            life=Lifecycle(rules),
            container=ContainerStatus(ContainerID(str(self._uuid())), (network,)),
            launched_at=self.outside.clock.time(),
        )
        if task.key in self.tasks:
            return
        self.tasks[task.key] = task
        self.outside.launched(self, task)
        how, life = task.behaviour, task.life
        self._later(task, how.starts_after, lambda: self._add(task, life.starting()))
        self._later(task, how.runs_after, lambda: self._run(task))

    def _run(self, task: SimulatedTask) -> None:
        self._add(task, task.life.running(self.outside.clock.monotonic()))
        how, limit = task.behaviour, task.life.rules.max_completion_time
        if limit is not None and (how.runs_for is None or how.runs_for > limit):
            self._later(task, limit, lambda: self._out_of_time(task))
        elif how.runs_for is not None:
            self._later(task, how.runs_for, lambda: self._exited(task, how.exit_status << 8))

    def _out_of_time(self, task: SimulatedTask) -> None:
        number = task.life.signal_due(self.outside.clock.monotonic())
        if number is not None:
            self._exited(task, number)

    def _exited(self, task: SimulatedTask, wait_status: int) -> None:
        self._add(task, task.life.exited(wait_status))

    def _later(self, task: SimulatedTask, seconds: float, do: Callable[[], None]) -> None:
        """Something happens to the task, if it still lives by then."""
        task.timers.append(self.outside.later(seconds, lambda: do() if task.live else None))

    def _add(self, task: SimulatedTask, statuses: list[dict[str, Any]]) -> None:
        for status in statuses:
            made = replace(
                msgspec.convert(status, TaskStatus),
                agent_id=self.id,
                executor_id=ExecutorID(task.key[1]),
                timestamp=self.outside.clock.time(),
                uuid=self._update_uuid(),
                container_status=task.container,
            )
            task.stream.add(made)
        if not task.live:
            _cancel(task.timers)
        self._send_next(task)

    def _send_next(self, task: SimulatedTask) -> None:
        """Send what is due; again later until it is acknowledged."""
        if task.silent:
            return
        now = self.outside.clock.monotonic()
        status = task.stream.take(now)
        if status is not None:
            body = StatusUpdate(task.framework.id or _missing(), status, task.state)
            call = AgentCall("STATUS_UPDATE", agent_id=self.id, status_update=body)
            self.outside.send(self, call)
        due = task.stream.due_at()
        if task.resend is not None:
            task.resend.cancel()
        if due is not None:
            # A timer may come a little early.
            wait = max(due - now, _SOONEST)
            task.resend = self.outside.later(wait, lambda: self._send_next(task))

    def _acknowledged(self, key: TaskKey, uuid_: str) -> None:
        task = self.tasks.get(key)
        if task is None or not task.stream.acknowledge(uuid_):
            return
        if task.resend is not None:
            task.resend.cancel()
            task.resend = None
        if task.stream.acknowledged_terminal:
            del self.tasks[key]
        else:
            self._send_next(task)

    def _framework_changed(self, framework: FrameworkInfo) -> None:
        for task in list(self.tasks.values()):
            if framework.id is not None and task.key[0] == framework.id.value:
                task.framework = framework
                task.stream.resend()
                self._send_next(task)

    def _end_all(self, tasks: Any) -> None:
        for task in list(tasks):
            task.silent = True
            _cancel(task.timers)
            if task.resend is not None:
                task.resend.cancel()
            self.tasks.pop(task.key, None)

    def _tell_unknown(self, unknown: UnknownTasks) -> None:
        state = "TASK_DROPPED" if _can(unknown.framework, "PARTITION_AWARE") else "TASK_LOST"
        for task_id in unknown.task_ids:
            key = ((unknown.framework.id or _missing()).value, task_id.value)
            if key not in self.tasks:
                self.tasks[key] = self._ghost(task_id, unknown.framework, state)

    def _ghost(self, task_id: TaskID, framework: FrameworkInfo, state: str) -> SimulatedTask:
        """A task that only exists to say that it does not."""
        ghost = SimulatedTask(
            info=TaskInfo(task_id.value, task_id, self.id or _missing()),
            framework=framework,
            behaviour=Behaviour(),
            life=Lifecycle(TaskRules(task_id.value), ended=True),
            container=ContainerStatus(),
            launched_at=self.outside.clock.time(),
        )
        status = TaskStatus(
            task_id=task_id,
            state=state,
            message="Reconciliation: task unknown to the agent",
            source="SOURCE_AGENT",
            reason="REASON_RECONCILIATION",
            agent_id=self.id,
            timestamp=self.outside.clock.time(),
            uuid=self._update_uuid(),
        )
        ghost.stream.add(status)
        return ghost

    def _view(self, task: SimulatedTask) -> Task:
        forwarded, info = task.stream.forwarded, task.info
        return Task(
            name=info.name,
            task_id=info.task_id,
            framework_id=task.framework.id or _missing(),
            agent_id=self.id or _missing(),
            state=task.state,
            resources=info.resources,
            statuses=tuple(task.stream.statuses[-1:]),
            status_update_state=forwarded.state if forwarded else None,
            status_update_uuid=forwarded.uuid if forwarded else None,
            labels=info.labels,
            discovery=info.discovery,
            container=info.container,
            health_check=info.health_check,
            kill_policy=info.kill_policy,
            limits=info.limits,
        )

    def _uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.outside.chance.getrandbits(128), version=4)

    def _update_uuid(self) -> str:
        return base64.b64encode(self._uuid().bytes).decode()


def _can(framework: FrameworkInfo, capability: str) -> bool:
    return any(entry.type == capability for entry in framework.capabilities)


def _cancel(timers: list[Timer]) -> None:
    for timer in timers:
        timer.cancel()
    timers.clear()


def _forget(_record: object) -> None:
    """There is no disk to store an update on."""


def _missing() -> Any:
    raise ValueError("neither an agent nor a framework is without an id here")
