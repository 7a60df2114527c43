"""What Mesos demands of operations on reservations and volumes; texts are its own.

Each rule returns the text of the first fault, or `None`. Resources are in the form with a
reservation stack, each of them checked by `resource_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from kubedcos.embedded.master.resource_rules import (
    persistence_fault,
    resource_fault,
    unique_fault,
    use_fault,
)
from kubedcos.embedded.master.state import FrameworkRecord
from kubedcos.mesos.messages import (
    Operation,
    OperationReserve,
    Resource,
    TaskInfo,
)
from kubedcos.mesos.operations import is_dynamically_reserved, without_persistence
from kubedcos.mesos.resources import Resources, is_volume, reservation_role, text_of
from kubedcos.mesos.values import thousandths

UNSUPPORTED_OPERATIONS: Final = frozenset({"CREATE_DISK", "DESTROY_DISK"})
"""They are for resource providers, which this engine does not have."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who wants an operation, and what its agent has.

    Attributes:
        principal: whose reservations and volumes it makes; `None` for anybody's.
        framework: `None` for an operator.
        total: of the agent, without marks of allocation.
        used: of tasks on the agent, without marks of allocation.
    """

    principal: str | None
    framework: FrameworkRecord | None
    total: Resources
    used: Resources


def body_fault(operation: Operation) -> str | None:
    """The part named like the operation's type must be set."""
    kind = operation.type or "UNKNOWN"
    if kind not in UNSUPPORTED_OPERATIONS and getattr(operation, kind.lower()) is None:
        article, offer = ("An" if kind == "UNRESERVE" else "A"), "offer "
        dot = "."
        if kind in {"GROW_VOLUME", "SHRINK_VOLUME"}:
            offer = dot = ""
        return (
            f"{article} {kind} {offer}operation must have the Offer.Operation.{kind.lower()} "
            f"field set{dot}"
        )
    return None


def launch_fault(operation: Operation) -> str | None:
    """Why a LAUNCH or LAUNCH_GROUP is refused with all its tasks, also those that are right.

    `validateAndUpgradeResources` of Mesos, and what `Master::accept` asks before any task.
    """
    resources: tuple[Resource, ...] = ()
    tasks: tuple[TaskInfo, ...] = ()
    if operation.launch is not None and operation.type == "LAUNCH":
        tasks = operation.launch.task_infos
    elif operation.launch_group is not None:
        resources = operation.launch_group.executor.resources
        tasks = operation.launch_group.task_group.tasks
    for task in tasks:
        resources += task.resources
        resources += task.executor.resources if task.executor is not None else ()
    fault = next(filter(None, map(resource_fault, resources)), None)
    if fault is not None:
        return fault
    if operation.id is not None:
        return f"The `id` field cannot be set on {operation.type} operations"
    return None


def operation_fault(operation: Operation, asking: Asking) -> str | None:
    """Rules for an operation that converts resources."""
    if operation.reserve is not None and operation.type == "RESERVE":
        return _reserve_fault(operation.reserve, asking)
    if operation.unreserve is not None and operation.type == "UNRESERVE":
        return _unreserve_fault(operation.unreserve.resources)
    if operation.create is not None and operation.type == "CREATE":
        return _create_fault(operation.create.volumes, asking)
    if operation.destroy is not None and operation.type == "DESTROY":
        return _destroy_fault(operation.destroy.volumes, asking)
    if operation.type == "GROW_VOLUME":
        return _grow_fault(operation)
    return _shrink_fault(operation)


def _resources_fault(resources: tuple[Resource, ...]) -> str | None:
    fault = use_fault(resources)
    if fault is not None:
        return f"Invalid resources: {fault}"
    # Mesos counts the providers of no resources and finds that they are not one.
    if not resources:
        return "Invalid resources: The resources have multiple resource providers: "
    if any(resource.provider_id is not None for resource in resources):
        return "The embedded engine has no resource providers"
    return None


def _reserve_fault(reserve: OperationReserve, asking: Asking) -> str | None:
    fault = use_fault(reserve.resources)
    if fault is not None:
        return f"Invalid resources: {fault}"
    fault = use_fault(reserve.source)
    if fault is not None:
        return f"Invalid source: {fault}"
    fault = _source_fault(reserve) if reserve.source else None
    fault = fault or _resources_fault(reserve.resources)
    if fault is not None:
        return fault
    for resource in reserve.resources:
        fault = (
            _reservation_fault(resource, asking.principal)
            or (_operators_fault(resource) if asking.framework is None else None)
            or (_role_fault(resource, asking.framework) if asking.framework else None)
        )
        if fault is not None:
            return fault
    return _one_role_fault(reserve.resources, "reservation") if asking.framework else None


def _source_fault(reserve: OperationReserve) -> str | None:
    for name, resources in (("source", reserve.source), ("resources", reserve.resources)):
        if not resources:
            return f"Invalid {name}: Resource cannot be empty"
        if len({resource.reservations for resource in resources}) > 1:
            listed = ", ".join(map(text_of, resources))
            return f"Invalid {name}: Mixed reservations are not supported[ {listed} ]"
    before, after = _bare(reserve.source), _bare(reserve.resources)
    if before != after:
        return (
            "Source and target resources should refer to identical resource quantities: "
            f"{before} vs. {after}"
        )
    return None


def _bare(resources: Iterable[Resource]) -> Resources:
    return Resources(replace(resource, reservations=()) for resource in resources)


