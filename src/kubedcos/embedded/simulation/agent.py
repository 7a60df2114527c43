"""One simulated agent: it keeps what an agent keeps and says what an agent says.

The life of a task and the order of its updates are the embedded agent's own code (`Lifecycle`,
`UpdateStream`); only processes are missing.
"""

from __future__ import annotations

import base64
import signal
from collections.abc import Callable
from typing import Any, ClassVar, Final

import msgspec
from msgspec.structs import replace

from kubedcos.embedded.agent.draining import TOO_LATE, kill_policy, told
from kubedcos.embedded.protocol import (
    AGENT_CAPABILITIES,
    MESOS_VERSION,
    Acknowledge,
    AgentCall,
    AgentReply,
    CheckpointResources,
    Drain,
    DrainConfig,
    ExitedExecutor,
    KillTask,
    KnownExecutor,
    MasterCall,
    Register,
    Reregister,
    RunTaskGroup,
    RunTasks,
    Shutdown,
    ShutdownExecutor,
    ShutdownFramework,
    StatusUpdate,
    UnknownTasks,
    UpdateFramework,
)
from kubedcos.embedded.simulation.absent import absent
from kubedcos.embedded.simulation.task import (
    Outside,
    SimulatedExecutor,
    SimulatedTask,
    TaskKey,
    Timer,
    new_task,
    new_uuid,
)
from kubedcos.mesos.messages import (
    AgentID,
    AgentInfo,
    Capability,
    ExecutorID,
    FrameworkID,
    FrameworkInfo,
    Resource,
    TaskID,
    TaskInfo,
    TaskStatus,
)

_CAPABILITIES: Final = tuple(Capability(name) for name in AGENT_CAPABILITIES)
_SOONEST: Final = 0.001
NEVER_STARTED: Final = -1
"""Exit status that Mesos gives for an executor that it did not start."""


