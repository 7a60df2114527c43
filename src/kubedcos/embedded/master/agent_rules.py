"""What the master demands of the calls of agents, before anything of them counts.

An agent that is confused, or somebody who plays one, must not bring the master's books out of
balance: what does not add up is refused as a whole. Each rule returns the first fault, or None.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from kubedcos.embedded.master.name_rules import id_fault
from kubedcos.embedded.master.quantities import counted
from kubedcos.embedded.master.resource_rules import resource_fault
from kubedcos.embedded.master.state import AgentRecord, MasterState
from kubedcos.embedded.protocol import Register, Reregister, StatusUpdate
from kubedcos.mesos.messages import (
    LIVE_STATES,
    TERMINAL_STATES,
    AgentInfo,
    DiskInfo,
    FrameworkInfo,
    Resource,
    Task,
)
from kubedcos.mesos.operations import NotApplicable, with_checkpointed
from kubedcos.mesos.resources import Resources, upgraded

_PORTS = range(1, 65536)


def registration_fault(call: Register | Reregister) -> str | None:
    """Rules for the agent itself and its resources."""
    info = call.agent_info
    fault = id_fault(info.id.value) if info.id is not None else None
    if fault is not None:
        return f"The agent's id is not valid: {fault}"
    if info.port not in _PORTS:
        return f"The agent's port is {info.port}"
    if not call.address or not info.hostname:
        return "The agent has no address or no host name"
    try:
        _total(info, call.checkpointed_resources)
    except (ValueError, NotApplicable) as error:
        return f"The agent's resources do not add up: {error}"
    return None


def _total(info: AgentInfo, checkpointed: Iterable[Resource]) -> Resources:
    own, remembered = tuple(map(upgraded, info.resources)), tuple(map(upgraded, checkpointed))
    for resource in (*own, *remembered):
        if fault := resource_fault(resource):
            raise ValueError(fault)
        if resource.allocation_info is not None:
            raise ValueError(f"{resource.name} is marked as allocated")
    return with_checkpointed(Resources(own), remembered)


def return_fault(state: MasterState, call: Reregister) -> str | None:
    """Rules for what an agent brings back: frameworks and tasks, which must fit onto it."""
    fault = registration_fault(call)
    if fault is None and call.agent_info.id is None:
        fault = "The agent re-registers without its id"
    known = set(state.frameworks) | set(state.completed)
    for framework in call.frameworks:
        fault = fault or _framework_fault(framework)
        known.add(framework.id.value if framework.id is not None else "")
    for task in call.tasks:
        fault = fault or _task_fault(task, known)
    if fault is not None:
        return fault
    assert call.agent_info.id is not None
    return _room_fault(state, call, call.agent_info.id.value)


def _framework_fault(framework: FrameworkInfo) -> str | None:
    fault = id_fault(framework.id.value) if framework.id is not None else "It has none"
    return f"A framework's id is not valid: {fault}" if fault else None


def _task_fault(task: Task, known: set[str]) -> str | None:
    fault = id_fault(task.task_id.value)
    if fault is not None:
        return f"A task's id is not valid: {fault}"
    if task.framework_id.value not in known:
        return f"Task {task.task_id} is of framework {task.framework_id}, which is not listed"
    if not _is_state(task.state):
        return f"Task {task.task_id} is in the state '{task.state}', which is none"
    faults = (resource_fault(resource) for resource in task.resources)
    fault = next(filter(None, faults), None)
    if fault is None and any(resource.allocation_info is None for resource in task.resources):
        fault = "a resource is not marked as allocated"
    return f"Task {task.task_id}: {fault}" if fault else None


def _is_state(name: str) -> bool:
    return name in LIVE_STATES or name in TERMINAL_STATES


def _room_fault(state: MasterState, call: Reregister, agent_id: str) -> str | None:
    tasks = {(task.framework_id.value, task.task_id.value): task for task in call.tasks}
    for key, task in state.tasks.items():
        if key in tasks and task.agent_id.value != agent_id:
            return f"Task {key[1]} of framework {key[0]} runs on agent {task.agent_id}"
    brought = [
        Resources(state.tasks.get(key, reported).resources)
        for key, reported in tasks.items()
        if not {state.tasks.get(key, reported).state, reported.state} & TERMINAL_STATES
    ]
    used = sum(brought, Resources()).unallocated()
    total = _total(call.agent_info, call.checkpointed_resources)
    if not total.contains(used):
        return f"The agent's tasks use {used}, and it has {total}"
    # What the agent does not bring never reached it, together with the reservation it was for; it
    # counts until the agent has told of it, so the amounts have to fit.
    missing = [
        Resources(task.resources)
        for task in state.tasks_of(agent_id=agent_id)
        if (task.framework_id.value, task.task_id.value) not in tasks
        and task.state not in TERMINAL_STATES
    ]
    each = [_amounts(resources) for resources in (*brought, *missing)]
    together = sum(each, Resources())
    if not _amounts(total).contains(together):
        return f"With tasks that it does not bring the agent uses {together}, and it has {total}"
    # Ranges hide it when two hold the same; see Mesos' `detectOverlappingSetAndRangeResources`.
    if counted(part for resources in each for part in resources) != counted(together):
        return "Two of the agent's tasks hold the same"
    return None


def _amounts(resources: Resources) -> Resources:
    """The same whatever it is reserved, allocated or made a volume for; without what is shared."""
    return resources.where(lambda resource: resource.shared is None).mapped(
        lambda resource: replace(
            resource,
            reservations=(),
            allocation_info=None,
            disk=DiskInfo(source=resource.disk.source)
            if resource.disk is not None and resource.disk.source is not None
            else None,
        )
    )


def update_fault(state: MasterState, agent: AgentRecord, call: StatusUpdate) -> str | None:
    """Rules for news of a task."""
    for name in (call.status.state, call.latest_state):
        if not _is_state(name):
            return f"'{name}' is no state of a task"
    task = state.tasks.get((call.framework_id.value, call.status.task_id.value))
    if task is not None and task.agent_id.value != agent.id:
        return f"Task {task.task_id} runs on agent {task.agent_id}"
    return None
