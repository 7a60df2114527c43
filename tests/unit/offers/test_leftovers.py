"""Only our own reservations are given back, and only those not in use."""

from __future__ import annotations

from kubedcos.model.offer import Disk, Reservation, Resource
from kubedcos.offers.leftovers import leftovers, reservation_ids

from .builders import ROLE


def held(reservation: str, cluster: str = "kubernetes", role: str = ROLE) -> Resource:
    labels = (("kubedcos_cluster", cluster), ("kubedcos_reservation", reservation))
    return Resource("cpus", 500, reservations=(Reservation(role, labels=labels),))


def test_foreign_resources_are_not_touched() -> None:
    offered = [
        Resource("cpus", 500),
        Resource("cpus", 500, reservations=(Reservation(ROLE, dynamic=False),)),
        Resource("cpus", 500, reservations=(Reservation(ROLE, labels=(("a", "b"),)),)),
        held("r", cluster="other"),
        held("r", role="other"),
    ]
    assert not leftovers(offered, cluster="kubernetes", role=ROLE, in_use=set())


def test_what_is_in_use_stays() -> None:
    found = leftovers([held("old"), held("new")], cluster="kubernetes", role=ROLE, in_use={"new"})
    assert found.unreserve == (held("old"),)
    assert reservation_ids([held("old"), held("new")], cluster="kubernetes") == {"old", "new"}


def test_a_volume_is_destroyed_and_its_space_unreserved() -> None:
    stack = held("old").reservations
    volume = Resource("disk", 1000, reservations=stack, disk=Disk(persistence_id="v"))
    found = leftovers([volume], cluster="kubernetes", role=ROLE, in_use=set())
    assert found.destroy == (volume,)
    assert found.unreserve == (Resource("disk", 1000, reservations=stack),)
