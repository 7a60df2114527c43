"""Drains and deactivations, as decisions."""

from __future__ import annotations

import pytest

from kubedcos.embedded.master import agents, draining, frameworks, removal
from kubedcos.embedded.master.draining import DrainRefused
from kubedcos.embedded.master.registry import recover, registry_of
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord
from kubedcos.embedded.protocol import AGENT_CAPABILITIES, DrainConfig
from kubedcos.mesos.messages import AgentID, CallAcknowledge, Capability, DurationInfo, TaskID

from .world import World

PLAIN = DrainConfig()


def capable(world: World) -> AgentRecord:
    agent = world.agent()
    agent.capabilities = tuple(Capability(name) for name in AGENT_CAPABILITIES)
    return agent


def drained(world: World, agent: AgentRecord, config: DrainConfig = PLAIN) -> None:
    world.perform(draining.drain(world.state, agent.id, config, now=world.now))
    settle(world)


def settle(world: World) -> None:
    world.perform(draining.settle(world.state, world.rules, now=world.now))


def end(world: World, agent: AgentRecord, framework: FrameworkRecord, name: str) -> None:
    status = world.update(framework, name, "TASK_KILLED")
    settle(world)
    assert state_of(world, agent) == "DRAINING"
    call = CallAcknowledge(AgentID(agent.id), TaskID(name), status.uuid or "")
    world.perform(frameworks.acknowledge(world.state, world.rules, framework, call))
    settle(world)


def state_of(world: World, agent: AgentRecord) -> str:
    info = draining.drain_info(world.state, agent.id)
    assert info is not None
    return str(info["state"])


def orders(world: World) -> list[DrainConfig]:
    return [call.drain.config for _, call in world.calls if call.drain is not None]


def test_an_agent_without_tasks_is_drained_at_once() -> None:
    world = World()
    agent = capable(world)
    drained(world, agent)
    assert state_of(world, agent) == "DRAINED"
    assert orders(world) == [PLAIN]


def test_a_drain_lasts_until_the_last_end_is_acknowledged() -> None:
    world = World()
    agent, framework = capable(world), world.framework()
    world.launch(framework, "t")
    world.allocate()
    [held] = world.offers(framework)
    drained(world, agent)
    assert [event.offer_id for event in world.told(framework, "RESCIND")] == [held.offer.id]
    world.allocate()
    assert world.offers(framework) == []
    with pytest.raises(DrainRefused, match="Agent is still in the DRAINING state"):
        draining.reactivate(world.state, agent.id)
    end(world, agent, framework, "t")
    assert state_of(world, agent) == "DRAINED"
    world.perform(draining.reactivate(world.state, agent.id))
    assert draining.drain_info(world.state, agent.id) is None
    assert len(world.offers(framework)) == 1


def test_a_later_drain_replaces_the_configuration() -> None:
    world = World()
    agent, framework = capable(world), world.framework()
    world.launch(framework, "t")
    drained(world, agent, DrainConfig(DurationInfo(5), mark_gone=True))
    drained(world, agent)
    assert orders(world) == [DrainConfig(DurationInfo(5), mark_gone=True), PLAIN]
    end(world, agent, framework, "t")
    assert state_of(world, agent) == "DRAINED"


def test_a_drain_to_be_gone_ends_with_that() -> None:
    world = World()
    agent, framework = capable(world), world.framework()
    world.launch(framework, "t")
    drained(world, agent, DrainConfig(mark_gone=True))
    end(world, agent, framework, "t")
    assert world.state.agents == {}
    assert agent.id in world.state.gone
    assert [call.type for _, call in world.calls][-1] == "SHUTDOWN"
    # Mesos keeps this in mind as long as the master lives, and not in the registry.
    with pytest.raises(DrainRefused, match="Agent is still in the DRAINING state"):
        draining.reactivate(world.state, agent.id)
    assert registry_of(world.state).drains == {}


def test_a_returning_agent_hears_of_its_drain_and_stays_deactivated() -> None:
    world = World()
    agent, framework = capable(world), world.framework()
    world.launch(framework, "t")
    world.perform(agents.disconnected(world.state, world.rules, agent, now=world.now))
    drained(world, agent)
    assert orders(world) == []
    after = World()
    recover(after.state, registry_of(world.state))
    tasks = tuple(world.state.tasks.values())
    after.back(agent, tasks=tasks, frameworks=(framework.info,))
    settle(after)
    assert orders(after) == [PLAIN]
    again = after.state.agents[agent.id]
    assert not again.active
    assert state_of(after, again) == "DRAINING"


@pytest.mark.parametrize("kind", ["drain", "deactivate", "reactivate"])
def test_agents_that_are_away_can_be_told(kind: str) -> None:
    world = World()
    agent = capable(world)
    world.perform(removal.unreachable(world.state, world.rules, agent, now=world.now))
    if kind == "drain":
        drained(world, agent)
        assert state_of(world, agent) == "DRAINING"
    else:
        world.perform(draining.deactivate(world.state, agent.id))
    if kind == "reactivate":
        world.perform(draining.reactivate(world.state, agent.id))
    world.back(agent, capabilities=agent.capabilities)
    settle(world)
    assert world.state.agents[agent.id].active is (kind == "reactivate")
    assert (kind == "drain") == (agent.id in world.state.drains)


def test_an_agent_that_goes_for_good_is_forgotten() -> None:
    world = World()
    agent = capable(world)
    drained(world, agent)
    world.perform(removal.unregister(world.state, world.rules, agent, now=world.now))
    with pytest.raises(DrainRefused, match="Agent is not deactivated"):
        draining.reactivate(world.state, agent.id)
    away = capable(world)
    drained(world, away)
    world.perform(removal.unreachable(world.state, world.rules, away, now=world.now))
    world.perform(removal.mark_gone(world.state, world.rules, away.id, now=world.now) or [])
    assert world.state.drains == {}
    assert world.state.deactivated == set()


def test_what_cannot_be_drained() -> None:
    world = World()
    with pytest.raises(DrainRefused, match="Unknown agent"):
        draining.drain(world.state, "no-such", PLAIN, now=world.now)
    agent = world.agent()
    with pytest.raises(DrainRefused, match=f"Agent {agent.id} is not capable of draining"):
        draining.drain(world.state, agent.id, PLAIN, now=world.now)
    assert world.state.drains == {}
    assert agent.active
