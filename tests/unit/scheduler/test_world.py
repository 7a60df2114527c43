"""What the world believes is what the store has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kubedcos.model.offer import Agent, Offer, Resource
from kubedcos.model.service import ServiceSpec, TaskSpec
from kubedcos.scheduler.world import World
from kubedcos.state import records
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import PodRecord, TaskRecord
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
    assert records.load(store, "k8s").cluster == second.cluster


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
