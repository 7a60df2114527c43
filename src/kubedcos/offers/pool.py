"""Taking amounts out of the resources of an agent's offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kubedcos.model.offer import ROOT_DISK, Range, Resource
from kubedcos.model.service import DiskKind

Usable = Callable[[Resource], bool]


def unreserved(resource: Resource) -> bool:
    """Free for everybody: what a new reservation is made of."""
    return not resource.reservations and not resource.is_volume


def spendable(resource: Resource) -> bool:
    """May be used for a task without asking: unreserved, or reserved for the role as a whole.

    A dynamic reservation with labels belongs to somebody, perhaps to another pod of ours.
    """
    last = resource.reservation
    owned = last is not None and last.dynamic and bool(last.labels)
    return not owned and not resource.is_volume


class Pool:
    """Resources of one agent that are still free during one evaluation."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._free = list(resources)

    def total(self, name: str, usable: Usable) -> int:
        """What is left of a resource, in thousandths; of ports, their number times 1000."""
        return sum(size(resource) for resource in self._matching(name, usable))

    def take(self, name: str, millis: int, usable: Usable) -> tuple[Resource, ...]:
        """Take an amount, reserved resources first; the caller has seen that it is there."""
        taken = []
        order = sorted(self._matching(name, usable), key=lambda item: not item.reservations)
        for resource in order:
            if millis <= 0:
                break
            part = min(millis, resource.millis)
            self._replace(resource, resource.amounting(resource.millis - part))
            taken.append(resource.amounting(part))
            millis -= part
        return tuple(taken)

    def take_port(self, number: int, usable: Usable) -> Resource | None:
        """Take a port, any for 0; None when it is not there."""
        for resource in self._matching("ports", usable):
            found = _lowest(resource.ranges) if number == 0 else number
            if found is not None and any(low <= found <= high for low, high in resource.ranges):
                rest = without_port(resource.ranges, found)
                self._replace(resource, resource.amounting(0, rest))
                return resource.amounting(0, ((found, found),))
        return None

    def take_disk(self, kind: DiskKind, millis: int, usable: Usable) -> Resource | None:
        """Take disk space of a kind; a MOUNT disk only as a whole, the smallest that does."""
        fitting = [
            resource
            for resource in self._free
            if resource.name == "disk"
            and resource.disk.kind is kind
            and usable(resource)
            and resource.millis >= millis
        ]
        if not fitting:
            return None
        chosen = min(fitting, key=lambda resource: resource.millis)
        part = chosen.millis if kind is DiskKind.MOUNT else millis
        self._replace(chosen, chosen.amounting(chosen.millis - part))
        return chosen.amounting(part)

    def largest_disk(self, kind: DiskKind, usable: Usable) -> int:
        """The most that `take_disk` could give."""
        return max(
            (
                resource.millis
                for resource in self._free
                if resource.name == "disk" and resource.disk.kind is kind and usable(resource)
            ),
            default=0,
        )

    def _matching(self, name: str, usable: Usable) -> list[Resource]:
        return [
            resource
            for resource in self._free
            if resource.name == name and resource.disk == ROOT_DISK and usable(resource)
        ]

    def _replace(self, old: Resource, new: Resource) -> None:
        index = self._free.index(old)
        self._free[index : index + 1] = [new] if size(new) else []


def size(resource: Resource) -> int:
    """Amount in thousandths; of ranges, how many numbers, times 1000."""
    if resource.ranges:
        return sum(high - low + 1 for low, high in resource.ranges) * 1000
    return resource.millis


def merged(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """The same resources, those that differ only in amount added up; volumes stay apart."""
    found: dict[Resource, Resource] = {}
    for resource in resources:
        kind = resource if resource.is_volume else resource.amounting(0)
        if kind in found:
            known = found[kind]
            ranges = tuple(sorted((*known.ranges, *resource.ranges)))
            found[kind] = known.amounting(known.millis + resource.millis, ranges)
        else:
            found[kind] = resource
    return tuple(found.values())


def without_port(ranges: tuple[Range, ...], number: int) -> tuple[Range, ...]:
    """Ranges less one number."""
    rest: list[Range] = []
    for low, high in ranges:
        if low <= number <= high:
            rest += [part for part in ((low, number - 1), (number + 1, high)) if part[0] <= part[1]]
        else:
            rest.append((low, high))
    return tuple(rest)


def _lowest(ranges: tuple[Range, ...]) -> int | None:
    return min((low for low, _ in ranges), default=None)