class SimulatedAgent:
    """An agent.

    Args:
        info: who it is, without an id.
        address: the IP address that it says it has.
        outside: time, chance, and the way to the master.

    Attributes:
        tasks: those that live and those whose end nobody has acknowledged.
        executors: of task groups, by framework and executor id.
        draining: while a drain goes on.
        reachable: whether anything passes between it and the master.
    """

    __slots__ = (
        *("address", "checkpointed", "draining", "executors", "id", "info", "outside"),
        *("reachable", "session", "tasks"),
    )

    def __init__(self, info: AgentInfo, address: str, outside: Outside) -> None:
        self.info = info
        self.address = address
        self.outside = outside
        self.id: AgentID | None = None
        self.session = ""
        self.tasks: dict[TaskKey, SimulatedTask] = {}
        self.executors: dict[TaskKey, SimulatedExecutor] = {}
        self.draining: DrainConfig | None = None
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
        known = [task for task in self.tasks.values() if not task.silent]
        frameworks = {task.key[0]: task.framework for task in known}
        frameworks |= {key[0]: executor.framework for key, executor in self.executors.items()}
        reregister = Reregister(
            agent_info=replace(self.info, id=self.id),
            address=self.address,
            version=MESOS_VERSION,
            tasks=tuple(task.view(self.id) for task in known),
            executors=tuple(
                KnownExecutor(FrameworkID(framework_id), executor.info)
                for (framework_id, _), executor in self.executors.items()
            ),
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
        if call.type in self._TAKES:
            self._TAKES[call.type](self, getattr(call, call.type.lower()))

    def _run_tasks(self, body: RunTasks) -> None:
        for info in body.tasks:
            if self.draining is None:
                self._launch(info, body.framework)
            else:
                self._say_absent(info.task_id, body.framework, "REASON_AGENT_DRAINING", TOO_LATE)

    def _kill_task(self, body: KillTask) -> None:
        self.kill((body.framework_id.value, body.task_id.value))

    def _shutdown_executor(self, body: ShutdownExecutor) -> None:
        executor = self.executors.get((body.framework_id.value, body.executor_id.value))
        for task in executor.tasks if executor is not None else ():
            self._kill(task)

    def _checkpoint(self, body: CheckpointResources) -> None:
        self.checkpointed = body.resources

    def _shutdown_framework(self, body: ShutdownFramework) -> None:
        framework_id = body.framework_id.value
        # Also those that have ended and wait for an acknowledgement: nobody gives it any more.
        self._end_all(task for key, task in self.tasks.items() if key[0] == framework_id)
        for key in [key for key in self.executors if key[0] == framework_id]:
            del self.executors[key]

    def _shutdown(self, _body: Shutdown) -> None:
        self.lose_tasks()
        self.reachable = False

    def kill(self, key: TaskKey) -> None:
        """End a task as an operator or a framework does: it is asked, then it stops."""
        task = self.tasks.get(key)
        if task is not None:
            for member in (task, *(task.executor.others(task) if task.executor else ())):
                self._kill(member)

    def _kill(self, task: SimulatedTask, most: float | None = None) -> None:
        """Ask a task to end; `most` is the longest time in seconds that a drain grants it."""
        if not task.live or task.life.killing_since is not None:
            return
        self._add(task, task.life.kill(self.outside.clock.monotonic()))
        grace = task.life.rules.kill_grace
        stopping = min(task.behaviour.stops_after, grace if most is None else min(grace, most))
        self._later(task, stopping, lambda: self._exited(task, signal.SIGTERM))

    def end(self, task: SimulatedTask, state: str, message: str = "", **more: Any) -> None:
        """A task ends by itself, in a state of the caller's choice."""
        words = {"message": message} if message else {}
        status = {"task_id": {"value": task.key[1]}, "state": state, "source": "SOURCE_EXECUTOR"}
        task.life.ended = True
        self._add(task, [status | words | more])

    def lose_tasks(self) -> None:
        """The machine was started anew: no task is left, nobody was told."""
        self._end_all(list(self.tasks.values()))

    def _drain(self, body: Drain) -> None:
        """End everything; the drain is over when everybody knows of the ends."""
        self.draining = body.config if self.tasks else None
        for task in self._live():
            policy = kill_policy(body.config, task.info.kill_policy)
            grace = policy.grace_period if policy is not None else None
            self._kill(task, None if grace is None else grace.nanoseconds / 1e9)

    def _launch_group(self, call: RunTaskGroup) -> None:
        framework_id = call.framework.id or _missing()
        key = (framework_id.value, call.executor.executor_id.value)
        if self.draining is not None:
            for info in call.tasks:
                self._say_absent(info.task_id, call.framework, "REASON_AGENT_DRAINING", TOO_LATE)
            if call.launch_executor:
                self._executor_gone(key[0], call.executor.executor_id, NEVER_STARTED)
            return
        executor = self.executors.get(key)
        if call.launch_executor != (executor is None):
            message = (
                "Master wants to launch executor, but one already exists"
                if call.launch_executor
                else "No executor is expected to launch and there is none running"
            )
            for info in call.tasks:
                self._say_absent(
                    info.task_id, call.framework, "REASON_EXECUTOR_TERMINATED", message
                )
            return
        if executor is None:
            executor = self.executors[key] = SimulatedExecutor(call.executor, call.framework)
        group: list[SimulatedTask] = []
        executor.groups.append(group)
        for info in call.tasks:
            self._launch(replace(info, executor=None), call.framework, executor, group)

    def _live(self) -> list[SimulatedTask]:
        return [task for task in self.tasks.values() if task.live]

    def _launch(
        self,
        info: TaskInfo,
        framework: FrameworkInfo,
        executor: SimulatedExecutor | None = None,
        group: list[SimulatedTask] | None = None,
    ) -> None:
        task = new_task(info, framework, self.outside, self.address, executor)
        if task.key in self.tasks:
            return
        self.tasks[task.key] = task
        if group is not None:
            group.append(task)
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
        executor = task.executor
        if executor is None:
            return
        if wait_status != 0:
            for other in executor.others(task):
                self._kill(other)
        key = (task.key[0], executor.info.executor_id.value)
        if not executor.tasks and self.executors.pop(key, None) is executor:
            self._executor_gone(key[0], executor.info.executor_id, 0)

    def _executor_gone(self, framework_id: str, executor_id: ExecutorID, status: int) -> None:
        end = ExitedExecutor(FrameworkID(framework_id), executor_id, status)
        call = AgentCall("EXITED_EXECUTOR", agent_id=self.id, exited_executor=end)
        self.outside.send(self, call)

    def _later(self, task: SimulatedTask, seconds: float, do: Callable[[], None]) -> None:
        """Something happens to the task, if it still lives by then."""
        task.timers.append(self.outside.later(seconds, lambda: do() if task.live else None))

    def _add(self, task: SimulatedTask, statuses: list[dict[str, Any]]) -> None:
        for status in statuses:
            made = replace(
                msgspec.convert(status, TaskStatus),
                agent_id=self.id,
                executor_id=task.executor_id,
                timestamp=self.outside.clock.time(),
                uuid=base64.b64encode(new_uuid(self.outside).bytes).decode(),
                container_status=task.container,
            )
            task.stream.add(told(made, self.draining, task.framework))
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

    def _acknowledged(self, body: Acknowledge) -> None:
        key = (body.framework_id.value, body.task_id.value)
        task = self.tasks.get(key)
        if task is None or not task.stream.acknowledge(body.uuid):
            return
        if task.resend is not None:
            task.resend.cancel()
            task.resend = None
        if task.stream.acknowledged_terminal:
            del self.tasks[key]
            self.draining = self.draining if self.tasks else None
        else:
            self._send_next(task)

    def _framework_changed(self, body: UpdateFramework) -> None:
        framework = body.framework
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
        for task_id in unknown.task_ids:
            message = "Reconciliation: task unknown to the agent"
            self._say_absent(task_id, unknown.framework, "REASON_RECONCILIATION", message)

    def _say_absent(
        self, task_id: TaskID, framework: FrameworkInfo, reason: str, message: str
    ) -> None:
        """Say that a task is not here; it exists from now on only to say so."""
        ghost = absent(task_id, framework, self.id or _missing(), self.outside, reason, message)
        if ghost.key not in self.tasks:
            self.tasks[ghost.key] = ghost
            self._send_next(ghost)

    _TAKES: ClassVar[dict[str, Callable[[SimulatedAgent, Any], None]]] = {
        "ACKNOWLEDGE": _acknowledged,
        "CHECKPOINT_RESOURCES": _checkpoint,
        "DRAIN": _drain,
        "KILL_TASK": _kill_task,
        "RUN_TASKS": _run_tasks,
        "RUN_TASK_GROUP": _launch_group,
        "SHUTDOWN": _shutdown,
        "SHUTDOWN_EXECUTOR": _shutdown_executor,
        "SHUTDOWN_FRAMEWORK": _shutdown_framework,
        "UPDATE_FRAMEWORK": _framework_changed,
    }


def _cancel(timers: list[Timer]) -> None:
    for timer in timers:
        timer.cancel()
    timers.clear()


def _missing() -> Any:
    raise ValueError("neither an agent nor a framework is without an id here")
