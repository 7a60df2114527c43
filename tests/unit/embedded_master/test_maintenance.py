"""Maintenance and inverse offers, as decisions."""

from __future__ import annotations

import pytest

from kubedcos.embedded.master import agents, frameworks, inverse_offers, maintenance
from kubedcos.embedded.master.machines import MachineID, Schedule, Window
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord
from kubedcos.embedded.protocol import Register
from kubedcos.mesos.messages import (
    CallInverseOffers,
    DurationInfo,
    Filters,
    FrameworkID,
    InverseOffer,
    OfferID,
    TimeInfo,
    Unavailability,
)

from .world import World

SOON = Unavailability(TimeInfo(10**18), DurationInfo(3600 * 10**9))
HERE = MachineID("h", "10.0.0.1")
"""The machine of all agents of a `World`."""


def scheduled(world: World, *machines: MachineID, when: Unavailability = SOON) -> None:
    windows = tuple(Window(machine_ids=(machine,), unavailability=when) for machine in machines)
    world.perform(maintenance.update_schedule(world.state, Schedule(windows)))
    asked(world)


def asked(world: World) -> None:
    world.perform(inverse_offers.make(world.state, now=world.now))


def inverse(world: World, framework: FrameworkRecord) -> list[InverseOffer]:
    """All inverse offers that the framework ever got."""
    told = world.told(framework, "INVERSE_OFFERS")
    return [offer for event in told for offer in event.inverse_offers]


def answer(
    world: World, framework: FrameworkRecord, offer: InverseOffer, refuse: float, what: str
) -> None:
    call = CallInverseOffers((offer.id,), Filters(refuse))
    effects = inverse_offers.answer(
        world.state,
        framework,
        call,
        what,  # type: ignore[arg-type]
        now=world.now,
    )
    assert effects == []


def with_task(world: World, *roles: str) -> tuple[AgentRecord, FrameworkRecord]:
    agent, framework = world.agent(), world.framework(*roles)
    world.launch(framework, "t")
    return agent, framework


def test_a_new_schedule_takes_offers_back_and_makes_them_anew() -> None:
    world = World()
    agent, framework = with_task(world)
    world.allocate()
    [held] = world.offers(framework)
    assert held.offer.unavailability is None
    scheduled(world, HERE)
    assert [event.offer_id for event in world.told(framework, "RESCIND")] == [held.offer.id]
    assert [offer.offer.unavailability for offer in world.offers(framework)] == [SOON]
    [offer] = inverse(world, framework)
    assert (offer.unavailability, offer.resources) == (SOON, ())
    assert offer.agent_id is not None
    assert offer.agent_id.value == agent.id
    asked(world)
    assert len(inverse(world, framework)) == 1


def test_only_those_who_hold_something_are_asked() -> None:
    world = World()
    _, framework = with_task(world)
    idle = world.framework("other", suppressed=("other",))
    scheduled(world, HERE)
    assert inverse(world, framework)
    assert inverse(world, idle) == []


def test_another_machine_concerns_nobody() -> None:
    world = World()
    _, framework = with_task(world)
    scheduled(world, MachineID("h", "10.0.0.2"), MachineID("H", "10.0.0.3"), MachineID("h"))
    assert inverse(world, framework) == []
    scheduled(world, MachineID("H", "10.0.0.1"))
    assert len(inverse(world, framework)) == 1


def test_an_answer_is_kept_and_asked_for_again_when_its_filter_is_over() -> None:
    world = World()
    agent, framework = with_task(world)
    scheduled(world, HERE)
    answer(world, framework, inverse(world, framework)[0], 5.0, "DECLINE")
    asked(world)
    assert len(inverse(world, framework)) == 1
    world.now += 5.0
    asked(world)
    assert len(inverse(world, framework)) == 2
    answer(world, framework, inverse(world, framework)[1], 1000.0, "ACCEPT")
    world.perform(frameworks.revive(world.state, framework, ()))
    asked(world)
    assert len(inverse(world, framework)) == 3
    [machine] = maintenance.status_view(world.state)["draining_machines"]
    assert machine == {
        "id": {"hostname": "h", "ip": "10.0.0.1"},
        "statuses": [
            {
                "status": "ACCEPT",
                "framework_id": {"value": framework.id},
                "timestamp": {"nanoseconds": int(world.now * 1e9)},
            }
        ],
    }
    assert world.state.inverse_answers[agent.id].filters == {}


