"""Who is offered what."""

from __future__ import annotations

import pytest

from kubedcos.embedded.master.accept import decline
from kubedcos.embedded.master.allocator import AllocationRules
from kubedcos.embedded.master.frameworks import revive, suppress
from kubedcos.embedded.master.options import min_allocatable
from kubedcos.mesos.messages import (
    CallDecline,
    Filters,
    MinAllocatableResources,
    OfferFilters,
    OfferID,
    ReservationInfo,
    ResourceQuantities,
    Scalar,
)
from kubedcos.mesos.resources import Resources

from .world import MODERN, OLD, World, scalar


def refuse(world: World, framework: object, offers: list[object], seconds: float) -> None:
    ids = tuple(OfferID(offer.id) for offer in offers)  # type: ignore[attr-defined]
    call = CallDecline(ids, Filters(seconds))
    effects = decline(
        world.state,
        framework,  # type: ignore[arg-type]
        call,
        now=world.now,
        allocation_interval=1.0,
    )
    world.perform(effects)


def test_one_offer_per_agent_holds_everything_free() -> None:
    world = World()
    agents = [world.agent(), world.agent()]
    framework = world.framework()
    offers = world.offers(framework)
    assert {offer.agent_id for offer in offers} == {agent.id for agent in agents}
    assert all(offer.resources.scalar("cpus") == 4 for offer in offers)
    world.allocate()
    assert len(world.offers(framework)) == 2


def test_roles_of_different_frameworks_share_by_dominance() -> None:
    world = World()
    greedy = world.framework("greedy")
    world.agent()
    for _ in range(3):
        world.agent()
    modest = world.framework("modest")
    assert len(world.offers(greedy)) == 4
    refuse(world, greedy, world.offers(greedy), 0)
    world.allocate()
    assert len(world.offers(greedy)) == len(world.offers(modest)) == 2


def test_a_remote_agent_goes_to_region_aware_frameworks_only() -> None:
    world = World()
    world.agent(region="dc-b")
    old = world.framework(capabilities=OLD)
    assert world.offers(old) == []
    assert len(world.offers(world.framework(capabilities=MODERN))) == 1


def test_an_agent_without_a_domain_is_local() -> None:
    world = World()
    world.agent(region=None)
    assert len(world.offers(world.framework(capabilities=OLD))) == 1


def test_gpus_are_kept_for_those_who_ask() -> None:
    world = World()
    world.agent("cpus:4;mem:4096;gpus:1")
    assert world.offers(world.framework()) == []
    world.allocation = AllocationRules(world.allocation.min_allocatable, filter_gpu_resources=False)
    world.allocate()
    assert len(world.state.offers) == 1


@pytest.mark.parametrize(
    ("least", "resources", "offered"),
    [
        ("cpus:0.01|mem:32", "cpus:0.01", True),
        ("cpus:0.01|mem:32", "disk:100", False),
        ("cpus:0.01;mem:32;ports:1", "cpus:4;mem:4096", False),
        ("cpus:0.01;mem:32;ports:1", "cpus:4;mem:4096;ports:[1-1]", True),
    ],
)
def test_less_than_the_least_is_not_offered(least: str, resources: str, *, offered: bool) -> None:
    world = World()
    world.allocation = AllocationRules(min_allocatable(least))
    world.agent(resources)
    assert bool(world.offers(world.framework())) is offered


def test_a_frameworks_own_least_replaces_the_masters() -> None:
    world = World()
    world.agent("cpus:4;mem:64")
    wanted = MinAllocatableResources((ResourceQuantities({"mem": Scalar(128.0)}),))
    picky = world.framework(offer_filters={"lab": OfferFilters(wanted)})
    assert world.offers(picky) == []


def test_reservations_go_to_their_role_and_to_roles_below() -> None:
    world = World()
    agent = world.agent("cpus:4")
    reserved = scalar("cpus", 3, reservations=(ReservationInfo("DYNAMIC", "eng"),))
    agent.total = Resources([reserved, scalar("cpus", 1)]).unallocated()
    stranger = world.framework("other")
    assert [offer.resources.scalar("cpus") for offer in world.offers(stranger)] == [1]
    child = world.framework("eng/dev")
    assert [offer.resources.scalar("cpus") for offer in world.offers(child)] == [3]


def test_refined_reservations_are_hidden_from_old_clients() -> None:
    world = World()
    agent = world.agent("cpus:4")
    stack = (ReservationInfo("DYNAMIC", "lab"), ReservationInfo("DYNAMIC", "lab/x"))
    agent.total = Resources([scalar("cpus", 4, reservations=stack)]).unallocated()
    assert world.offers(world.framework("lab/x", capabilities=("MULTI_ROLE",))) == []
    assert len(world.offers(world.framework("lab/x"))) == 1


def test_a_filter_holds_for_the_amount_refused_and_for_its_time() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    refuse(world, framework, world.offers(framework), 100)
    world.allocate()
    assert world.offers(framework) == []
    agent.total += [scalar("cpus", 1)]
    agent.total = agent.total.unallocated()
    world.allocate()
    assert len(world.offers(framework)) == 1
    refuse(world, framework, world.offers(framework), 100)
    world.now += 101
    world.allocate()
    assert len(world.offers(framework)) == 1


@pytest.mark.parametrize(("seconds", "until"), [(0.1, 1.0), (-3.0, 5.0), (1e12, 31536000.0)])
def test_times_of_filters_are_corrected(seconds: float, until: float) -> None:
    world = World()
    world.agent()
    framework = world.framework()
    refuse(world, framework, world.offers(framework), seconds)
    [[entry]] = framework.filters.values()
    assert entry.expires == world.now + until


def test_suppress_and_revive() -> None:
    world = World()
    framework = world.framework("lab", "extra", suppressed=("lab", "extra"))
    world.agent()
    assert world.offers(framework) == []
    world.perform(revive(world.state, framework, ("foreign",)))
    assert framework.suppressed == {"lab", "extra"}
    world.perform(revive(world.state, framework, ("extra",)))
    assert [offer.role for offer in world.offers(framework)] == ["extra"]
    world.perform(suppress(world.state, framework, ()))
    assert framework.suppressed == {"lab", "extra"}
    assert len(world.offers(framework)) == 1


def test_frameworks_of_one_role_share_too() -> None:
    world = World()
    first = world.framework()
    for _ in range(4):
        world.agent()
    second = world.framework()
    refuse(world, first, world.offers(first), 0)
    world.allocate()
    assert len(world.offers(first)) == len(world.offers(second)) == 2
