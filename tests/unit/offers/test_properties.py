"""What holds for every offer and every pod."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kubedcos.model.offer import Reservation, Resource
from kubedcos.model.service import PortSpec, TaskSpec, VolumeSpec
from kubedcos.offers.evaluation import evaluate
from kubedcos.offers.fit import Fit, fit
from kubedcos.offers.leftovers import leftovers
from kubedcos.offers.pool import merged, size
from kubedcos.offers.requirement import sums
from kubedcos.offers.round import Round

from .builders import ROLE, agent, amounts, around, needs, offers, pod, task

small = st.integers(0, 40).map(lambda n: n / 10)
spans = st.lists(
    st.tuples(st.integers(1025, 1100), st.integers(0, 5)).map(lambda p: (p[0], p[0] + p[1])),
    max_size=2,
).map(lambda found: tuple(found[:1]))
stacks = st.sampled_from(
    [(), (Reservation(ROLE, dynamic=False),), (Reservation(ROLE, labels=(("id", "x"),)),)]
)
resources = st.lists(
    st.builds(
        amounts,
        cpus=small,
        mem=st.integers(0, 4096).map(float),
        disk=st.integers(0, 4096).map(float),
        ports=spans,
        reservations=stacks,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda found: found[0].reservations if found else (),
).map(lambda found: tuple(part for group in found for part in group))
port_specs = st.lists(
    st.builds(PortSpec, st.uuids().map(str), st.sampled_from([0, 0, 1030, 1031])), max_size=3
).map(tuple)

halves = st.integers(0, 8).map(lambda n: n / 2)
partly_reserved = st.tuples(
    st.builds(
        amounts,
        cpus=halves,
        mem=halves.map(lambda n: n * 512),
        disk=halves.map(lambda n: n * 256),
        ports=spans,
        reservations=st.just((Reservation(ROLE, dynamic=False),)),
    ),
    st.builds(
        amounts,
        cpus=st.integers(8, 16).map(float),
        mem=st.integers(8192, 8200).map(float),
        ports=st.sampled_from([((1025, 1100),), ((1025, 1029), (1031, 1100)), ((1030, 1200),)]),
    ),
).map(lambda parts: (*parts[0], *parts[1]))

volumes = st.integers(1, 2048).map(lambda size_mb: (VolumeSpec("data", "data", size_mb),))


@st.composite
def tasks(draw: st.DrawFn) -> tuple[TaskSpec, ...]:
    with_volume = draw(st.booleans())
    return tuple(
        task(
            f"t{number}",
            cpus=draw(small),
            mem_mb=draw(st.integers(0, 2048)),
            disk_mb=draw(st.integers(0, 1024)),
            ports=draw(port_specs),
            volumes=(VolumeSpec("data", "data", draw(st.integers(1, 2048))),)
            if with_volume
            else (),
        )
        for number in range(draw(st.integers(1, 3)))
    )


def totals(parts: tuple[Resource, ...], *, reserved: bool) -> Counter[object]:
    """Amounts by name and reservation; port numbers one by one."""
    found: Counter[object] = Counter()
    for part in parts:
        stack = part.reservations[:-1] if reserved else part.reservations
        if part.ranges:
            for low, high in part.ranges:
                found.update((part.name, stack, number) for number in range(low, high + 1))
        else:
            found[part.name, stack] += part.millis
    return found


@given(tasks(), resources)
def test_nothing_is_taken_that_was_not_offered(
    wanted: tuple[TaskSpec, ...], offered: tuple[Resource, ...]
) -> None:
    spec = pod(*wanted)
    found = fit(needs(spec), offered)
    if isinstance(found, Fit):
        taken = tuple(part for grant in found.grants for part in grant.resources)
        used = totals(taken, reserved=spec.reserved)
        assert used <= totals(offered, reserved=False)


@given(tasks(), resources)
def test_every_task_gets_exactly_what_it_needs(
    wanted: tuple[TaskSpec, ...], offered: tuple[Resource, ...]
) -> None:
    found = fit(needs(pod(*wanted)), offered)
    if not isinstance(found, Fit):
        assert found
        return
    assert [grant.task for grant in found.grants] == [spec.name for spec in wanted]
    for grant, spec in zip(found.grants, wanted, strict=True):
        got = {
            name: sum(size(part) for part in grant.resources if part.name == name)
            for name in ("cpus", "mem", "disk", "ports")
        }
        assert got == sums((spec,))
        assert set(grant.ports) == {port.name for port in spec.ports}
        assert all(grant.ports[port.name] == port.number for port in spec.ports if port.number)


@given(tasks(), resources)
def test_a_refusal_always_says_why_and_more_never_hurts(
    wanted: tuple[TaskSpec, ...], offered: tuple[Resource, ...]
) -> None:
    one = agent("a1")
    world = around(one)
    outcome = evaluate(needs(pod(*wanted)), offers((one, offered)), world)
    assert outcome.reason
    more = tuple(
        part if part.ranges else Resource(part.name, part.millis * 2, (), part.reservations)
        for part in offered
    )
    if outcome.chosen is not None:
        assert evaluate(needs(pod(*wanted)), offers((one, more)), world).chosen is not None


@given(tasks(), st.lists(partly_reserved, min_size=2, max_size=6))
def test_what_an_agent_gives_has_nothing_to_do_with_what_others_gave(
    wanted: tuple[TaskSpec, ...], machines: list[tuple[Resource, ...]]
) -> None:
    agents = [agent(f"a{number}") for number in range(len(machines))]
    spec = pod(*wanted, count=len(machines))
    there = Round(offers(*zip(agents, machines, strict=True)), around(*agents))
    for index in range(spec.count):
        requirement = needs(spec, index)
        outcome = there.evaluate(requirement)
        if outcome.chosen is not None:
            assert outcome.chosen.fit == fit(requirement, outcome.chosen.offers.resources)
            there.take(requirement, outcome.chosen)
    # Refusals have looked at each agent that is left by itself.
    left = [verdict for verdict in outcome.verdicts if verdict.fit is None]
    assert all(not isinstance(fit(requirement, v.offers.resources), Fit) for v in left)


@given(tasks(), resources)
def test_what_was_reserved_is_found_again_and_can_be_given_back(
    wanted: tuple[TaskSpec, ...], offered: tuple[Resource, ...]
) -> None:
    spec = pod(*wanted)
    found = fit(needs(spec), offered)
    if not isinstance(found, Fit) or not spec.reserved:
        return
    held = tuple(part for grant in found.grants for part in grant.resources)
    again = fit(needs(spec, reservation_id="r-new", fresh_id=""), (*offered, *held))
    assert isinstance(again, Fit)
    assert again.reserve == ()
    assert [set(grant.resources) for grant in again.grants] == [
        set(grant.resources) for grant in found.grants
    ]
    left = leftovers((*offered, *held), cluster="kubernetes", role=ROLE, in_use=set())
    assert set(left.destroy) == set(found.create)
    assert merged(left.unreserve) == merged(found.reserve)
    kept = leftovers((*offered, *held), cluster="kubernetes", role=ROLE, in_use={"r-new"})
    assert not kept
