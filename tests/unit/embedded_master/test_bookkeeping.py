"""Sums and indices of the master's tables equal a scan, whatever happened before."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kubedcos.embedded.master import agents, frameworks, removal
from kubedcos.embedded.master.accept import decline
from kubedcos.embedded.master.offers import rescind
from kubedcos.mesos.messages import (
    AgentID,
    CallAcknowledge,
    CallDecline,
    DiskInfo,
    DiskVolume,
    Filters,
    OfferID,
    Operation,
    OperationLaunch,
    OperationReserve,
    OperationVolumes,
    Persistence,
    Range,
    Ranges,
    ReservationInfo,
    Resource,
)
from kubedcos.mesos.resources import Resources
from kubedcos.mesos.tally import Tally

from .scan import assert_consistent
from .world import World, scalar, task

STATES = ("TASK_RUNNING", "TASK_FINISHED", "TASK_FAILED", "TASK_LOST", "TASK_STARTING")


class Drawn:
    """A world that chance moves on, one step at a time."""

    def __init__(self, seed: int) -> None:
        self.world = World()
        self.chance = random.Random(seed)
        self.names = iter(range(10_000))
        self.world.agent()
        self.world.framework("lab")
        self.world.framework("lab", "extra")

    def step(self, kind: str) -> None:
        getattr(self, kind)()
        assert_consistent(self.world.state)

    def agent(self) -> None:
        self.world.agent(f"cpus:{self.chance.randint(1, 4)};mem:256;disk:64;ports:[31000-31009]")

    def framework(self) -> None:
        self.world.framework(*self.chance.sample(["lab", "extra", "third"], 2))

    def allocate(self) -> None:
        self.world.now += 6
        self.world.allocate()

    def launch(self) -> None:
        offers = list(self.world.state.offers.values())
        if not offers:
            return
        offer = self.chance.choice(offers)
        ports = Ranges((Range(31000 + self.chance.randint(0, 9), 31009),))
        resources = tuple(
            Resources([scalar("cpus", self.chance.choice([0.1, 0.5, 1]))]).allocated(offer.role)
        )
        if self.chance.random() < 0.5:
            resources += (Resource(name="ports", type="RANGES", ranges=ports),)
        info = task(offer, f"t{next(self.names)}", resources=resources)
        framework = self.world.state.frameworks[offer.framework_id]
        launch = Operation("LAUNCH", launch=OperationLaunch((info,)))
        self.world.accept(framework, [offer], launch)

    def convert(self) -> None:
        reserved = scalar("mem", 32, reservations=(ReservationInfo("DYNAMIC", "lab"),))
        disk = DiskInfo(persistence=Persistence("v"), volume=DiskVolume("RW", "data"))
        space = scalar("disk", 16, reservations=reserved.reservations)
        volume = replace(space, disk=disk)
        self._accept(
            Operation("RESERVE", reserve=OperationReserve(resources=(reserved, space))),
            Operation("CREATE", create=OperationVolumes((volume,))),
        )

    def _accept(self, *operations: Operation) -> None:
        found = [o for o in self.world.state.offers.values() if o.role == "lab"]
        for offer in found[:1]:
            framework = self.world.state.frameworks[offer.framework_id]
            self.world.accept(framework, [offer], *operations)

    def decline(self) -> None:
        for offer in list(self.world.state.offers.values())[:2]:
            framework = self.world.state.frameworks[offer.framework_id]
            call = CallDecline((OfferID(offer.id),), Filters(5.0))
            now = self.world.now
            self.world.perform(
                decline(self.world.state, framework, call, now=now, allocation_interval=1.0)
            )

    def rescind(self) -> None:
        found = list(self.world.state.offers.values())[:1]
        self.world.perform(rescind(self.world.state, found))

    def update(self) -> None:
        tasks = list(self.world.state.tasks.values())
        if tasks:
            known = self.chance.choice(tasks)
            framework = self.world.state.frameworks[known.framework_id.value]
            self.world.update(framework, known.task_id.value, self.chance.choice(STATES))

    def acknowledge(self) -> None:
        for known in list(self.world.state.tasks.values()):
            if known.status_update_uuid is not None:
                framework = self.world.state.frameworks[known.framework_id.value]
                body = CallAcknowledge(
                    AgentID(known.agent_id.value), known.task_id, known.status_update_uuid
                )
                rules = self.world.rules
                effects = frameworks.acknowledge(self.world.state, rules, framework, body)
                self.world.perform(effects)

    def lose_agent(self) -> None:
        self._with_an_agent(removal.unreachable)

    def unregister_agent(self) -> None:
        self._with_an_agent(removal.unregister)

    def disconnect_agent(self) -> None:
        self._with_an_agent(agents.disconnected)

    def _with_an_agent(self, decision: Callable[..., object]) -> None:
        known = list(self.world.state.agents.values())
        if known:
            chosen = self.chance.choice(known)
            now, rules = self.world.now, self.world.rules
            self.world.perform(decision(self.world.state, rules, chosen, now=now))  # type: ignore[arg-type]

    def agent_returns(self) -> None:
        known = list(self.world.state.agents.values())
        if known:
            chosen = self.chance.choice(known)
            held = [t.task_id.value for t in self.world.state.tasks_of(agent_id=chosen.id)]
            self.world.back(chosen, *held[:2])

    def framework_goes(self) -> None:
        known = list(self.world.state.frameworks.values())
        if len(known) > 1:
            framework = self.chance.choice(known)
            now, rules = self.world.now, self.world.rules
            self.world.perform(frameworks.remove(self.world.state, rules, framework, now=now))

    def framework_disconnects(self) -> None:
        known = [f for f in self.world.state.frameworks.values() if f.stream_id is not None]
        if len(known) > 1:
            stream_id = self.chance.choice(known).stream_id
            assert stream_id is not None
            self.world.perform(
                frameworks.disconnected(self.world.state, stream_id, now=self.world.now)
            )


STEPS = (
    *("launch", "launch", "launch", "update", "update", "allocate", "acknowledge", "convert"),
    *("agent", "framework", "decline", "rescind", "lose_agent", "unregister_agent"),
    *("disconnect_agent", "agent_returns", "framework_goes", "framework_disconnects"),
)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), steps=st.lists(st.sampled_from(STEPS), max_size=25))
def test_sums_and_indices_equal_a_scan(seed: int, steps: list[str]) -> None:
    drawn = Drawn(seed)
    for kind in steps:
        drawn.step(kind)


def test_the_steps_reach_tasks_offers_and_reservations() -> None:
    drawn = Drawn(1)
    for kind in ("launch", "agent", "agent", "allocate", "convert", "allocate"):
        drawn.step(kind)
    state = drawn.world.state
    assert state.tasks
    assert state.offers
    assert any(len(agent.total.reserved()) for agent in state.agents.values())


def test_what_two_hold_stays_when_one_goes() -> None:
    ports = Resources(
        [Resource(name="ports", type="RANGES", ranges=Ranges((Range(31000, 31005),)))]
    )
    tally = Tally()
    tally.add(ports)
    tally.add(ports)
    tally.take(ports)
    assert tally.resources == ports
    tally.take(ports)
    assert tally.resources == Resources()
    with pytest.raises(KeyError):
        tally.take(ports)
