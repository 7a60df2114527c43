"""Resources and offers without Mesos' spelling: what offer evaluation reckons with.

Scalars are whole thousandths (`millis`), because Mesos keeps three decimals and sums of fractions
must not drift. Memory and disk are thousandths of a mebibyte then; see `millis_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kubedcos.model.service import DiskKind

Range = tuple[int, int]
"""First and last number, both included."""


def millis_of(amount: float) -> int:
    """`amount` in thousandths, rounded as Mesos does."""
    return round(amount * 1000)


def amount_text(millis: int) -> str:
    """Thousandths as people write them: ``3``, ``2.1``."""
    return f"{millis / 1000:.3f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Reservation:
    """One level of a reservation; the last of a stack is the most refined."""

    role: str
    dynamic: bool = True
    principal: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def label(self, key: str) -> str:
        """Value of the label `key`; empty when there is none."""
        return dict(self.labels).get(key, "")


@dataclass(frozen=True, slots=True)
class Disk:
    """Which disk of an agent, and the persistent volume on it if there is one.

    Attributes:
        root: directory of a PATH or MOUNT disk.
        persistence_id: identity of the volume; empty for plain disk space.
        container_path: where the volume appears in a sandbox.
    """

    kind: DiskKind = DiskKind.ROOT
    root: str = ""
    persistence_id: str = ""
    principal: str = ""
    container_path: str = ""

    @property
    def bare(self) -> Disk:
        """The same disk without a volume on it."""
        return Disk(kind=self.kind, root=self.root)


ROOT_DISK = Disk()


@dataclass(frozen=True, slots=True)
class Resource:
    """An amount of something on one agent: a scalar (`millis`) or numbers (`ranges`)."""

    name: str
    millis: int = 0
    ranges: tuple[Range, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    disk: Disk = ROOT_DISK

    @property
    def reservation(self) -> Reservation | None:
        """The most refined reservation, if any."""
        return self.reservations[-1] if self.reservations else None

    @property
    def is_volume(self) -> bool:
        """Whether this is a persistent volume."""
        return bool(self.disk.persistence_id)

    def label(self, key: str) -> str:
        """Label of the most refined dynamic reservation; empty when there is none."""
        last = self.reservation
        return last.label(key) if last is not None and last.dynamic else ""

    def amounting(self, millis: int, ranges: tuple[Range, ...] = ()) -> Resource:
        """The same kind of resource in another amount."""
        # Offers are cut up by the thousand; `replace` takes three times as long.
        return Resource(self.name, millis, ranges, self.reservations, self.disk)

    def without_volume(self) -> Resource:
        """The disk space that a DESTROY of this volume leaves behind."""
        return replace(self, disk=self.disk.bare)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as its offers describe it.

    Attributes:
        address: IP address from the offer's URL; empty when Mesos gave none.
        region: empty when the agent has no fault domain; it counts as local then.
        attributes: text attributes; a name may occur several times.
    """

    id: str
    hostname: str
    address: str = ""
    region: str = ""
    zone: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """Resources of one agent, allocated to one role.

    Attributes:
        unavailable_from: start of planned maintenance, seconds since 1970; None without.
        port: of the agent at its address; 0 when Mesos gave none.
    """

    id: str
    agent: Agent
    role: str
    resources: tuple[Resource, ...]
    unavailable_from: float | None = None
    port: int = 0
