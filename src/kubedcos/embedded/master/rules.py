"""What Mesos demands of roles, frameworks, resources, operations and tasks; texts are its own.

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
from kubedcos.mesos.messages import (
    AgentID,
    FrameworkInfo,
    Operation,
    Resource,
    Scalar,
    TaskInfo,
)
from kubedcos.mesos.operations import is_dynamically_reserved
from kubedcos.mesos.resources import Resources, is_volume, reservation_role, text_of, thousandths

_MAX_ID: Final = 255
_MAX_TIMEOUT: Final = 9223372036.854776  # seconds in 63 bits of nanoseconds
_MOST: Final = (1 << 63) / 1000  # thousandths in 63 bits; Mesos overflows beyond
_SPACES: Final = frozenset("\x08\t\n\x0b\x0c\r ")


def id_fault(value: str) -> str | None:
    """Rules for identifiers, which become names of directories."""
    if not value:
        return "ID must not be empty"
    if len(value) > _MAX_ID:
        return f"ID must not be greater than {_MAX_ID} characters"
    if value in {".", ".."}:
        return f"'{value}' is disallowed"
    if "/" in value or any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
        return f"'{value}' contains invalid characters"
    return None


def role_fault(role: str) -> str | None:
    """Rules for the name of a role."""
    if role == "*":
        return None
    faults = (
        (not role, "Role names cannot be the empty string"),
        (role.startswith("/"), f"Role '{role}' cannot start with a slash"),
        (role.endswith("/"), f"Role '{role}' cannot end with a slash"),
        ("//" in role, f"Role '{role}' cannot contain two adjacent slashes"),
    )
    fault = next((text for wrong, text in faults if wrong), None)
    return fault or next(filter(None, (_part_fault(role, part) for part in role.split("/"))), None)


def _part_fault(role: str, part: str) -> str | None:
    if part in {".", "..", "*"}:
        return f"Role '{role}' cannot include '{part}' as a component"
    if part.startswith("-"):
        return f"Role component '{part}' is invalid because it starts with a dash"
    if not _SPACES.isdisjoint(part):
        return f"Role component '{part}' is invalid because it contains backspace or whitespace"
    return None


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


def resource_fault(resource: Resource) -> str | None:
    """Rules for one resource on its own, in the form with a reservation stack."""
    fault = _amount_fault(resource) or _reservations_fault(resource)
    if fault:
        return f"Resource '{text_of(resource)}' is invalid: {fault}"
    return None


def _amount_fault(resource: Resource) -> str | None:
    if not resource.name:
        return "Empty resource name"
    if resource.type == "SCALAR":
        if resource.scalar is None or resource.ranges or resource.set:
            return "Invalid scalar resource"
        if not resource.scalar.value < _MOST:
            return "Invalid scalar resource: value is too large, or no number"
        return None if resource.scalar.value > 0 else "Invalid scalar resource: value <= 0"
    if resource.type == "RANGES":
        if resource.ranges is None or resource.scalar or resource.set:
            return "Invalid ranges resource"
        pieces = resource.ranges.range
        if any(piece.begin < 0 for piece in pieces):
            return "Invalid ranges resource: begin < 0"
        wrong = any(piece.begin > piece.end for piece in pieces)
        return "Invalid ranges resource: begin > end" if wrong else None
    return "Unsupported resource type"


def _reservations_fault(resource: Resource) -> str | None:
    above: str | None = None
    for position, level in enumerate(resource.reservations):
        role = level.role
        if level.type not in {"STATIC", "DYNAMIC"}:
            return "Invalid reservation: 'type' must be set to STATIC or DYNAMIC"
        if role is None:
            return "Invalid reservation: 'role' field must be set"
        fault = role_fault(role)
        if fault:
            return f"Invalid reservation role: {fault}"
        if role == "*":
            return 'Invalid reservation: role "*" cannot be reserved'
        if position and level.type == "STATIC":
            return "Invalid refined reservation: A refined reservation cannot be STATIC"
        if above is not None and not role.startswith(above + "/"):
            return f"Invalid refined reservation: role '{role}' is not a refinement of '{above}'"
        above = role
    return None


def _volume_fault(volume: Resource) -> str | None:
    disk = volume.disk
    if disk is None:
        return f"Not a persistent volume: Resource {text_of(volume)} does not have DiskInfo"
    if disk.persistence is None:
        return f"Not a persistent volume: 'persistence' is not set in DiskInfo of {text_of(volume)}"
    wrong = "Invalid resources: Invalid DiskInfo: "
    if not volume.reservations:
        return wrong + "Persistent volumes cannot be created from unreserved resources"
    if disk.volume is None:
        return wrong + "Expecting 'volume' to be set for persistent volume"
    if disk.volume.mode == "RO":
        return wrong + "Read-only persistent volume not supported"
    if disk.volume.host_path is not None:
        return wrong + "Expecting 'host_path' to be unset for persistent volume"
    fault = id_fault(disk.persistence.id)
    if fault:
        return f"{wrong}Invalid persistence ID for persistent volume: {fault}"
    path = disk.volume.container_path
    if path.startswith("/") or ".." in path.split("/"):
        return f"{wrong}Invalid container path '{path}' for persistent volume"
    return None


def reserve_fault(
    resources: Iterable[Resource], *, principal: str | None, role: str | None
) -> str | None:
    """Rules for RESERVE; `role` is that of the offer, `None` for an operator."""
    listed = tuple(resources)
    if not listed:
        return "Invalid resources: The resources have multiple resource providers: "
    for resource in listed:
        if not is_dynamically_reserved(resource):
            return f"Resource {text_of(resource)} is not dynamically reserved"
        last = resource.reservations[-1]
        if role is None and resource.allocation_info is not None:
            return (
                "A reserve operation was attempted with an allocated resource, but the operator "
                "API only allows reservations to be made to unallocated resources"
            )
        if role is not None and last.role != role:
            return (
                f"A reserve operation was attempted for a resource with role '{last.role}', but "
                f"the resource was allocated to role '{role}'"
            )
        if principal is not None and last.principal is None:
            return (
                f"A reserve operation was attempted by principal '{principal}', but there is a "
                "reserved resource in the request with no principal set"
            )
        if principal is not None and last.principal != principal:
            return (
                f"A reserve operation was attempted by authenticated principal '{principal}', "
                "which does not match a reserved resource in the request with principal "
                f"'{last.principal}'"
            )
        if is_volume(resource):
            return f"A persistent volume {text_of(resource)} cannot be reserved directly"
    return None


def unreserve_fault(resources: Iterable[Resource]) -> str | None:
    """Rules for UNRESERVE."""
    for resource in resources:
        if not is_dynamically_reserved(resource):
            return f"Resource {text_of(resource)} is not dynamically reserved"
        if is_volume(resource):
            return (
                f"A dynamically reserved persistent volume {text_of(resource)} cannot be "
                "unreserved directly. Please destroy the persistent volume first then unreserve "
                "the resource"
            )
    return None


def create_fault(volumes: Iterable[Resource], existing: Resources) -> str | None:
    """Rules for CREATE; `existing` are all resources of the agent."""
    known = {
        (reservation_role(volume), volume.disk.persistence.id)
        for volume in existing.volumes()
        if volume.disk and volume.disk.persistence
    }
    for volume in volumes:
        fault = _volume_fault(volume)
        if fault:
            return fault
        if volume.shared is not None:
            return "Shared persistent volumes are not supported by the embedded engine"
        assert volume.disk is not None
        assert volume.disk.persistence is not None
        key = (reservation_role(volume), volume.disk.persistence.id)
        if key in known:
            return f"Persistence ID '{key[1]}' is not unique"
        known.add(key)
    return None


def destroy_fault(volumes: Iterable[Resource], existing: Resources, used: Resources) -> str | None:
    """Rules for DESTROY; `used` are resources of tasks, without marks of allocation."""
    wanted = tuple(volumes)
    fault = next(filter(None, map(_volume_fault, wanted)), None)
    if fault:
        return fault
    if not existing.contains(wanted):
        return "Persistent volumes not found"
    if any(used.contains([volume]) for volume in wanted):
        return "Persistent volumes in use"
    return None


UNSUPPORTED_OPERATIONS: Final = frozenset(
    {"GROW_VOLUME", "SHRINK_VOLUME", "CREATE_DISK", "DESTROY_DISK"}
)


def operation_body_fault(operation: Operation) -> str | None:
    """The part named like the operation's type must be set."""
    kind = operation.type
    if kind is None or kind == "UNKNOWN":
        return "Unknown operation type"
    if getattr(operation, kind.lower()) is None:
        return f"A {kind} offer operation must have the Offer.Operation.{kind.lower()} field set."
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


def _foreign_volumes(task: TaskInfo) -> bool:
    """Whether there are volumes other than those that tasks of a group share."""
    volumes = task.container.volumes if task.container is not None else ()
    shared = [volume for volume in volumes if volume.source and volume.source.sandbox_path]
    return len(shared) < len(volumes) or (bool(volumes) and task.executor is None)


def _unsupported_task(task: TaskInfo) -> str | None:
    """What Mesos could run and this engine cannot; the text names it."""
    container = task.container
    found = None
    if container is not None and container.type == "DOCKER":
        found = "the Docker containerizer: only type MESOS without an image"
    elif container is not None and container.mesos is not None and container.mesos.image:
        found = "container images: only type MESOS without an image"
    elif container is not None and container.network_infos:
        found = "container networks: only the network of the host"
    elif container is not None and (_foreign_volumes(task) or container.rlimit_info):
        found = "volumes and limits in ContainerInfo: only persistent volumes among the resources"
    return f"The embedded engine does not support {found}" if found else None
