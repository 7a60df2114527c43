"""What operations make of resources: pure conversions, shared by master, agent and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from kubedcos.mesos.base_messages import Resource, Scalar
from kubedcos.mesos.offer_messages import (
    Operation,
    OperationGrowVolume,
    OperationReserve,
    OperationResources,
    OperationShrinkVolume,
    OperationVolumes,
)
from kubedcos.mesos.resources import Resources, is_volume, text_of
from kubedcos.mesos.values import SCALE, thousandths


class NotApplicable(ValueError):
    """The operation does not fit the resources; the text is Mesos' own."""


def is_dynamically_reserved(resource: Resource) -> bool:
    """Whether the most refined reservation is a dynamic one."""
    return bool(resource.reservations) and resource.reservations[-1].type == "DYNAMIC"


def popped(resource: Resource) -> Resource:
    """The resource without its most refined reservation."""
    return replace(resource, reservations=resource.reservations[:-1])


def without_persistence(resource: Resource) -> Resource:
    """The disk that a persistent volume was made of."""
    disk = resource.disk
    if disk is None:
        return resource
    source = disk.source
    rest = replace(disk, persistence=None, volume=None) if source is not None else None
    return replace(resource, disk=rest, shared=None)


@dataclass(frozen=True, slots=True)
class Conversion:
    """Resources that are turned into others of the same amount."""

    consumed: Resources
    produced: Resources

    def unallocated(self) -> Conversion:
        """The same without marks of allocation."""
        return Conversion(self.consumed.unallocated(), self.produced.unallocated())


def conversions(operation: Operation) -> tuple[Conversion, ...]:
    """What an operation turns into what; each must fit on its own, in this order.

    A RESERVE without `source` adds one level, an UNRESERVE takes one off. Of operations that
    convert nothing, such as LAUNCH, there are none.
    """
    if operation.reserve is not None and operation.type == "RESERVE":
        wanted = operation.reserve.resources
        source = operation.reserve.source or tuple(map(popped, wanted))
        return (Conversion(Resources(source), Resources(wanted)),)
    if operation.unreserve is not None and operation.type == "UNRESERVE":
        return tuple(_one(given, popped(given)) for given in operation.unreserve.resources)
    if operation.create is not None and operation.type == "CREATE":
        volumes = operation.create.volumes
        return tuple(_one(without_persistence(volume), volume) for volume in volumes)
    if operation.destroy is not None and operation.type == "DESTROY":
        volumes = operation.destroy.volumes
        return tuple(_one(volume, without_persistence(volume)) for volume in volumes)
    if operation.grow_volume is not None and operation.type == "GROW_VOLUME":
        volume, more = operation.grow_volume.volume, operation.grow_volume.addition
        size = _size(volume.scalar) + _size(more.scalar)
        return (Conversion(Resources([volume, more]), Resources([_sized(volume, size)])),)
    if operation.shrink_volume is not None and operation.type == "SHRINK_VOLUME":
        volume, less = operation.shrink_volume.volume, _size(operation.shrink_volume.subtract)
        rest = _sized(volume, _size(volume.scalar) - less)
        freed = _sized(without_persistence(volume), less)
        return (Conversion(Resources([volume]), Resources([rest, freed])),)
    return ()


def _one(consumed: Resource, produced: Resource) -> Conversion:
    return Conversion(Resources([consumed]), Resources([produced]))


def _size(scalar: Scalar | None) -> int:
    return thousandths(scalar.value) if scalar is not None else 0


def _sized(resource: Resource, size: int) -> Resource:
    return replace(resource, scalar=Scalar(size / SCALE))


def applied(total: Resources, steps: Iterable[Conversion]) -> Resources:
    """`total` with conversions carried out, one after the other.

    Raises:
        NotApplicable: what one consumes is not all there.
    """
    for step in steps:
        if not total.contains(step.consumed):
            raise NotApplicable(f"{total} does not contain {step.consumed}")
        total = total - step.consumed + step.produced
    return total


def with_resources(operation: Operation, change: Callable[[Resource], Resource]) -> Operation:
    """An operation other than a launch, each of its resources changed."""

    def changed(resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
        return tuple(map(change, resources))

    reserve, grow, shrink = operation.reserve, operation.grow_volume, operation.shrink_volume
    parts: dict[str, Any] = {}
    if reserve is not None:
        parts["reserve"] = OperationReserve(changed(reserve.source), changed(reserve.resources))
    if operation.unreserve is not None:
        parts["unreserve"] = OperationResources(changed(operation.unreserve.resources))
    if operation.create is not None:
        parts["create"] = OperationVolumes(changed(operation.create.volumes))
    if operation.destroy is not None:
        parts["destroy"] = OperationVolumes(changed(operation.destroy.volumes))
    if grow is not None:
        parts["grow_volume"] = OperationGrowVolume(change(grow.volume), change(grow.addition))
    if shrink is not None:
        parts["shrink_volume"] = OperationShrinkVolume(change(shrink.volume), shrink.subtract)
    return replace(operation, **parts)


def subject(operation: Operation) -> tuple[Resource, ...]:
    """The resources that an operation is about: as they shall be, or as they are no more."""
    if operation.reserve is not None and operation.type == "RESERVE":
        return operation.reserve.resources
    if operation.unreserve is not None and operation.type == "UNRESERVE":
        return operation.unreserve.resources
    if operation.create is not None and operation.type == "CREATE":
        return operation.create.volumes
    if operation.destroy is not None and operation.type == "DESTROY":
        return operation.destroy.volumes
    resized = operation.grow_volume or operation.shrink_volume
    return () if resized is None else (resized.volume,)


def needs_checkpoint(resource: Resource) -> bool:
    """Whether the agent has to remember the resource: reserved dynamically, or a volume."""
    return is_volume(resource) or any(level.type == "DYNAMIC" for level in resource.reservations)


def _configured(resource: Resource) -> Resource:
    """The resource as the agent's flags gave it, before anything dynamic happened to it."""
    plain = without_persistence(resource) if is_volume(resource) else resource
    static = tuple(level for level in plain.reservations if level.type == "STATIC")
    return replace(plain, reservations=static)


def with_checkpointed(configured: Resources, checkpointed: Iterable[Resource]) -> Resources:
    """An agent's resources with all that it remembers applied to what its flags say.

    Raises:
        NotApplicable: it remembers more than it has.
    """
    total = configured
    for resource in checkpointed:
        base = Resources([_configured(resource)])
        if not total.contains(base):
            raise NotApplicable(f"{configured} does not contain {text_of(resource)}")
        total = total - base + [resource]
    return total
