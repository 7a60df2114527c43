"""What the world believes is what the store has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kubedcos.model.offer import Agent, Offer, Resource
from kubedcos.model.service import ServiceSpec, TaskSpec
from kubedcos.scheduler.world import Heard, World
from kubedcos.state import documents
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import PodRecord, ReservationRecord, TaskRecord
from kubedcos.state.store import Change, StateError

SPEC = ServiceSpec("k8s", "k8s", (), ())
A1 = Agent("S-a1", "a1", region="dc-a")
TASK = TaskRecord("t__1", "pod", 0, TaskSpec("t", "t", 1.0, 1, 1), A1)


class FullDisk(MemoryStore):
    """Refuses every write."""

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        raise StateError(f"{cluster}: {len(changes)} changes do not fit")


def test_what_cannot_be_stored_is_not_believed() -> None:
    world = World(FullDisk(), SPEC)
    with pytest.raises(StateError):
        world.commit([TASK])
    assert world.tasks == {}


def test_another_world_on_the_same_store_believes_the_same() -> None:
    store = MemoryStore()
    first = World(store, SPEC)
    first.commit([TASK, PodRecord("pod", 0, A1, "r-1")])
    first.commit([replace(TASK, state="TASK_RUNNING")], remove=[first.pods["pod-0"]])
    second = World(store, SPEC)
    assert second.tasks == first.tasks == {"pod-0/t": replace(TASK, state="TASK_RUNNING")}
    assert second.pods == {}
    assert documents.load(store, "k8s").cluster == second.cluster


def test_nothing_is_stored_of_a_cluster_that_was_deleted() -> None:
    store = MemoryStore()
    world = World(store, SPEC)
    world.commit([TASK])
    world.drop()
    with pytest.raises(StateError, match="k8s was deleted"):
        world.commit([TASK])
    assert store.clusters() == ()


def test_an_agents_largest_offer_is_remembered() -> None:
    store = MemoryStore()
    world = World(store, SPEC)
    for number, cpus in enumerate((4000, 1000)):
        world.take_offers([Offer(f"O{number}", A1, "k8s", (Resource("cpus", cpus),))], 1.0)
        world.forget_offers([f"O{number}"])
    assert World(store, SPEC).agents["S-a1"].largest == {"cpus": 4000}


def test_an_offer_is_newer_than_the_last_end_only_if_it_was_heard_later() -> None:
    world = World(MemoryStore(), SPEC)
    world.heard.events = 1
    world.take_offers([Offer("O1", A1, "k8s", ())], 1.0)
    world.heard.events = world.heard.last_end = 2
    (old,) = world.offers()
    assert not world.newer_than_last_end(old)
    world.forget_offers(["O1"])
    world.heard.events = 3
    world.take_offers([Offer("O2", A1, "k8s", ())], 1.0)
    (new,) = world.offers()
    assert world.newer_than_last_end(new)


def test_only_homes_with_data_and_living_tasks_count_as_placed() -> None:
    world = World(MemoryStore(), SPEC)
    world.commit([PodRecord("etcd", 0, A1, "r-1"), TASK])
    assert set(world.surroundings().placed) == {("pod", 0)}
    world.commit([PodRecord("etcd", 0, A1, "r-1", confirmed=True), replace(TASK, ended_at=1.0)])
    assert set(world.surroundings().placed) == {("etcd", 0)}


class CountingStore(MemoryStore):
    """Counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        self.writes += 1
        super().write(cluster, changes)


def test_a_batch_is_one_write_of_what_holds_at_its_end() -> None:
    store = CountingStore()
    world = World(store, SPEC)
    with world.batch():
        world.commit([TASK, PodRecord("pod", 0, A1, "r-1")])
        world.commit([replace(TASK, state="TASK_RUNNING")], remove=[world.pods["pod-0"]])
        assert store.writes == 0
        assert world.task("t__1") == replace(TASK, state="TASK_RUNNING")
    assert store.writes == 1
    assert World(store, SPEC).tasks == world.tasks
    assert World(store, SPEC).pods == {}


