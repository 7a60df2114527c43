"""Arithmetic on Mesos resources, as Mesos does it.

Two resources add up only if everything but the amount is equal: reservations, allocation, disk,
and so on; how amounts add up is in `values`. Persistent volumes and whole disks (MOUNT, BLOCK) are
never split or merged.

Only the form with a stack of `reservations` takes part in arithmetic; `upgraded` brings the form
from before reservation refinement into it, `downgraded` back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kubedcos.mesos.base_messages import (
    AllocationInfo,
    Range,
    Ranges,
    ReservationInfo,
    Resource,
    Scalar,
    Set,
)
from kubedcos.mesos.values import (
    SCALE,
    Amount,
    Spans,
    covers,
    merged,
    minus,
    number_text,
    plus,
    spans_text,
    thousandths,
)

if TYPE_CHECKING:
    from typing import Self


def amount_of(resource: Resource) -> Amount:
    """The amount of a resource in the form that arithmetic uses."""
    if resource.type == "SCALAR":
        return thousandths(resource.scalar.value) if resource.scalar else 0
    if resource.type == "RANGES":
        ranges = resource.ranges.range if resource.ranges else ()
        return merged((piece.begin, piece.end) for piece in ranges)
    return frozenset(resource.set.item if resource.set else ())


def with_amount(resource: Resource, amount: Amount) -> Resource:
    """The same resource with another amount."""
    if isinstance(amount, int):
        return replace(resource, scalar=Scalar(amount / SCALE))
    if isinstance(amount, frozenset):
        return replace(resource, set=Set(tuple(sorted(amount))))
    return replace(resource, ranges=Ranges(tuple(Range(low, high) for low, high in amount)))


def is_exclusive(resource: Resource) -> bool:
    """Whether the resource can only be used as a whole: a persistent volume or an entire disk."""
    disk = resource.disk
    if disk is None:
        return False
    if disk.persistence is not None:
        return True
    source = disk.source
    if source is None or source.type == "PATH":
        return False
    return source.type != "RAW" or source.id is not None


def shrunk(resource: Resource, most: int) -> Resource | None:
    """At most that many thousandths of a scalar; `None` if there is nothing or it is not divisible.

    A whole disk or a persistent volume that fits stays as it is.

    Raises:
        TypeError: the resource is no scalar.
    """
    amount = amount_of(resource)
    if not isinstance(amount, int):
        raise TypeError(f"{resource.name} is no scalar")
    if amount <= most:
        return resource
    return None if most <= 0 or is_exclusive(resource) else with_amount(resource, most)


def _kind(resource: Resource) -> Resource:
    """What resources must share in order to add up: everything but the amount."""
    if is_exclusive(resource):
        return with_amount(resource, amount_of(resource))
    return replace(resource, scalar=None, ranges=None, set=None)


def _add(amounts: dict[Resource, Amount], kind: Resource, amount: Amount) -> None:
    if not amount:
        return
    known = amounts.get(kind)
    amounts[kind] = amount if known is None or is_exclusive(kind) else plus(known, amount)


class Resources:
    """Resources that were added up; immutable, in order of first appearance, empty ones left out.

    Built of wire resources; iterating gives wire resources again.
    """

    __slots__ = ("_amounts", "_quantities", "_unallocated")

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._amounts: dict[Resource, Amount] = {}
        self._quantities: dict[str, int] | None = None
        self._unallocated: Resources | None = None
        for resource in resources:
            _add(self._amounts, _kind(resource), amount_of(resource))

    @classmethod
    def of_amounts(cls, amounts: dict[Resource, Amount]) -> Self:
        """Resources of kinds (without an amount, see `amounts`) and what there is of each.

        The caller gives the dictionary away.
        """
        made = cls()
        made._amounts = amounts
        return made

    def amounts(self) -> Iterable[tuple[Resource, Amount]]:
        """Kinds, which are resources without their amount, each with its amount."""
        return self._amounts.items()

    def __iter__(self) -> Iterator[Resource]:
        return (with_amount(kind, amount) for kind, amount in self._amounts.items())

    def __len__(self) -> int:
        return len(self._amounts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._amounts == other._amounts

    def __hash__(self) -> int:
        return hash(frozenset(self._amounts.items()))

    def __repr__(self) -> str:
        return f"Resources({self})"

    def __str__(self) -> str:
        return "; ".join(text_of(resource) for resource in self)

    def __add__(self, other: Resources | Iterable[Resource]) -> Resources:
        more = other if isinstance(other, Resources) else Resources(other)
        if not more._amounts:
            return self
        if not self._amounts:
            return more
        amounts = dict(self._amounts)
        for kind, amount in more._amounts.items():
            _add(amounts, kind, amount)
        return Resources.of_amounts(amounts)

    def __sub__(self, other: Resources | Iterable[Resource]) -> Resources:
        """What is left; taking more than there is leaves nothing, never less."""
        less = other if isinstance(other, Resources) else Resources(other)
        if not less._amounts or not self._amounts:
            return self
        amounts = dict(self._amounts)
        for kind, amount in less._amounts.items():
            if kind not in amounts:
                continue
            rest = minus(amounts[kind], amount)
            if rest:
                amounts[kind] = rest
            else:
                del amounts[kind]
        return Resources.of_amounts(amounts)

    def contains(self, other: Resources | Iterable[Resource]) -> bool:
        """Whether all of `other` can be taken from these at once."""
        wanted = other if isinstance(other, Resources) else Resources(other)
        return all(
            kind in self._amounts and covers(self._amounts[kind], amount)
            for kind, amount in wanted.amounts()
        )

    def where(self, keep: Callable[[Resource], bool]) -> Resources:
        """Those resources for which `keep` holds."""
        return Resources.of_amounts({k: a for k, a in self._amounts.items() if keep(k)})

    def mapped(self, change: Callable[[Resource], Resource]) -> Resources:
        """Each resource changed, amounts added up anew."""
        return Resources(change(resource) for resource in self)

    def named(self, name: str) -> Resources:
        """Resources of that name."""
        return self.where(lambda resource: resource.name == name)

    def reserved(self, role: str | None = None) -> Resources:
        """Reserved resources, of one role if given."""
        return self.where(lambda r: bool(r.reservations) and role in (None, reservation_role(r)))

    def unreserved(self) -> Resources:
        """Resources without reservation."""
        return self.where(lambda resource: not resource.reservations)

    def volumes(self) -> Resources:
        """Persistent volumes."""
        return self.where(is_volume)

    def allocated(self, role: str) -> Resources:
        """The same, marked as allocated to `role`."""
        return self._marked(AllocationInfo(role))

    def unallocated(self) -> Resources:
        """The same without any mark of allocation."""
        if self._unallocated is None:
            if all(kind.allocation_info is None for kind in self._amounts):
                return self
            self._unallocated = self._marked(None)
        return self._unallocated

    def _marked(self, allocation: AllocationInfo | None) -> Resources:
        amounts: dict[Resource, Amount] = {}
        for kind, amount in self._amounts.items():
            _add(amounts, replace(kind, allocation_info=allocation), amount)
        return Resources.of_amounts(amounts)

    @property
    def quantities(self) -> Mapping[str, int]:
        """Thousandths of all scalars by name, whatever they are reserved for."""
        if self._quantities is None:
            self._quantities = {}
            for kind, amount in self._amounts.items():
                if isinstance(amount, int):
                    self._quantities[kind.name] = self._quantities.get(kind.name, 0) + amount
        return self._quantities

    def scalar(self, name: str) -> float:
        """Sum of all scalars of that name, whatever they are reserved for; three decimals."""
        return self.thousandths(name) / SCALE

    def thousandths(self, name: str) -> int:
        """As `scalar`, in fixed point."""
        return self.quantities.get(name, 0)

    def spans(self, name: str = "ports") -> Spans:
        """All ranges of that name together."""
        found: list[tuple[int, int]] = []
        for kind, amount in self._amounts.items():
            if kind.name == name and isinstance(amount, tuple):
                found += amount
        return merged(found)

    def names(self) -> tuple[str, ...]:
        """Names of resources, each once."""
        return tuple(dict.fromkeys(kind.name for kind in self._amounts))


def reservation_role(resource: Resource) -> str:
    """Role that a resource is reserved for at its most refined level; ``*`` if it is not."""
    return (resource.reservations[-1].role or "*") if resource.reservations else "*"


def is_volume(resource: Resource) -> bool:
    """Whether the resource is a persistent volume."""
    return resource.disk is not None and resource.disk.persistence is not None


def upgraded(resource: Resource) -> Resource:
    """The resource in the form with a reservation stack.

    Raises:
        ValueError: it carries both forms.
    """
    if resource.reservations:
        if resource.reservation is not None or resource.role not in (None, "*"):
            raise ValueError(
                f"resource {resource.name!r} has 'reservations' beside 'role' or 'reservation'"
            )
        return replace(resource, role=None)
    role = resource.role or "*"
    if role == "*":
        return replace(resource, role=None, reservation=None)
    dynamic = resource.reservation
    level = ReservationInfo(
        type="DYNAMIC" if dynamic else "STATIC",
        role=role,
        principal=dynamic.principal if dynamic else None,
        labels=dynamic.labels if dynamic else None,
    )
    return replace(resource, role=None, reservation=None, reservations=(level,))


def downgraded(resource: Resource) -> Resource:
    """The resource in the form of clients without RESERVATION_REFINEMENT.

    Raises:
        ValueError: a refined reservation has no such form.
    """
    if not resource.reservations:
        return replace(resource, role="*")
    if len(resource.reservations) > 1:
        raise ValueError(f"resource {text_of(resource)} is refined")
    level = resource.reservations[0]
    dynamic = None
    if level.type == "DYNAMIC":
        dynamic = ReservationInfo(principal=level.principal, labels=level.labels)
    return replace(resource, role=level.role, reservation=dynamic, reservations=())


def value_text(resource: Resource) -> str:
    """The amount as text."""
    if resource.type == "SCALAR":
        return number_text(resource.scalar.value if resource.scalar else 0.0)
    amount = amount_of(resource)
    if isinstance(amount, tuple):
        return spans_text(amount)
    return "{" + ", ".join(sorted(amount)) + "}" if isinstance(amount, frozenset) else str(amount)


def _reservation_text(level: ReservationInfo) -> str:
    parts = [level.type or "UNKNOWN", level.role or "*"]
    if level.principal is not None:
        parts.append(level.principal)
    if level.labels is not None:
        pairs = (f"{label.key}: {label.value or ''}" for label in level.labels.labels)
        parts.append("{" + ", ".join(pairs) + "}")
    return "(" + ",".join(parts) + ")"


def text_of(resource: Resource) -> str:
    """A resource as Mesos writes it in messages, such as ``cpus(allocated: lab):0.5``."""
    text = resource.name
    if resource.allocation_info is not None:
        text += f"(allocated: {resource.allocation_info.role})"
    if resource.reservations:
        text += "(reservations: [" + ",".join(map(_reservation_text, resource.reservations)) + "])"
    text += _disk_text(resource)
    if resource.revocable is not None:
        text += "{REV}"
    if resource.shared is not None:
        text += "<SHARED>"
    return f"{text}:{value_text(resource)}"


def _disk_text(resource: Resource) -> str:
    disk = resource.disk
    if disk is None:
        return ""
    text = ""
    if disk.source is not None:
        place = disk.source.path or disk.source.mount
        text = disk.source.type + (f":{place.root}" if place and place.root else "")
    if disk.persistence is not None:
        text += ("," if text else "") + disk.persistence.id
    if disk.volume is not None:
        text += f":{disk.volume.container_path}"
    return f"[{text}]"
