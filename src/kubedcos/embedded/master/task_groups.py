"""LAUNCH_GROUP: the rules for a group and its executor, and what becomes of executors.

Texts and the order of the rules are Mesos'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from kubedcos.embedded.master.effects import Effects, ToAgent, ToFramework
from kubedcos.embedded.master.name_rules import id_fault
from kubedcos.embedded.master.prototext import text_format
from kubedcos.embedded.master.resource_rules import resource_fault
from kubedcos.embedded.master.rules import general_task_fault
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState
from kubedcos.embedded.master.tables import ExecutorKey
from kubedcos.embedded.protocol import (
    ExitedExecutor,
    KnownExecutor,
    MasterCall,
    RunTaskGroup,
    ShutdownExecutor,
)
from kubedcos.mesos.messages import (
    AgentID,
    CallShutdown,
    ContainerInfo,
    Event,
    ExecutorInfo,
    Failure,
    FrameworkID,
    TaskInfo,
)
from kubedcos.mesos.resources import Resources

MIN_CPUS: Final = 0.01
MIN_MEMORY_MB: Final = 32
_RULE: Final = "-" * 60 + "\n"


def group_fault(
    state: MasterState,
    agent: AgentRecord,
    framework: FrameworkRecord,
    executor: ExecutorInfo,
    tasks: Iterable[TaskInfo],
    *,
    available: Resources,
    known: Callable[[str], str | None],
) -> str | None:
    """The first fault of a group, or None.

    Args:
        state: with the executors that there are.
        agent: where it is to run.
        framework: whose it is.
        executor: with resources marked as allocated.
        tasks: with their resources marked as allocated and their `executor` set.
        available: what the offers still hold, marked as allocated.
        known: why a task id cannot be used, if it cannot.
    """
    listed = tuple(tasks)
    key = ExecutorKey(agent.id, framework.id, executor.executor_id.value)
    existing = state.executors.get(key)
    seen: set[str] = set()

    def taken(task_id: str) -> str | None:
        fault = known(task_id)
        if fault is None and task_id in seen:
            fault = f"Task has duplicate ID: {task_id}"
        seen.add(task_id)
        return fault

    for task in listed:
        fault = general_task_fault(task, agent_id=AgentID(agent.id), known=taken)
        fault = fault or _member_fault(task)
        if fault is not None:
            return f"Task '{task.task_id}' is invalid: {fault}"
    return (
        _executor_fault(framework, executor, existing)
        or _same_executor_fault(executor, listed)
        or _least_fault(executor)
        or _sum_fault(executor, listed, available, new=existing is None)
        or _cgroups_fault(executor.container, listed)
    )


def _member_fault(task: TaskInfo) -> str | None:
    container, health = task.container, task.health_check
    networks = container.network_infos if container is not None else ()
    if networks and health is not None and health.type in {"HTTP", "TCP"}:
        return (
            "HTTP and TCP health checks are not supported for nested containers not joining "
            "parent's network"
        )
    if container is not None and container.type == "DOCKER":
        return "Docker ContainerInfo is not supported on the task"
    if task.limits and _shares_cgroups(container):
        return (
            "Resource limits may only be set for tasks within a task group when the "
            "'share_cgroups' field is set to 'false'."
        )
    if task.command is None:
        return "The embedded engine does not support tasks of a group without a command"
    return None


def _shares_cgroups(container: ContainerInfo | None) -> bool:
    linux = container.linux_info if container is not None else None
    return linux is None or linux.share_cgroups


def _executor_fault(
    framework: FrameworkRecord, executor: ExecutorInfo, existing: ExecutorInfo | None
) -> str | None:
    grace = executor.shutdown_grace_period
    fault = _type_fault(executor) or id_fault(executor.executor_id.value)
    if fault is None and grace is not None and grace.nanoseconds < 0:
        fault = "ExecutorInfo's 'shutdown_grace_period' must be non-negative"
    if fault is None and executor.framework_id is None:
        fault = "'ExecutorInfo.framework_id' must be set"
    if fault is None and executor.framework_id != FrameworkID(framework.id):
        fault = (
            f"ExecutorInfo has an invalid FrameworkID (Actual: {executor.framework_id} vs "
            f"Expected: {framework.id})"
        )
    if fault is None:
        wrong = next(filter(None, map(resource_fault, executor.resources)), None)
        fault = f"Executor uses invalid resources: {wrong}" if wrong else None
    if fault is None and existing is not None and not _same(existing, executor):
        fault = (
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n"
            f"{_RULE}Existing ExecutorInfo:\n{text_format(existing)}\n"
            f"{_RULE}ExecutorInfo:\n{text_format(executor)}\n{_RULE}"
        )
    return fault


def _type_fault(executor: ExecutorInfo) -> str | None:
    container = executor.container
    if executor.type == "CUSTOM":
        if executor.command is None:
            return "'ExecutorInfo.command' must be set for 'CUSTOM' executor"
        return "The embedded engine does not support executors of type CUSTOM: only DEFAULT"
    if executor.type != "DEFAULT":
        return None
    if executor.command is not None:
        return "'ExecutorInfo.command' must not be set for 'DEFAULT' executor"
    if container is not None and container.type != "MESOS":
        return "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor"
    if container is not None and container.mesos is not None and container.mesos.image is not None:
        return "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor"
    return None


def _same_executor_fault(executor: ExecutorInfo, tasks: Iterable[TaskInfo]) -> str | None:
    if executor.type is None:
        return "'ExecutorInfo.type' must be set"
    if executor.type == "UNKNOWN":
        return "Unknown executor type"
    for task in tasks:
        if task.executor is not None and not _same(task.executor, executor):
            return (
                f"The `ExecutorInfo` of task '{task.task_id}' is different from executor "
                f"'{executor.executor_id}'"
            )
    return None


def _same(one: ExecutorInfo, other: ExecutorInfo) -> bool:
    """Equal, resources by their sum."""
    sums = (Resources(one.resources), Resources(other.resources))
    return sums[0] == sums[1] and replace(one, resources=()) == replace(other, resources=())


def _least_fault(executor: ExecutorInfo) -> str | None:
    resources = Resources(executor.resources)
    name = f"Executor '{executor.executor_id}' uses"
    cpus, memory = resources.scalar("cpus"), resources.scalar("mem")
    if cpus < MIN_CPUS:
        return (
            f"{name} less CPUs ({format(cpus, '.15g') if cpus else 'None'}) than the minimum "
            f"required ({MIN_CPUS})"
        )
    if memory < MIN_MEMORY_MB:
        return (
            f"{name} less memory ({_bytes(memory) if memory else 'None'}) than the minimum "
            f"required ({MIN_MEMORY_MB}MB)"
        )
    return None if "disk" in resources.names() else f"{name} no disk"


def _bytes(megabytes: float) -> str:
    """An amount as stout writes it: in the largest unit that divides it."""
    amount = round(megabytes * (1 << 20))
    for shift, unit in ((40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")):
        if amount % (1 << shift) == 0:
            return f"{amount >> shift}{unit}"
    return f"{amount}B"


def _sum_fault(
    executor: ExecutorInfo, tasks: Iterable[TaskInfo], available: Resources, *, new: bool
) -> str | None:
    total = Resources()
    for task in tasks:
        total += task.resources
    if new:
        total += executor.resources
    if available.contains(total):
        return None
    return (
        f"Total resources {total} required by task group and its executor are more than "
        f"available {available}"
    )


def _cgroups_fault(executor: ContainerInfo | None, tasks: Iterable[TaskInfo]) -> str | None:
    # Mesos tells an unset field from a set one here; without a linux_info there is nothing to say.
    if executor is not None and executor.linux_info is not None and _shares_cgroups(executor):
        return "The 'share_cgroups' field cannot be set to 'true' on executor containers"
    shared = {_shares_cgroups(task.container) for task in tasks}
    if len(shared) > 1:
        return (
            "If set, the value of 'share_cgroups' must be the same for all tasks in each task "
            "group and under a single executor"
        )
    if shared == {False}:
        return (
            "The embedded engine does not support 'share_cgroups' set to 'false': tasks of a "
            "group share the cgroups of their executor"
        )
    return None


def launch_group(
    state: MasterState,
    agent: AgentRecord,
    framework: FrameworkRecord,
    executor: ExecutorInfo,
    tasks: tuple[TaskInfo, ...],
) -> tuple[Resources, ToAgent]:
    """Enter the executor, if it is new; what the group takes, and the call that starts it."""
    key = ExecutorKey(agent.id, framework.id, executor.executor_id.value)
    taken = Resources()
    new = key not in state.executors
    if new:
        state.executors[key] = executor
        taken += executor.resources
    for task in tasks:
        taken += task.resources
    call = RunTaskGroup(framework.info, executor, launch_executor=new, tasks=tasks)
    return taken, ToAgent(agent.id, MasterCall(type="RUN_TASK_GROUP", run_task_group=call))


def shutdown_executor(
    state: MasterState, framework: FrameworkRecord, call: CallShutdown
) -> Effects:
    """SHUTDOWN: passed on to the agent; what nobody knows is ignored."""
    agent = state.agents.get(call.agent_id.value)
    if agent is None or not agent.connected:
        return []
    order = ShutdownExecutor(FrameworkID(framework.id), call.executor_id)
    return [ToAgent(agent.id, MasterCall(type="SHUTDOWN_EXECUTOR", shutdown_executor=order))]


def exited_executor(state: MasterState, agent: AgentRecord, call: ExitedExecutor) -> Effects:
    """EXITED_EXECUTOR: its resources are free, and its framework hears of it."""
    state.count("messages_exited_executor")
    key = ExecutorKey(agent.id, call.framework_id.value, call.executor_id.value)
    if state.executors.pop(key, None) is None:
        return []
    failure = Failure(AgentID(agent.id), call.executor_id, call.status)
    return [ToFramework(key.framework_id, Event(type="FAILURE", failure=failure))]


def replace_executors(
    state: MasterState, agent_id: str, executors: Iterable[KnownExecutor]
) -> None:
    """A returning agent says which executors it has; those of unknown frameworks do not count."""
    forget_executors(state, agent_id=agent_id)
    for entry in executors:
        framework_id = entry.framework_id.value
        if framework_id in state.frameworks:
            key = ExecutorKey(agent_id, framework_id, entry.executor.executor_id.value)
            state.executors[key] = entry.executor


def forget_executors(
    state: MasterState, *, framework_id: str | None = None, agent_id: str | None = None
) -> None:
    """A framework, an agent, or a framework as far as that agent is concerned, is gone."""
    for key, _ in state.executors_of(framework_id=framework_id, agent_id=agent_id):
        del state.executors[key]