def test_what_was_said_before_a_failure_within_a_batch_is_stored() -> None:
    store = CountingStore()
    world = World(store, SPEC)

    def interrupted() -> None:
        with world.batch():
            world.commit([TASK])
            raise LookupError

    with pytest.raises(LookupError):
        interrupted()
    assert World(store, SPEC).tasks == world.tasks


def test_offers_of_an_agent_stand_together() -> None:
    world = World(MemoryStore(), SPEC)
    a2 = replace(A1, id="S-a2", hostname="a2")
    offers = [Offer("O1", a2, "k8s", ()), Offer("O2", A1, "k8s", ()), Offer("O3", a2, "k8s", ())]
    world.take_offers(offers, 1.0)
    assert [found.offer_ids for found in world.offers()] == [("O2",), ("O1", "O3")]
    world.forget_offers(["O1", "O2", "nobody"])
    assert [found.offer_ids for found in world.offers()] == [("O3",)]
    world.forget_offers(["O3"])
    assert world.offers() == ()


def test_agents_that_offered_in_this_subscription_or_have_our_tasks_were_heard_of() -> None:
    world = World(MemoryStore(), SPEC)
    world.take_offers([Offer("O1", A1, "k8s", ())], 1.0)
    assert world.unheard_agents() == []
    world.lose_agent(A1, 2.0)
    assert world.unheard_agents() == ["S-a1"]
    world.regain_agent("S-a1", 3.0)
    world.heard = Heard()
    assert world.unheard_agents() == ["S-a1"]
    world.commit([TASK])
    assert world.unheard_agents() == []


B1 = replace(A1, id="S-b1", address="10.0.0.1")
HEIR = replace(B1, id="S-b2")
KEPT = ReservationRecord("r-1", "pod-0", B1)


def heard_of(agent: Agent, port: int = 5051) -> Offer:
    return Offer(f"O-{agent.id}", agent, "k8s", (), port=port)


def test_an_agent_at_the_address_of_another_takes_its_place_and_what_its_disk_may_have() -> None:
    store = MemoryStore()
    world = World(store, SPEC)
    world.take_offers([heard_of(B1)], 1.0)
    world.commit([KEPT])
    world.take_offers([heard_of(HEIR)], 2.0)
    assert set(world.agents) == {"S-b2"}
    assert world.reservations == {"r-1": replace(KEPT, agent=HEIR)}
    assert World(store, SPEC).agents == world.agents


@pytest.mark.parametrize("port", [5052, 0])
def test_agents_with_ports_of_their_own_share_an_address(port: int) -> None:
    world = World(MemoryStore(), SPEC)
    world.take_offers([heard_of(B1)], 1.0)
    world.take_offers([heard_of(HEIR, port)], 2.0)
    assert set(world.agents) == {"S-b1", "S-b2"}


@pytest.mark.parametrize(
    "ours", [replace(TASK, agent=B1), PodRecord("pod", 0, B1, "r-1", confirmed=True)]
)
def test_what_ours_have_of_an_agent_that_is_no_more_is_left_to_recovery(
    ours: TaskRecord | PodRecord,
) -> None:
    world = World(MemoryStore(), SPEC)
    world.take_offers([heard_of(B1)], 1.0)
    world.commit([ours, KEPT])
    world.take_offers([heard_of(HEIR)], 2.0)
    assert world.is_lost(B1)
    assert world.reservations == {"r-1": KEPT}
    world.commit(
        [replace(ours, ended_at=3.0)] if isinstance(ours, TaskRecord) else [],
        [ours] if isinstance(ours, PodRecord) else [],
    )
    world.take_offers([heard_of(HEIR)], 4.0)
    assert set(world.agents) == {"S-b2"}


def test_a_deletion_waits_for_no_agent_that_is_no_more() -> None:
    world = World(MemoryStore(), SPEC)
    world.take_offers([heard_of(B1)], 1.0)
    world.commit([KEPT, PodRecord("pod", 0, B1, "r-1", confirmed=True)])
    world.forget_agent(B1.id)
    assert world.reservations == {"r-1": KEPT}
    world.commit([replace(world.cluster, deleting=True)])
    world.forget_agent(B1.id)
    assert world.reservations == {}
