"""On which agents a pod instance may be, resources aside."""

from __future__ import annotations

from dataclasses import replace

from kubedcos.model.service import PlacementSpec
from kubedcos.offers.evaluation import evaluate
from kubedcos.offers.placement import objections, scope
from kubedcos.offers.requirement import KnownAgent

from .builders import agent, amounts, around, needs, offers, pod

A1, A2 = agent("a1"), agent("a2", zone="a-2", rack="r2")
B1, B2 = agent("b1", "dc-b", "b-1"), agent("b2", "dc-b", "b-2")
LAB = around(A1, A2, B1, B2)


def reasons(spec: PlacementSpec, **more: object) -> dict[str, list[str]]:
    requirement = replace(needs(pod(placement=spec, count=4)), **more)  # type: ignore[arg-type]
    return {
        found.hostname: [finding.reason for finding in objections(requirement, found, LAB)]
        for found in (A1, A2, B1, B2)
    }


def test_without_rules_every_agent_will_do() -> None:
    assert reasons(PlacementSpec()) == {"a1": [], "a2": [], "b1": [], "b2": []}


def test_regions() -> None:
    found = reasons(PlacementSpec(regions=("dc-b",)))
    assert found == {"a1": ["is in region dc-a"], "a2": ["is in region dc-a"], "b1": [], "b2": []}


def test_the_local_region_wins_over_regions() -> None:
    found = reasons(PlacementSpec(regions=("dc-b",), local_region=True))
    assert found["a1"] == []
    assert found["b1"] == ["is in region dc-b"]


def test_an_agent_without_domain_counts_as_local() -> None:
    requirement = needs(pod(placement=PlacementSpec(local_region=True)))
    assert objections(requirement, replace(A1, region="", zone=""), LAB) == ()


def test_attributes() -> None:
    found = reasons(PlacementSpec(attributes={"rack": "r2"}))
    assert found["a2"] == []
    assert found["a1"] == ["has not rack=r2"]


def test_one_instance_per_agent() -> None:
    world = around(A1, A2, placed={("pod", 1): A1, ("other", 0): A2})
    requirement = needs(pod(count=2))
    assert [f.reason for f in objections(requirement, A1, world)] == ["has pod-1 already"]
    assert objections(requirement, A2, world) == ()
    shared = needs(pod(count=2, placement=PlacementSpec(unique_agent=False)))
    assert objections(shared, A1, world) == ()


def test_a_pinned_instance_only_goes_to_its_agent_whatever_the_rules() -> None:
    requirement = needs(pod(placement=PlacementSpec(regions=("dc-b",))), pinned=A1)
    assert objections(requirement, A1, LAB) == ()
    assert [f.reason for f in objections(requirement, B1, LAB)] == ["is not a1"]


def test_spreading_goes_where_the_fewest_are() -> None:
    spread = pod(count=4, placement=PlacementSpec(spread_by="region"))
    world = around(A1, A2, B1, B2, placed={("pod", 0): A1})
    assert [f.reason for f in objections(needs(spread, 1), A2, world)] == ["is in region dc-a"]
    assert objections(needs(spread, 1), B1, world) == ()
    even = around(A1, A2, B1, B2, placed={("pod", 0): A1, ("pod", 1): B1})
    assert objections(needs(spread, 2), A2, even) == ()
    assert objections(needs(spread, 2), B2, even) == ()


def test_spreading_over_zones_tells_zones_of_two_regions_apart() -> None:
    twin = agent("b9", "dc-b", "a-1")
    spread = pod(count=4, placement=PlacementSpec(spread_by="zone"))
    world = around(A1, twin, placed={("pod", 0): agent("a9")})
    assert [f.reason for f in objections(needs(spread, 1), A1, world)] == ["is in zone dc-a/a-1"]
    assert objections(needs(spread, 1), twin, world) == ()


def test_a_place_that_is_full_of_instances_is_no_choice() -> None:
    spread = pod(count=4, placement=PlacementSpec(spread_by="region"))
    world = around(A1, A2, B1, placed={("pod", 0): A1, ("pod", 1): B1})
    assert objections(needs(spread, 2), A2, world) == ()
    world = around(A1, A2, B1, placed={("pod", 0): A1, ("pod", 1): A2, ("pod", 2): B1})
    fourth = agent("a3")
    assert objections(needs(spread, 3), fourth, around(A1, A2, B1, fourth)) == ()
    assert world.placed


def test_a_place_whose_agents_are_too_small_is_no_choice() -> None:
    spread = pod(count=2, placement=PlacementSpec(spread_by="region"))
    world = around(A1, A2, placed={("pod", 0): A1})
    small = KnownAgent(B1, {"cpus": 500, "mem": 8_192_000})
    world = replace(world, agents=(*world.agents, small))
    assert objections(needs(spread, 1), A2, world) == ()


def test_a_spread_instance_waits_for_its_place_and_says_so() -> None:
    spread = pod(count=2, placement=PlacementSpec(spread_by="region"))
    world = around(A1, A2, B1, placed={("pod", 0): A1})
    outcome = evaluate(needs(spread, 1), offers((A2, amounts())), world)
    assert outcome.chosen is None
    assert outcome.reason == (
        "needs an agent in region dc-b; of those offering, a2 is in region dc-a"
    )


def test_the_scope_names_what_restricts() -> None:
    def of(spec: PlacementSpec) -> str:
        return scope(needs(pod(placement=spec)), LAB)

    assert of(PlacementSpec()) == ""
    assert of(PlacementSpec(regions=("dc-b", "dc-c"))) == "in region dc-b or dc-c"
    assert of(PlacementSpec(local_region=True)) == "in the masters' region dc-a"
    assert of(PlacementSpec(attributes={"rack": "r2"})) == "with rack=r2"
    assert of(PlacementSpec(spread_by="region")) == ""
