"""What holds for every allocation, whoever competes for whatever."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kubedcos.embedded.master.allocator import allocate
from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.quantities import add, covers, minus
from kubedcos.embedded.master.quota import Quota
from kubedcos.embedded.master.role_use import lineage, role_uses
from kubedcos.mesos.messages import Operation, OperationLaunch, ReservationInfo
from kubedcos.mesos.resources import Resources

from .world import World, scalar, task

ROLES = ("a", "b", "c")
QUOTABLE = ("cpus", "mem")


def _scaled(found: dict[str, int]) -> dict[str, int]:
    """Whole CPUs and multiples of 32 MB: no remainder is too small to be offered."""
    return {name: much * (1000 if name == "cpus" else 32_000) for name, much in found.items()}


amounts = st.fixed_dictionaries(
    {}, optional={"cpus": st.integers(1, 16), "mem": st.integers(1, 128)}
).map(_scaled)


class Crowd(World):
    """Many agents and frameworks: nothing is offered but by `run`, and nothing is scanned."""

    def perform(self, effects: Effects) -> None:
        """Decisions have changed the state already."""


@st.composite
def quotas(draw: st.DrawFn) -> Quota:
    guarantees, extra = draw(amounts), draw(amounts)
    limits = {name: guarantees.get(name, 0) + much for name, much in extra.items()}
    return Quota(guarantees, limits)


@st.composite
def worlds(draw: st.DrawFn) -> Crowd:
    world = Crowd()
    for cpus, units, reserved in draw(
        st.lists(
            st.tuples(st.integers(1, 8), st.integers(1, 64), st.sampled_from([None, *ROLES])),
            min_size=1,
            max_size=6,
        )
    ):
        agent = world.agent(f"cpus:{cpus};mem:{units * 32};ports:[1-9]")
        if reserved is not None:
            stack = (ReservationInfo("DYNAMIC", reserved),)
            extra = [scalar("cpus", 1, reservations=stack), scalar("mem", 32, reservations=stack)]
            agent.total += Resources(extra).unallocated()
    world.state.quotas |= draw(st.dictionaries(st.sampled_from(ROLES), quotas()))
    world.state.weights |= draw(
        st.dictionaries(st.sampled_from([*ROLES, "c/x"]), st.sampled_from([0.5, 2.0]))
    )
    return world


FRAMEWORKS = st.lists(
    st.lists(st.sampled_from([*ROLES, "d", "d/x"]), min_size=1, max_size=3, unique=True),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(st.tuples(st.sampled_from(["launch", "refuse", "drop"]), st.integers(0, 9)))


def run(world: Crowd, seed: int) -> None:
    shuffle = random.Random(seed)
    allocate(world.state, world.allocation, now=world.now, shuffle=shuffle)


def consumed(world: Crowd, role: str) -> dict[str, int]:
    """Reservations, and what is allocated or offered without one; scalars only."""
    total: dict[str, int] = {}
    for agent in world.state.agents.values():
        for resource in agent.total.reserved(role):
            add(total, Resources([resource]).quantities)
    used = [Resources(t.resources) for t in world.state.tasks.values()]
    for held in [*used, *(offer.resources for offer in world.state.offers.values())]:
        mine = held.unreserved().where(
            lambda r: (
                r.allocation_info is not None and role in lineage(r.allocation_info.role or "*")
            )
        )
        add(total, mine.quantities)
    return total


def missing(world: Crowd) -> dict[str, int]:
    """What is still to come for guarantees."""
    total: dict[str, int] = {}
    for role, quota in world.state.quotas.items():
        add(total, minus(quota.guarantees, consumed(world, role)))
    return total


def spare(world: Crowd) -> dict[str, int]:
    """What is free and not reserved."""
    total: dict[str, int] = {}
    for agent in world.state.agents.values():
        add(total, world.state.free(agent).unreserved().quantities)
    return total


def check(world: Crowd, before: dict[str, dict[str, int]], short: dict[str, int]) -> None:
    for agent in world.state.agents.values():
        offered = [offer.resources for offer in world.state.offers_of(agent_id=agent.id)]
        used = [Resources(t.resources) for t in world.state.tasks_of(agent_id=agent.id)]
        everything = Resources(r for held in [*offered, *used] for r in held).unallocated()
        assert agent.total.contains(everything)
        assert sum(held.thousandths("cpus") for held in [*offered, *used]) <= (
            agent.total.thousandths("cpus")
        )
    for offer in world.state.offers.values():
        enough = offer.resources.thousandths("cpus") >= 10
        assert enough or offer.resources.thousandths("mem") >= 32_000
    for role, quota in world.state.quotas.items():
        now = consumed(world, role)
        for name, limit in quota.limits.items():
            assert now.get(name, 0) <= max(limit, before[role].get(name, 0)), (role, name)
    # What guarantees lack stays free of others, as far as it was free.
    assert not minus(minus(missing(world), spare(world)), short)


def act(world: Crowd, step: str, which: int) -> None:
    offers = list(world.state.offers.values())
    if not offers:
        return
    offer = offers[which % len(offers)]
    framework = world.state.frameworks[offer.framework_id]
    operations: Iterable[Operation] = ()
    if step == "launch":
        part = Resources(r for r in offer.resources if r.name in QUOTABLE)
        info = task(offer, f"t-{world.state.next_offer}-{which}", resources=tuple(part))
        operations = [Operation("LAUNCH", launch=OperationLaunch((info,)))]
    world.accept(framework, [offer], *operations, refuse=30.0 if step == "refuse" else 0.0)


@settings(max_examples=60, deadline=None)
@given(world=worlds(), frameworks=FRAMEWORKS, steps=STEPS, seed=st.integers(0, 99))
def test_an_allocation_keeps_what_was_promised(
    world: Crowd, frameworks: list[list[str]], steps: list[tuple[str, int]], seed: int
) -> None:
    for roles in frameworks:
        world.framework(*roles)
    for number, (step, which) in enumerate([("drop", 0), *steps]):
        before = {role: consumed(world, role) for role in world.state.quotas}
        short = minus(missing(world), spare(world))
        run(world, seed + number)
        check(world, before, short)
        act(world, step, which)


@settings(max_examples=60, deadline=None)
@given(world=worlds(), seed=st.integers(0, 99), extra=FRAMEWORKS)
def test_guarantees_are_met_at_once_when_the_cluster_can(
    world: Crowd, seed: int, extra: list[list[str]]
) -> None:
    for roles in [*extra, *([role] for role in ROLES)]:
        world.framework(*roles)
    possible = covers(spare(world), missing(world))
    run(world, seed)
    if possible:
        assert missing(world) == {}


@settings(max_examples=25, deadline=None)
@given(
    frameworks=FRAMEWORKS,
    seed=st.integers(0, 99),
    cpus=st.lists(st.integers(1, 8), min_size=1, max_size=9),
)
def test_the_same_seed_gives_the_same_offers(
    frameworks: list[list[str]], seed: int, cpus: list[int]
) -> None:
    def offered() -> list[Any]:
        world = Crowd()
        for each in cpus:
            world.agent(f"cpus:{each};mem:256")
        for roles in frameworks:
            world.framework(*roles)
        world.state.quotas["a"] = Quota({"cpus": 2000}, {"cpus": 3000})
        run(world, seed)
        return [
            (o.id, o.framework_id, o.agent_id, o.role, str(o.resources))
            for o in world.state.offers.values()
        ]

    assert offered() == offered()


@settings(max_examples=15, deadline=None)
@given(weights=st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=2, max_size=4))
def test_shares_go_by_weight(weights: list[float]) -> None:
    world = Crowd()
    count = 40
    for _ in range(count):
        world.agent("cpus:2;mem:2048")
    owners = [world.framework(f"role-{number}") for number in range(len(weights))]
    world.state.weights |= {f"role-{number}": weight for number, weight in enumerate(weights)}
    run(world, 1)
    parts = [
        len(world.offers(owner)) / weight for owner, weight in zip(owners, weights, strict=True)
    ]
    assert max(parts) - min(parts) <= 1 / min(weights)
    assert len(world.state.offers) == count


def test_children_share_what_is_their_parents_part() -> None:
    world = Crowd()
    for _ in range(60):
        world.agent("cpus:2;mem:2048")
    names = ("eng/dev", "eng/ops", "sales")
    owners = {name: world.framework(name) for name in names}
    world.state.weights |= {"eng": 2.0, "eng/dev": 3.0}
    run(world, 1)
    counts = {name: len(world.offers(owner)) for name, owner in owners.items()}
    assert counts == {"eng/dev": 30, "eng/ops": 10, "sales": 20}


def test_a_dozen_frameworks_on_a_thousand_agents_get_equal_parts() -> None:
    world = Crowd()
    owners = [world.framework(f"role-{number}") for number in range(12)]
    for _ in range(1000):
        world.agent("cpus:8;mem:16384")
    run(world, 1)
    counts = [len(world.offers(owner)) for owner in owners]
    assert sum(counts) == 1000
    assert max(counts) - min(counts) <= 1


def test_who_declines_everything_does_not_keep_the_others_waiting() -> None:
    world = Crowd()
    world.agent()
    owners = [world.framework("lab") for _ in range(3)]
    seen = []
    for number in range(6):
        run(world, number)
        [offer] = world.state.offers.values()
        seen.append(offer.framework_id)
        world.accept(world.state.frameworks[offer.framework_id], [offer])
    assert sorted(seen[:3]) == sorted(seen[3:]) == sorted(owner.id for owner in owners)


def test_uses_of_roles_match_what_the_allocator_counts() -> None:
    world = Crowd()
    world.agent("cpus:4;mem:1024")
    owner = world.framework("a/x")
    run(world, 1)
    uses = role_uses(world.state)
    assert uses["a"].offered == uses["a/x"].offered == {"cpus": 4000, "mem": 1_024_000}
    act(world, "launch", 0)
    uses = role_uses(world.state)
    assert uses["a"].consumed == uses["a/x"].allocated == {"cpus": 4000, "mem": 1_024_000}
    assert "a" not in world.state.quotas
    assert world.offers(owner) == []
