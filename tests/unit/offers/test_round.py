"""Many instances on one round of offers: scores, shares, and what is told of refusals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.model.offer import Agent, Offer, Reservation, Resource
from kubedcos.model.service import PlacementSpec, PodSpec, PortSpec, VolumeSpec
from kubedcos.offers.evaluation import evaluate, group
from kubedcos.offers.fit import Fit, fit
from kubedcos.offers.outcome import MOST_AGENTS, STAGES
from kubedcos.offers.requirement import KnownAgent, Surroundings, largest_first
from kubedcos.offers.round import Round

from .builders import ROLE, agent, amounts, around, needs, offers, pod, task

A1, A2, B1 = agent("a1"), agent("a2", zone="a-2"), agent("b1", "dc-b", "b-1")


def place_all(there: Round, spec: PodSpec) -> list[str]:
    found = []
    for index in range(spec.count):
        requirement = needs(spec, index)
        verdict = there.evaluate(requirement).chosen
        if verdict is not None:
            there.take(requirement, verdict)
            found.append(verdict.offers.agent.hostname)
    return found


def chosen(spec: PodSpec, *pairs: tuple[Agent, tuple[Resource, ...]]) -> str:
    world = around(*(found for found, _ in pairs))
    verdict = evaluate(needs(spec), offers(*pairs), world).chosen
    assert verdict is not None
    return verdict.offers.agent.hostname


def test_an_agent_is_used_once_in_a_round() -> None:
    there = Round(offers((A1, amounts()), (A2, amounts())), around(A1, A2))
    loose = pod(count=3, placement=PlacementSpec(unique_agent=False))
    assert place_all(there, loose) == ["a1", "a2"]
    assert there.evaluate(needs(loose, 2)).reason == "needs an offer; there is none"


def test_scarce_resources_are_left_to_those_who_need_them() -> None:
    gpu = (*amounts(mem=2048), Resource("gpus", 1000))
    assert chosen(pod(), (A1, gpu), (A2, amounts(mem=8192))) == "a2"


def test_agents_that_leave_soon_come_last() -> None:
    leaving = group(
        [
            Offer("O1", A1, ROLE, amounts(mem=2048), unavailable_from=9.0),
            Offer("O2", A2, ROLE, amounts(mem=8192)),
        ]
    )
    verdict = evaluate(needs(pod()), leaving, around(A1, A2)).chosen
    assert verdict is not None
    assert verdict.offers.agent is A2


def test_of_equally_tight_agents_the_smaller_is_taken() -> None:
    # Memory runs out first on both; the other has cores that somebody else could use.
    assert chosen(pod(), (A1, amounts(cpus=16, mem=2048)), (A2, amounts(mem=2048))) == "a2"


def test_members_of_a_quorum_fall_into_different_zones() -> None:
    volume = VolumeSpec("data", "data", 100)
    spec = pod(task(volumes=(volume,)), count=3)
    third = agent("a3")
    pairs = [(A1, amounts(mem=2048)), (third, amounts(mem=2049)), (A2, amounts(mem=9999))]
    there = Round(offers(*pairs), around(A1, third, A2))
    assert place_all(there, spec) == ["a1", "a2", "a3"]


def test_nodes_go_to_regions_in_proportion_to_the_agents_there() -> None:
    found = [agent(f"a{n}") for n in range(9)] + [agent(f"b{n}", "dc-b", "b-1") for n in range(3)]
    there = Round(offers(*((each, amounts()) for each in found)), around(*found))
    spec = pod(count=8, placement=PlacementSpec(spread_by="region", proportional=True))
    assert Counter(name[0] for name in place_all(there, spec)) == {"a": 6, "b": 2}


def test_a_small_region_gets_one_of_two_nodes() -> None:
    found = [agent(f"a{n}") for n in range(3)] + [B1]
    there = Round(offers(*((each, amounts()) for each in found)), around(*found))
    spec = pod(count=2, placement=PlacementSpec(spread_by="region", proportional=True))
    assert sorted(name[0] for name in place_all(there, spec)) == ["a", "b"]


def test_a_region_whose_agents_are_another_pools_is_not_waited_for() -> None:
    rules = PlacementSpec(spread_by="region", proportional=True, apart_from=("gpu",))
    world = around(A1, A2, B1, placed={("gpu", 0): B1, ("pod", 0): A1})
    assert evaluate(needs(pod(count=2, placement=rules), 1), offers((A2, amounts())), world).chosen


def test_a_region_whose_ports_are_another_clusters_is_not_waited_for() -> None:
    spec = pod(
        task(ports=(PortSpec("https", 10250),)),
        count=2,
        placement=PlacementSpec(spread_by="region"),
    )
    taken = amounts(ports=((11000, 12000),))
    world = around(A1, A2, B1, placed={("pod", 0): A1})
    found = offers((A2, amounts()), (B1, taken))
    verdict = evaluate(needs(spec, 1), found, world).chosen
    assert verdict is not None
    assert verdict.offers.agent is A2


def test_offers_to_another_role_are_not_used() -> None:
    public = PodSpec("pod", 1, (task(),), role="slave_public")
    mixed = group([Offer("O1", A1, ROLE, amounts()), Offer("O2", A2, "slave_public", amounts())])
    verdict = evaluate(needs(public), mixed, around(A1, A2)).chosen
    assert verdict is not None
    assert verdict.offers.agent is A2
    assert verdict.offers.offer_ids == ("O2",)


def test_offers_of_one_agent_to_two_roles_are_not_mixed() -> None:
    found = group(
        [Offer("O1", A1, ROLE, amounts(cpus=0.6)), Offer("O2", A1, "other", amounts(cpus=0.6))]
    )
    assert len(found) == 2
    assert evaluate(needs(pod()), found, around(A1)).chosen is None


def test_the_largest_is_placed_first_and_what_is_bound_before_that() -> None:
    small, large = pod(name="small"), pod(task(mem_mb=4096), name="large")
    bound = needs(pod(name="bound"), pinned=A1)
    order = largest_first([needs(small), needs(large), bound])
    assert [requirement.pod.name for requirement in order] == ["bound", "large", "small"]


def test_a_refusal_tells_every_stage_of_each_agent() -> None:
    spec = pod(
        task(cpus=3, ports=(PortSpec("x", 443),)), placement=PlacementSpec(regions=("dc-a",))
    )
    found = offers((A1, amounts(cpus=2)), (B1, amounts()))
    outcome = evaluate(needs(spec), found, around(A1, B1))
    told = {each.offers.agent.hostname: each.stages for each in outcome.verdicts}
    assert {host: tuple(s.stage for s in stages) for host, stages in told.items()} == {
        "a1": STAGES,
        "b1": STAGES,
    }
    failed = {
        host: {s.stage: s.reason for s in stages if not s.passed} for host, stages in told.items()
    }
    assert failed == {
        "a1": {"cpus": "has 2 of 3 cpus", "ports": "does not offer port 443 (t)"},
        "b1": {"placement": "is in region dc-b", "ports": "does not offer port 443 (t)"},
    }
    assert outcome.rejected == {"ports port 443": 2, "cpus": 1, "placement region": 1}
    (short,) = outcome.shortfall
    assert (short.resource, short.needed, short.best, short.hostname) == ("cpus", 3000, 2000, "a1")


def test_what_binds_is_what_keeps_most_agents_out_by_itself() -> None:
    found = [agent(f"a{n}") for n in range(4)]
    pairs = [(each, amounts(mem=100)) for each in found[:3]] + [(found[3], amounts(cpus=0.1))]
    outcome = evaluate(needs(pod()), offers(*pairs), around(*found))
    assert outcome.binding == "mem"


def test_of_thousands_of_agents_all_are_counted_and_some_are_told() -> None:
    found = [agent(f"a{n:04}") for n in range(500)]
    there = Round(offers(*((each, amounts(cpus=0.5)) for each in found)), around(*found))
    outcome = there.evaluate(needs(pod(count=2)))
    assert outcome.agents == outcome.rejected["cpus"] == 500
    assert len(outcome.verdicts) == MOST_AGENTS
    # The next instance waits for the same reason; nothing is kept twice.
    assert there.evaluate(needs(pod(count=2), 1)).reason == outcome.reason


def test_instances_that_wait_alike_share_what_is_kept() -> None:
    spec = pod(count=2)
    there = Round(offers((A1, amounts(cpus=0.5))), around(A1), now=7.0)
    one, other = there.evaluate(needs(spec)), there.evaluate(needs(spec, 1))
    assert one is other
    assert one.at == 7.0


OURS = (Reservation(ROLE, dynamic=False),)


def partly_reserved(mem: float = 500, port: int = 1030) -> tuple[Resource, ...]:
    return (*amounts(0, mem, 0, ((port, port),), OURS), *amounts())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(amounts(), amounts(ports=((5000, 5001),)), id="other ports"),
        pytest.param(amounts(), amounts(mem=9000), id="other sizes"),
        pytest.param(amounts(), amounts(reservations=OURS), id="reserved for the role"),
        pytest.param(amounts(), partly_reserved(), id="partly reserved"),
        pytest.param(partly_reserved(), partly_reserved(mem=600), id="more of it reserved"),
        pytest.param(partly_reserved(), partly_reserved(port=1031), id="another port reserved"),
        pytest.param(amounts(), amounts(ports=((1030, 1030), (2000, 2001))), id="ports apart"),
    ],
)
@pytest.mark.parametrize("numbers", [(), (0,), (1030,), (1030, 0)])
@pytest.mark.parametrize("volumes", [(), (VolumeSpec("data", "data", 100),)])
def test_what_is_worked_out_for_one_agent_is_given_of_those_alike_only(
    volumes: tuple[VolumeSpec, ...],
    numbers: tuple[int, ...],
    one: tuple[Resource, ...],
    other: tuple[Resource, ...],
) -> None:
    third = agent("a3")
    ports = tuple(PortSpec(f"p{number}", number) for number in numbers)
    spec = pod(task(ports=ports, volumes=volumes), count=3)
    there = Round(offers((A1, one), (A2, one), (third, other)), around(A1, A2, third))
    for index in range(3):
        requirement = needs(spec, index, fresh_id=f"r-{index}")
        outcome = there.evaluate(requirement)
        if outcome.chosen is None:
            assert not isinstance(fit(requirement, other), Fit)
            continue
        assert outcome.chosen.fit == fit(requirement, outcome.chosen.offers.resources)
        there.take(requirement, outcome.chosen)


def test_the_agent_that_an_instance_lives_on_is_named_when_only_others_offer() -> None:
    outcome = evaluate(needs(pod(), pinned=A1), offers((A2, amounts())), around(A1, A2))
    assert outcome.reason == "needs an offer on a1; there is none"
    assert outcome.rejected == {"placement where it lives": 1}


sizes = st.tuples(
    st.integers(1, 80).map(lambda n: n / 10), st.integers(1, 16).map(lambda n: 512.0 * n)
)


@given(st.lists(sizes, min_size=1, max_size=10), sizes)
def test_the_choice_is_the_tightest_that_does(
    machines: list[tuple[float, float]], wanted: tuple[float, float]
) -> None:
    spec = pod(task(cpus=wanted[0], mem_mb=int(wanted[1]), disk_mb=0))
    found = [agent(f"a{n:02}") for n in range(len(machines))]
    pairs = [(each, amounts(cpus=c, mem=m)) for each, (c, m) in zip(found, machines, strict=True)]
    world = Surroundings("dc-a", tuple(KnownAgent(each) for each in found))
    verdict = evaluate(needs(spec), offers(*pairs), world).chosen
    able = [(c, m) for c, m in machines if c >= wanted[0] and m >= wanted[1]]
    assert (verdict is not None) == bool(able)
    if verdict is None or verdict.score is None:
        return

    def spare(machine: tuple[float, float]) -> int:
        millis = [round(part * 1000) for part in machine]
        asked = [round(part * 1000) for part in wanted]
        return min((have - need) * 1000 // need for have, need in zip(millis, asked, strict=True))

    assert verdict.score.spare == min(spare(machine) for machine in able)
    assert replace(verdict.score, agent_id="") <= verdict.score


def test_a_region_that_our_own_control_plane_fills_is_not_waited_for() -> None:
    rules = PlacementSpec(spread_by="region", proportional=True)
    world = around(A1, B1, A2, placed={("pod", 0): B1})
    full = {"cpus": 3500, "mem": 0}
    world = replace(world, held={"S-a1": {"etcd": full}, "S-a2": {"api": full}})
    third = agent("b3", "dc-b", "b-1")
    found = offers((third, amounts()))
    verdict = evaluate(needs(pod(count=2, placement=rules), 1), found, world).chosen
    assert verdict is not None
    # What an instance of the same pod holds is no reason to count its agent out.
    own = replace(world, held={"S-a1": {"pod": full}})
    outcome = evaluate(needs(pod(count=2, placement=rules), 1), found, own)
    assert outcome.chosen is None
