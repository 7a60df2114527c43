"""What RESERVE, UNRESERVE, CREATE and DESTROY make of resources, and what may be asked of them.

Pure conversions on resources without marks of allocation; master, agent and tests share them.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from kubedcos.mesos.base_messages import Resource
from kubedcos.mesos.resources import Resources, is_volume, text_of


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


def converted(
    total: Resources, consumed: Iterable[Resource], produced: Iterable[Resource]
) -> Resources:
    """`total` with some resources turned into others.

    Raises:
        NotApplicable: `consumed` is not all there.
    """
    taken = Resources(consumed)
    if not total.contains(taken):
        raise NotApplicable(f"{total} does not contain {taken}")
    return total - taken + produced


def reserve(total: Resources, resources: Iterable[Resource]) -> Resources:
    """RESERVE, one level; raises as `converted`."""
    wanted = tuple(resources)
    return converted(total, map(popped, wanted), wanted)


def unreserve(total: Resources, resources: Iterable[Resource]) -> Resources:
    """UNRESERVE, one level; raises as `converted`."""
    given = tuple(resources)
    return converted(total, given, map(popped, given))


def create(total: Resources, volumes: Iterable[Resource]) -> Resources:
    """CREATE of persistent volumes; raises as `converted`."""
    wanted = tuple(volumes)
    return converted(total, map(without_persistence, wanted), wanted)


def destroy(total: Resources, volumes: Iterable[Resource]) -> Resources:
    """DESTROY of persistent volumes; raises as `converted`."""
    given = tuple(volumes)
    return converted(total, given, map(without_persistence, given))


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
