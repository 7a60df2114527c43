"""Marathon's constraints: what each operator lets be, on each kind of field."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.config.constraints import read, rows
from kubedcos.model.offer import Agent
from kubedcos.model.service import PlacementSpec, PodSpec
from kubedcos.offers.placement import objections, scope
from kubedcos.offers.requirement import Surroundings
from kubedcos.offers.round import Round

from .builders import agent, amounts, around, needs, offers, pod

A1 = agent("a1", rack="r1", disk="ssd")
A2 = agent("a2", zone="a-2", rack="r2")
B1 = agent("b1", "dc-b", "a-1", rack="r1")
B2 = agent("b2", "dc-b", "b-2")
ALL = (A1, A2, B1, B2)


def ruled(text: str, count: int = 4, **more: object) -> PodSpec:
    rules = read(rows(text))
    return pod(placement=PlacementSpec(rules=rules, unique_agent=False, **more), count=count)  # type: ignore[arg-type]


def allowed(text: str, placed: dict[tuple[str, int], Agent] | None = None) -> set[str]:
    world = around(*ALL, placed=placed)
    requirement = needs(ruled(text), 3)
    return {found.hostname for found in ALL if not objections(requirement, found, world)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hostname:IS:a1", {"a1"}),
        ("@hostname:LIKE:a.*", {"a1", "a2"}),
        ("hostname:UNLIKE:a.*", {"b1", "b2"}),
        ("hostname:LIKE:a", set()),
        ("@region:IS:dc-b", {"b1", "b2"}),
        ("@region:LIKE:dc-[bc]", {"b1", "b2"}),
        ("@zone:IS:a-1", {"a1", "b1"}),
        ("@zone:UNLIKE:a-1", {"a2", "b2"}),
        ("rack:IS:r1", {"a1", "b1"}),
        ("rack:CLUSTER:r1", {"a1", "b1"}),
        ("rack:LIKE:r[0-9]", {"a1", "a2", "b1"}),
        ("rack:UNLIKE:r1", {"a2", "b2"}),
        ("rack:LIKE:.*", {"a1", "a2", "b1"}),
        ("disk:IS:ssd,rack:IS:r1", {"a1"}),
        ("hostname:UNIQUE", {"a1", "a2", "b1", "b2"}),
        ("rack:UNIQUE", {"a1", "a2", "b1"}),
    ],
)
def test_rules_about_the_agent_alone(text: str, expected: set[str]) -> None:
    assert allowed(text) == expected


@pytest.mark.parametrize(
    ("text", "placed", "expected"),
    [
        ("hostname:UNIQUE", (A1,), {"a2", "b1", "b2"}),
        ("rack:UNIQUE", (A1,), {"a2"}),
        ("@region:UNIQUE", (A1,), {"b1", "b2"}),
        # Zones of one name in two regions are two.
        ("@zone:UNIQUE", (A1,), {"a2", "b1", "b2"}),
        ("rack:MAX_PER:2", (A1,), {"a1", "a2", "b1"}),
        ("rack:MAX_PER:2", (A1, B1), {"a2"}),
        ("hostname:MAX_PER:1", (A1, A2), {"b1", "b2"}),
        ("rack:CLUSTER", (), {"a1", "a2", "b1"}),
        ("rack:CLUSTER", (B1,), {"a1", "b1"}),
        ("@region:CLUSTER", (B1,), {"b1", "b2"}),
        ("@region:GROUP_BY", (A1,), {"b1", "b2"}),
        ("@region:GROUP_BY", (A1, B1), {"a1", "a2", "b1", "b2"}),
        ("rack:GROUP_BY", (A1,), {"a2"}),
        ("@zone:GROUP_BY", (A1, A2), {"b1", "b2"}),
        # There are said to be three regions: until each has one, the next goes to a new one.
        ("@region:GROUP_BY:3", (A1,), {"b1", "b2"}),
        ("@region:GROUP_BY:3", (A1, B1), set()),
        ("@region:GROUP_BY:2", (A1, B1), {"a1", "a2", "b1", "b2"}),
    ],
)
def test_rules_about_the_others(text: str, placed: tuple[Agent, ...], expected: set[str]) -> None:
    assert allowed(text, {("pod", index): found for index, found in enumerate(placed)}) == expected


def test_other_pods_and_the_instance_itself_do_not_count() -> None:
    assert allowed("hostname:UNIQUE", {("other", 0): A1, ("pod", 3): A2}) == {
        "a1",
        "a2",
        "b1",
        "b2",
    }


def test_an_attribute_may_have_several_values() -> None:
    both = replace(A1, attributes=(("rack", "r1"), ("rack", "r9")))
    world = around(both)
    for text, fits in (("rack:IS:r9", True), ("rack:UNLIKE:r9", False), ("rack:LIKE:r[89]", True)):
        assert (not objections(needs(ruled(text)), both, world)) is fits


def test_the_reason_names_what_was_found() -> None:
    def reasons(text: str, found: Agent, placed: Agent | None = None) -> list[str]:
        world = around(*ALL, placed={("pod", 0): placed} if placed else {})
        return [each.reason for each in objections(needs(ruled(text), 3), found, world)]

    assert reasons("rack:IS:r9", A1) == ["has rack r1 instead of r9"]
    assert reasons("rack:IS:r9", B2) == ["has no rack"]
    assert reasons("rack:LIKE:x", A1) == ["has rack r1, which does not match x"]
    assert reasons("rack:UNLIKE:r.", A1) == ["has rack r1, which matches r."]
    assert reasons("hostname:UNIQUE", A1, A1) == ["has an instance on hostname a1 already"]
    assert reasons("@zone:GROUP_BY", A1, A1) == ["is in zone dc-a/a-1"]
    assert reasons("rack:CLUSTER", A2, A1) == ["has rack r2 instead of r1"]


def test_the_scope_names_the_rules() -> None:
    requirement = needs(ruled("rack:IS:r1,hostname:UNIQUE"))
    assert scope(requirement, around(*ALL)) == "that satisfies rack:IS:r1, hostname:UNIQUE"


def test_pods_that_share_a_host_port_stay_apart() -> None:
    spec = pod(placement=PlacementSpec(apart_from=("other",)), count=2)
    world = around(*ALL, placed={("other", 0): A1})
    assert [f.reason for f in objections(needs(spec), A1, world)] == ["has other-0 already"]
    assert objections(needs(spec), A2, world) == ()


# --- properties ----------------------------------------------------------------------------------

agents = st.lists(
    st.tuples(
        st.sampled_from(["dc-a", "dc-b"]), st.sampled_from(["1", "2"]), st.sampled_from("xyz")
    ),
    min_size=1,
    max_size=12,
).map(
    lambda found: tuple(
        agent(f"h{number}", region, zone, rack=rack)
        for number, (region, zone, rack) in enumerate(found)
    )
)
texts = st.lists(
    st.sampled_from(
        ["hostname:UNIQUE", "@zone:MAX_PER:2", "rack:MAX_PER:3", "rack:UNLIKE:x", "@region:CLUSTER",
         "@region:GROUP_BY", "@zone:GROUP_BY", "rack:GROUP_BY:2", "@region:UNIQUE", "rack:IS:y"]
    ),
    max_size=3,
    unique=True,
).map(",".join)  # fmt: skip


def staged(spec: PodSpec, found: tuple[Agent, ...]) -> dict[int, Agent]:
    """Instances placed one after the other, each round with an offer of each agent."""
    placed: dict[tuple[str, int], Agent] = {}
    for index in range(spec.count):
        world = around(*found, placed=dict(placed))
        there = Round(offers(*((each, amounts()) for each in found)), world)
        chosen = there.evaluate(needs(spec, index)).chosen
        if chosen is not None:
            placed["pod", index] = chosen.offers.agent
    return {index: where for (_, index), where in placed.items()}


@given(agents, texts)
def test_what_was_placed_one_by_one_keeps_the_counting_rules(
    found: tuple[Agent, ...], text: str
) -> None:
    where = staged(ruled(text, count=8), found).values()
    zones = Counter((each.region, each.zone) for each in where)
    racks = Counter(dict(each.attributes)["rack"] for each in where)
    regions = Counter(each.region for each in where)
    if "hostname:UNIQUE" in text:
        assert max(Counter(each.id for each in where).values(), default=0) <= 1
    if "@zone:MAX_PER:2" in text:
        assert max(zones.values(), default=0) <= 2
    if "rack:MAX_PER:3" in text:
        assert max(racks.values(), default=0) <= 3
    if "@region:UNIQUE" in text:
        assert max(regions.values(), default=0) <= 1
    if "@region:CLUSTER" in text:
        assert len(regions) <= 1
    if "rack:UNLIKE:x" in text:
        assert "x" not in racks
    if "rack:IS:y" in text:
        assert set(racks) <= {"y"}
    if text == "@zone:GROUP_BY" and where:
        there = Counter((each.region, each.zone) for each in found)
        counts = [zones[zone] for zone in there]
        assert max(counts) - min(counts) <= 1


@given(agents, texts, st.integers(1, 8))
def test_a_round_for_many_decides_as_rounds_for_each_would(
    found: tuple[Agent, ...], text: str, count: int
) -> None:
    spec = replace(
        ruled(text, count=count), placement=replace(ruled(text).placement, unique_agent=True)
    )
    there = Round(offers(*((each, amounts()) for each in found)), around(*found))
    together: dict[int, Agent] = {}
    for index in range(count):
        requirement = needs(spec, index)
        verdict = there.evaluate(requirement).chosen
        if verdict is not None:
            there.take(requirement, verdict)
            together[index] = verdict.offers.agent
    assert together == staged(spec, found)


@given(agents, texts, st.permutations(range(12)))
def test_the_order_of_offers_does_not_matter(
    found: tuple[Agent, ...], text: str, order: list[int]
) -> None:
    spec = ruled(text)
    shuffled = tuple(found[at] for at in order if at < len(found))
    one = Round(offers(*((each, amounts()) for each in found)), around(*found))
    other = Round(offers(*((each, amounts()) for each in shuffled)), around(*shuffled))
    mine, theirs = one.evaluate(needs(spec)).chosen, other.evaluate(needs(spec)).chosen
    assert (mine and mine.offers.agent) == (theirs and theirs.offers.agent)


@given(agents, texts)
def test_every_agent_that_is_refused_is_refused_by_some_stage(
    found: tuple[Agent, ...], text: str
) -> None:
    world: Surroundings = around(*found, placed={("pod", 7): found[0]})
    outcome = Round(offers(*((each, amounts(cpus=0.5)) for each in found)), world).evaluate(
        needs(ruled(text, count=8))
    )
    assert outcome.chosen is None
    assert outcome.agents == len(found)
    assert outcome.rejected["cpus"] == len(found)
    assert all(any(not stage.passed for stage in each.stages) for each in outcome.verdicts)
