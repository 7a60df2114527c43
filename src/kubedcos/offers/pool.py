"""Taking amounts out of the resources of an agent's offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

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
    """Usable resources of one agent that are still free during one evaluation."""

    def __init__(self, resources: Iterable[Resource], usable: Usable) -> None:
        self._parts = [resource for resource in resources if usable(resource)]
        # What is left of each, and which ports are gone: offers are cut up by the thousand, and
        # numbers cost nothing.
        self._millis = [part.millis for part in self._parts]
        self._gone: list[set[int]] = [set() for _ in self._parts]
        self._plain: dict[str, list[int]] = {}
        for at, part in enumerate(self._parts):
            # Nearly all share the one root disk; comparing by value takes ten times as long.
            if part.disk is ROOT_DISK or part.disk == ROOT_DISK:
                self._plain.setdefault(part.name, []).append(at)
        for name, matching in self._plain.items():
            if name != "ports" and len(matching) > 1:
                matching.sort(key=lambda at: not self._parts[at].reservations)

    def take(self, name: str, millis: int) -> list[Resource]:
        """Take an amount, reserved resources first; the caller has seen that it is there."""
        taken = []
        for at in self._plain.get(name, ()):
            part = min(millis, self._millis[at])
            if part > 0:
                taken.append(self._cut(at, part))
                millis -= part
        return taken

    def total(self, name: str) -> int:
        """What is left of a scalar, in thousandths."""
        return sum(self._millis[at] for at in self._plain.get(name, ()))

    def take_ports(self, numbers: Sequence[int]) -> tuple[list[int], list[Resource]]:
        """Take ports, the lowest there is for each 0; ends before the first that is missing."""
        granted: list[int] = []
        taken: dict[int, list[Range]] = {}
        for asked in numbers:
            for at in self._plain.get("ports", ()):
                number = self._port(at, asked)
                if number is not None:
                    self._gone[at].add(number)
                    granted.append(number)
                    taken.setdefault(at, []).append((number, number))
                    break
            else:
                break
        parts = [
            self._parts[at].amounting(0, tuple(sorted(ranges))) for at, ranges in taken.items()
        ]
        return granted, parts

    def take_disk(self, kind: DiskKind, millis: int) -> Resource | None:
        """Take disk space of a kind; a MOUNT disk only as a whole, the smallest that does."""
        fitting = [at for at in self._disks(kind) if self._millis[at] >= millis]
        if not fitting:
            return None
        chosen = min(fitting, key=lambda at: self._millis[at])
        return self._cut(chosen, self._millis[chosen] if kind is DiskKind.MOUNT else millis)

    def largest_disk(self, kind: DiskKind) -> int:
        """The most that `take_disk` could give."""
        return max((self._millis[at] for at in self._disks(kind)), default=0)

    def _disks(self, kind: DiskKind) -> list[int]:
        return [
            at
            for at, part in enumerate(self._parts)
            if part.name == "disk" and part.disk.kind is kind
        ]

    def _port(self, at: int, asked: int) -> int | None:
        """A port that is left, the lowest when any will do."""
        ranges, gone = self._parts[at].ranges, self._gone[at]
        if asked:
            return asked if asked not in gone and holds(ranges, asked) else None
        return next(
            (n for low, high in sorted(ranges) for n in range(low, high + 1) if n not in gone),
            None,
        )

    def _cut(self, at: int, millis: int) -> Resource:
        self._millis[at] -= millis
        return self._parts[at].amounting(millis)


def size(resource: Resource) -> int:
    """Amount in thousandths; of ranges, how many numbers, times 1000."""
    if resource.ranges:
        return sum(high - low + 1 for low, high in resource.ranges) * 1000
    return resource.millis


def merged(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """The same resources, those that differ only in amount added up; volumes stay apart."""
    found: list[Resource] = []
    for resource in resources:
        for at, known in enumerate(found):
            if known.name == resource.name and _alike(known, resource):
                ranges = tuple(sorted((*known.ranges, *resource.ranges)))
                found[at] = known.amounting(known.millis + resource.millis, ranges)
                break
        else:
            found.append(resource)
    return tuple(found)


def _alike(one: Resource, other: Resource) -> bool:
    return (
        one.reservations == other.reservations
        and (one.disk is other.disk or one.disk == other.disk)
        and (not one.is_volume or one == other)
    )


def holds(ranges: Iterable[Range], number: int) -> bool:
    """Whether a number is in one of the ranges."""
    for low, high in ranges:  # noqa: SIM110 - a generator takes three times as long
        if low <= number <= high:
            return True
    return False


def without_port(ranges: tuple[Range, ...], number: int) -> tuple[Range, ...]:
    """Ranges less one number."""
    rest: list[Range] = []
    for low, high in ranges:
        if low <= number <= high:
            rest += [part for part in ((low, number - 1), (number + 1, high)) if part[0] <= part[1]]
        else:
            rest.append((low, high))
    return tuple(rest)