def _reservation_fault(resource: Resource, principal: str | None) -> str | None:
    if not is_dynamically_reserved(resource):
        return f"Resource {text_of(resource)} is not dynamically reserved"
    given = resource.reservations[-1].principal
    if principal is not None and given is None:
        return (
            f"A reserve operation was attempted by principal '{principal}', but there is a "
            "reserved resource in the request with no principal set"
        )
    if principal is not None and given != principal:
        return (
            f"A reserve operation was attempted by authenticated principal '{principal}', "
            f"which does not match a reserved resource in the request with principal '{given}'"
        )
    return None


def _operators_fault(resource: Resource) -> str | None:
    if resource.allocation_info is None:
        return None
    return (
        "A reserve operation was attempted with an allocated resource, but the operator API only "
        "allows reservations to be made to unallocated resources"
    )


def _role_fault(resource: Resource, framework: FrameworkRecord) -> str | None:
    allocated = resource.allocation_info.role if resource.allocation_info else None
    role = reservation_role(resource)
    if allocated is None:
        return (
            f"A reserve operation was attempted on unallocated resource {text_of(resource)}, but "
            "frameworks can only perform reservations on allocated resources"
        )
    if allocated != role:
        return (
            f"A reserve operation was attempted for a resource with role '{role}', but the "
            f"resource was allocated to role '{allocated}'"
        )
    if allocated not in framework.roles:
        listed = "{ " + ", ".join(framework.roles) + " }"
        return (
            f"A reserve operation was attempted for a resource allocated to role '{allocated}', "
            f"but the framework only has roles '{listed}'"
        )
    return None


def _one_role_fault(resources: Iterable[Resource], what: str) -> str | None:
    first: str | None = None
    for resource in resources:
        role = resource.allocation_info.role if resource.allocation_info else None
        if role is None:
            return f"Invalid {what} resources: The resources are not allocated to a role"
        if first is not None and role != first:
            return (
                f"Invalid {what} resources: The resources have multiple allocation roles "
                f"('{role}' and '{first}') but only one allocation role is allowed"
            )
        first = role
    return None


def _unreserve_fault(resources: tuple[Resource, ...]) -> str | None:
    fault = _resources_fault(resources)
    if fault is not None:
        return fault
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


def _create_fault(volumes: tuple[Resource, ...], asking: Asking) -> str | None:
    fault = _resources_fault(volumes)
    if fault is None and (missing := persistence_fault(volumes)) is not None:
        fault = f"Not a persistent volume: {missing}"
    fault = fault or unique_fault((*asking.total.volumes(), *volumes))
    if fault is not None:
        return fault
    for volume in volumes:
        if volume.shared is not None:
            return "Shared persistent volumes are not supported by the embedded engine"
        fault = _volume_principal_fault(volume, asking.principal)
        if fault is not None:
            return fault
    return _one_role_fault(volumes, "volume") if asking.framework else None


def _volume_principal_fault(volume: Resource, principal: str | None) -> str | None:
    persistence = volume.disk.persistence if volume.disk else None
    if principal is None or persistence is None or persistence.principal == principal:
        return None
    if persistence.principal is None:
        return (
            f"Create volume operation attempted by principal '{principal}', but there is a "
            "volume in the operation with no principal set in 'disk.persistence'"
        )
    return (
        f"Create volume operation attempted by authenticated principal '{principal}', which does "
        f"not match a volume in the operation with principal '{persistence.principal}' set in "
        "'disk.persistence'"
    )


def _destroy_fault(volumes: tuple[Resource, ...], asking: Asking) -> str | None:
    bare = tuple(Resources(volumes).unallocated())
    fault = _resources_fault(bare)
    if fault is None and (missing := persistence_fault(bare)) is not None:
        fault = f"Not a persistent volume: {missing}"
    if fault is not None:
        return fault
    if not all(asking.total.contains([volume]) for volume in bare):
        return "Persistent volumes not found"
    if any(asking.used.contains([volume]) for volume in bare):
        return "Persistent volumes in use"
    return None


def _grow_fault(operation: Operation) -> str | None:
    assert operation.grow_volume is not None
    volume, addition = operation.grow_volume.volume, operation.grow_volume.addition
    if addition.scalar is None or thousandths(addition.scalar.value) <= 0:
        return "The size of 'GrowVolume.addition' field must be greater than zero"
    if volume.provider_id is not None:
        return "Growing a volume from a resource provider is not supported"
    fault = persistence_fault([volume])
    if fault is not None:
        return f"Invalid persistent volume in the 'GrowVolume.volume' field: {fault}"
    if volume.shared is not None:
        return "Growing a shared persistent volume is not supported"
    if len(Resources([without_persistence(volume), addition])) != 1:
        return "Incompatible resources in the 'GrowVolume.volume' and 'GrowVolume.addition' fields"
    return None


def _shrink_fault(operation: Operation) -> str | None:
    assert operation.shrink_volume is not None
    volume = operation.shrink_volume.volume
    less = thousandths(operation.shrink_volume.subtract.value)
    if less <= 0:
        return "Value of 'ShrinkVolume.subtract' must be greater than zero"
    if volume.scalar is None or thousandths(volume.scalar.value) <= less:
        return (
            "Value of 'ShrinkVolume.subtract' must be smaller than the size of "
            "'ShrinkVolume.volume'"
        )
    if volume.provider_id is not None:
        return "Shrinking a volume from a resource provider is not supported"
    if volume.disk is not None and volume.disk.source and volume.disk.source.type == "MOUNT":
        return "Shrinking a volume on a MOUNT disk is not supported"
    fault = persistence_fault([volume])
    if fault is not None:
        return f"Invalid persistent volume in the 'ShrinkVolume.volume' field: {fault}"
    if volume.shared is not None:
        return "Shrinking a shared persistent volume is not supported"
    return None