def test_nobody_answers_for_another() -> None:
    world = World()
    _, framework = with_task(world)
    other = world.framework("other")
    scheduled(world, HERE)
    [offer] = inverse(world, framework)
    answer(world, other, offer, 1000.0, "ACCEPT")
    assert OfferID(offer.id.value).value in world.state.inverse_offers
    assert "statuses" not in maintenance.status_view(world.state)["draining_machines"][0]


def test_inverse_offers_end_with_what_they_are_about() -> None:
    world = World()
    agent, framework = with_task(world)
    scheduled(world, HERE)
    world.perform(agents.disconnected(world.state, world.rules, agent, now=world.now))
    [first] = inverse(world, framework)
    told = world.told(framework, "RESCIND_INVERSE_OFFER")
    assert [event.inverse_offer_id for event in told] == [first.id]
    asked(world)
    assert len(inverse(world, framework)) == 1
    world.back(agent, "t")
    asked(world)
    assert len(inverse(world, framework)) == 2
    # A framework that is gone is told nothing; its next instance is asked anew.
    stream = framework.stream_id or ""
    world.perform(frameworks.disconnected(world.state, stream, now=world.now))
    assert world.state.inverse_offers == {}
    asked(world)
    assert world.state.inverse_offers == {}
    again = world.framework(id=FrameworkID(framework.id))
    asked(world)
    assert len(inverse(world, again)) == 3


def test_unanswered_inverse_offers_time_out() -> None:
    world = World()
    _, framework = with_task(world)
    scheduled(world, HERE)
    world.perform(inverse_offers.late(world.state, oldest=world.now - 1))
    assert world.told(framework, "RESCIND_INVERSE_OFFER") == []
    world.perform(inverse_offers.late(world.state, oldest=world.now))
    assert len(world.told(framework, "RESCIND_INVERSE_OFFER")) == 1


def test_a_machine_goes_down_with_its_agents_and_refuses_new_ones() -> None:
    world = World()
    agent, framework = with_task(world)
    scheduled(world, HERE)
    effects = maintenance.start(world.state, world.rules, (HERE,), now=world.now)
    world.perform(effects)
    assert world.state.agents == {}
    [order] = [call for _, call in world.calls if call.type == "SHUTDOWN"]
    assert order.shutdown is not None
    assert order.shutdown.message == "Operator initiated 'Machine DOWN'"
    last = world.statuses(framework, "t")[-1]
    assert (last.state, last.reason) == ("TASK_LOST", "REASON_AGENT_REMOVED")
    call = Register(agent.info, agent.address, "1")
    with pytest.raises(agents.RegistrationRefused, match="Machine is `DOWN`") as caught:
        agents.register(
            world.state, world.agent_rules, world.rules, call, session="s", now=world.now
        )
    assert caught.value.final
    with pytest.raises(agents.RegistrationRefused, match="Machine is `DOWN`"):
        world.back(agent)
    world.perform(maintenance.stop(world.state, (HERE,)))
    assert world.state.schedule == Schedule()
    world.back(agent)
    assert list(world.state.agents) == [agent.id]


def test_an_agent_that_changed_its_address_is_on_another_machine() -> None:
    world = World()
    agent = world.agent()
    scheduled(world, HERE)
    world.perform(maintenance.start(world.state, world.rules, (HERE,), now=world.now))
    world.back(agent, address="10.0.0.2")
    assert list(world.state.agents) == [agent.id]
