"""Reservations of ours that nobody uses any more: what to destroy and to unreserve."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kubedcos.model.offer import Resource
from kubedcos.offers.requirement import CLUSTER_LABEL, RESERVATION_LABEL


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Volumes to destroy first, then resources to unreserve."""

    destroy: tuple[Resource, ...] = ()
    unreserve: tuple[Resource, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.unreserve)


def leftovers(
    resources: Iterable[Resource], *, cluster: str, role: str, in_use: Collection[str]
) -> Leftovers:
    """Offered resources that carry this cluster's label and a reservation id not in use.

    Nothing without our label is touched, whatever role it is reserved for.
    """
    ours = tuple(
        resource
        for resource in resources
        if resource.label(CLUSTER_LABEL) == cluster
        and resource.reservation is not None
        and resource.reservation.role == role
        and resource.label(RESERVATION_LABEL) not in in_use
    )
    return Leftovers(
        destroy=tuple(resource for resource in ours if resource.is_volume),
        unreserve=tuple(resource.without_volume() for resource in ours),
    )


def reservation_ids(resources: Iterable[Resource], *, cluster: str) -> frozenset[str]:
    """Ids of this cluster's reservations among offered resources."""
    return frozenset(
        resource.label(RESERVATION_LABEL)
        for resource in resources
        if resource.label(CLUSTER_LABEL) == cluster
    )
