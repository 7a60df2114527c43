"""What binds: the one constraint without which more agents would do than without any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubedcos.model.constraint import Constraint, Operator
from kubedcos.model.service import PlacementSpec, PortSpec
from kubedcos.offers.evaluation import AgentOffers, evaluate
from kubedcos.offers.requirement import KnownAgent, Requirement, Surroundings

from .builders import agent, amounts, around, needs, offers, pod, task

PORTS = (443, 10250)
LACKS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "cpus": {"cpus": 0.5},
    "mem": {"mem": 512},
    "one port": {"ports": ((443, 443),)},
    "the other port": {"ports": ((10250, 10250),)},
    "ports": {"ports": ()},
    "mem and cpus": {"mem": 512, "cpus": 0.5},
}
RULES = (
    Constraint("rack", Operator.IS, "r1"),
    Constraint("rack", Operator.CLUSTER),
    Constraint("rack", Operator.MAX_PER, "1"),
    Constraint("rack", Operator.GROUP_BY),
    Constraint("rack", Operator.GROUP_BY, "2"),
)


def of_pod(requirement: Requirement, **changes: Any) -> Requirement:
    return replace(requirement, pod=replace(requirement.pod, **changes))


def placed_by(requirement: Requirement, **changes: Any) -> Requirement:
    return of_pod(requirement, placement=replace(requirement.pod.placement, **changes))


def of_tasks(requirement: Requirement, **changes: Any) -> Requirement:
    return of_pod(
        requirement, tasks=tuple(replace(each, **changes) for each in requirement.pod.tasks)
    )


def without_port(requirement: Requirement, number: int) -> Requirement:
    [only] = requirement.pod.tasks
    return of_tasks(requirement, ports=tuple(port for port in only.ports if port.number != number))


def relaxed(requirement: Requirement) -> dict[str, Requirement]:
    """By the name of each constraint, the requirement without it."""
    rules = requirement.pod.placement
    found = {
        "placement region": placed_by(requirement, regions=()),
        "placement spread by region": placed_by(requirement, spread_by=""),
        "placement one on each agent": placed_by(requirement, unique_agent=False, apart_from=()),
        "placement agents to leave": replace(requirement, avoid={}),
        "cpus": of_tasks(requirement, cpus=0),
        "mem": of_tasks(requirement, mem_mb=0),
        "ports": of_tasks(requirement, ports=()),
    }
    found |= {f"ports port {number}": without_port(requirement, number) for number in PORTS}
    for rule in rules.rules:
        others = tuple(other for other in rules.rules if other != rule)
        found[f"placement {rule}"] = placed_by(requirement, rules=others)
    return found


def that_fit(
    requirement: Requirement, found: Sequence[AgentOffers], world: Surroundings
) -> set[str]:
    """Every agent that would do by itself."""
    left, fitting = list(found), set()
    while (verdict := evaluate(requirement, left, world).chosen) is not None:
        fitting.add(verdict.offers.agent.id)
        left.remove(verdict.offers)
    return fitting


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Requirement, tuple[AgentOffers, ...], Surroundings]:
    agents = [
        agent(
            f"n{number}",
            draw(st.sampled_from(["dc-a", "dc-b"])),
            rack=draw(st.sampled_from(["r1", "r2"])),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    offering = [each for each in agents if draw(st.integers(0, 4))]
    resources, placed = {}, {}
    for number, each in enumerate(agents):
        if name := draw(st.sampled_from(["", "", "pod", "other"])):
            placed[name, number] = each
        # A port that is missing where an instance of ours is may be that instance's.
        lacking = draw(st.sampled_from([lack for lack in LACKS if not name or "port" not in lack]))
        resources[each] = amounts(**{"ports": ((1, 29999),), **LACKS[lacking]})
    rules = PlacementSpec(
        regions=draw(st.sampled_from([(), ("dc-a",)])),
        spread_by=draw(st.sampled_from(["", "region"])),
        proportional=draw(st.booleans()),
        unique_agent=draw(st.booleans()),
        rules=tuple(draw(st.lists(st.sampled_from(RULES), max_size=2, unique=True))),
        apart_from=("other",),
    )
    known = tuple(
        KnownAgent(
            each,
            {
                part.name: part.millis
                for part in (amounts() if draw(st.booleans()) else resources[each])
            },
        )
        for each in agents
    )
    spec = pod(
        task(ports=tuple(PortSpec(f"p{number}", number) for number in PORTS)),
        count=9,
        placement=rules,
    )
    world = Surroundings("dc-a", known, placed)
    leaving = {each.id: "is to be left" for each in agents if not draw(st.integers(0, 5))}
    return (
        replace(needs(spec, 8), avoid=leaving),
        offers(*((each, resources[each]) for each in offering)),
        world,
    )


@settings(max_examples=200)
@given(worlds())
def test_no_other_constraint_keeps_more_agents_out_by_itself(
    world: tuple[Requirement, tuple[AgentOffers, ...], Surroundings],
) -> None:
    requirement, found, around_it = world
    outcome = evaluate(requirement, found, around_it)
    if outcome.chosen is not None:
        assert outcome.binding == ""
        return
    gains = {
        name: len(that_fit(without, found, around_it))
        for name, without in relaxed(requirement).items()
    }
    assert gains.get(outcome.binding, 0) == max(gains.values()), (outcome.binding, gains)
    if outcome.binding:
        assert gains[outcome.binding] > 0, (outcome.binding, gains)
        assert outcome.rejected[outcome.binding] >= gains[outcome.binding]


A, B = [agent(f"a{number}") for number in range(3)], [agent("b0", "dc-b"), agent("b1", "dc-b")]
KUBELET = task(ports=(PortSpec("https", 10250),))


def test_agents_that_offer_no_port_lack_one_thing_and_not_two() -> None:
    spec = pod(KUBELET, placement=PlacementSpec(regions=("dc-a",)))
    pairs = [(each, amounts(ports=())) for each in A] + [(B[0], amounts())]
    outcome = evaluate(needs(spec), offers(*pairs), around(*A, *B))
    assert outcome.binding == "ports"


def test_a_region_that_is_passed_over_for_its_ports_is_kept_out_by_its_ports() -> None:
    """Nothing of dc-b is at hand; dc-a would be a place if it had the port."""
    spec = pod(KUBELET, count=2, placement=PlacementSpec(spread_by="region"))
    pairs = [(each, amounts(ports=((1025, 9000),))) for each in A]
    outcome = evaluate(needs(spec), offers(*pairs), around(*A, *B))
    assert outcome.rejected == {"placement spread by region": 3, "ports port 10250": 3}
    assert outcome.binding == "ports port 10250"


def test_where_two_constraints_keep_every_agent_out_neither_binds() -> None:
    spec = pod(placement=PlacementSpec(regions=("dc-a",)))
    outcome = evaluate(needs(spec), offers((B[0], amounts(mem=100))), around(*A, *B))
    assert outcome.rejected == {"mem": 1, "placement region": 1}
    assert outcome.binding == ""
