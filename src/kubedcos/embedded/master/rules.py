"""What Mesos demands of roles, frameworks and tasks; texts are its own.

Each rule returns the text of the first fault, or `None`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from kubedcos.embedded.master.check_rules import (
    check_fault,
    command_fault,
    health_check_fault,
)
from kubedcos.embedded.master.name_rules import id_fault, role_fault
from kubedcos.embedded.master.resource_rules import resource_fault
from kubedcos.mesos.container_rules import container_fault
from kubedcos.mesos.messages import (
    AgentID,
    FrameworkInfo,
    Scalar,
    TaskInfo,
)
from kubedcos.mesos.resources import Resources
from kubedcos.mesos.values import thousandths

_MAX_TIMEOUT: Final = 9223372036.854776  # seconds in 63 bits of nanoseconds


def framework_fault(
    info: FrameworkInfo, *, allowed_roles: frozenset[str], root_submissions: bool
) -> str | None:
    """Rules for a FrameworkInfo on its own."""
    fault = _roles_fault(info)
    if fault is None and info.id is not None and info.id.value:
        fault = id_fault(info.id.value)
    if fault is None and not info.failover_timeout <= _MAX_TIMEOUT:
        fault = f"The framework failover_timeout ({info.failover_timeout:g}) is invalid"
    if fault is None:
        fault = _offer_filters_fault(info)
    if fault is None and not root_submissions and info.user == "root":
        fault = "User 'root' is not allowed to run frameworks without --root_submissions set"
    roles = info.roles or ((info.role,) if info.role else ())
    unlisted = [role for role in roles if allowed_roles and role not in allowed_roles | {"*"}]
    if fault is None and unlisted:
        fault = f"Roles '{{ {', '.join(unlisted)} }}' are not present in the master's --roles"
    return fault


def _roles_fault(info: FrameworkInfo) -> str | None:
    multi = any(capability.type == "MULTI_ROLE" for capability in info.capabilities)
    if multi and info.role is not None:
        return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
    if not multi and info.roles:
        return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
    if not multi:
        fault = role_fault(info.role) if info.role is not None else None
        return f"'FrameworkInfo.role' is not a valid role: {fault}" if fault else None
    twice = sorted({role for role in info.roles if info.roles.count(role) > 1})
    if twice:
        return f"'FrameworkInfo.roles' contains duplicate items: {{ {', '.join(twice)} }}"
    fault = next(filter(None, map(role_fault, info.roles)), None)
    return f"'FrameworkInfo.roles' contains invalid role: {fault}" if fault else None


def _offer_filters_fault(info: FrameworkInfo) -> str | None:
    for filters in (info.offer_filters or {}).values():
        least = filters.min_allocatable_resources
        for alternative in least.quantities if least else ():
            for name, scalar in (alternative.quantities or {}).items():
                if scalar.value < 0:
                    return f"Invalid resource quantity for '{name}': Negative values not supported"
    return None


def suppressed_fault(suppressed: Iterable[str], roles: Iterable[str]) -> str | None:
    """Suppressed roles must be roles of the framework."""
    foreign = sorted(set(suppressed) - set(roles))
    if foreign:
        return f"Suppressed roles {{ {', '.join(foreign)} }} are not contained in the set of roles"
    return None


def general_task_fault(
    task: TaskInfo, *, agent_id: AgentID, known: Callable[[str], str | None]
) -> str | None:
    """Rules for a task but for its executor; `known` says why an id cannot be used."""
    resources = Resources(task.resources)
    return (
        id_fault(task.task_id.value)
        or known(task.task_id.value)
        or _agent_fault(task, agent_id)
        or _times_fault(task)
        or _checks_fault(task)
        or (None if task.resources else "Task uses no resources")
        or next(filter(None, map(resource_fault, task.resources)), None)
        or _environment_fault(task)
        or _container_fault(task)
        or _limits_fault(task, resources)
        or _unsupported_task(task)
    )


def task_fault(
    task: TaskInfo, *, agent_id: AgentID, available: Resources, known: Callable[[str], str | None]
) -> str | None:
    """Rules for a task; `available` is what the offers still hold, marked as allocated."""
    fault = general_task_fault(task, agent_id=agent_id, known=known) or _command_fault(task)
    if fault is None and task.executor is not None:
        fault = "The embedded engine does not support Task.executor: only command tasks"
    if fault is None and not available.contains(task.resources):
        fault = (
            f"Total resources {Resources(task.resources)} required by task and its executor is "
            f"more than available {available}"
        )
    linux = task.container.linux_info if task.container is not None else None
    if fault is None and linux is not None and not linux.share_cgroups:
        fault = "Only tasks in a task group may have 'share_cgroups' set to 'false'"
    return fault


def _times_fault(task: TaskInfo) -> str | None:
    grace = task.kill_policy.grace_period if task.kill_policy is not None else None
    if grace is not None and grace.nanoseconds < 0:
        return "Task's 'kill_policy.grace_period' must be non-negative"
    longest = task.max_completion_time
    if longest is not None and longest.nanoseconds < 0:
        return "Task's `max_completion_time` must be non-negative"
    return None


def _checks_fault(task: TaskInfo) -> str | None:
    if task.check is not None and (fault := check_fault(task.check)):
        return f"Task uses invalid check: {fault}"
    if task.health_check is not None and (fault := health_check_fault(task.health_check)):
        return f"Task uses invalid health check: {fault}"
    return None


def _environment_fault(task: TaskInfo) -> str | None:
    fault = command_fault(task.command) if task.command is not None else None
    return f"Task's `CommandInfo` is invalid: {fault}" if fault else None


def _agent_fault(task: TaskInfo, agent_id: AgentID) -> str | None:
    if task.agent_id == agent_id:
        return None
    return f"Task uses invalid agent {task.agent_id} while agent {agent_id} is expected"


def _command_fault(task: TaskInfo) -> str | None:
    if (task.command is None) == (task.executor is None):
        return "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
    return None


def _container_fault(task: TaskInfo) -> str | None:
    fault = container_fault(task.container) if task.container else None
    return f"Task's `ContainerInfo` is invalid: {fault}" if fault else None


def _limits_fault(task: TaskInfo, resources: Resources) -> str | None:
    limits = task.limits or {}
    if not limits.keys() <= {"cpus", "mem"}:
        return "Only cpus and mem may be included in a task's resource limits"
    for name, big, small in (("cpus", "CPU", "cpu"), ("mem", "memory", "memory")):
        limit, request = limits.get(name), resources.thousandths(name)
        if limit is not None and not request:
            return f"When a {big} limit is specified, a {big} request must also be specified"
        if limit is not None and _below(limit, request):
            return f"The {small} limit must be greater than or equal to the {small} request"
    return None


def _below(limit: Scalar, request: int) -> bool:
    return limit.value != float("inf") and thousandths(limit.value) < request


def _unsupported_task(task: TaskInfo) -> str | None:
    """What Mesos could run and this engine cannot; the text names it."""
    container = task.container
    found = None
    if container is not None and container.type == "DOCKER":
        found = "the Docker containerizer: only type MESOS without an image"
    elif container is not None and container.mesos is not None and container.mesos.image:
        found = "container images: only type MESOS without an image"
    return f"The embedded engine does not support {found}" if found else None
