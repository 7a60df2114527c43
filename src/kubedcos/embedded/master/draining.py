"""Agents that operators drain, deactivate and reactivate."""

from __future__ import annotations

from typing import Any

from kubedcos.embedded.master.effects import Allocate, Effects, SaveRegistry, ToAgent
from kubedcos.embedded.master.frameworks import FrameworkRules
from kubedcos.embedded.master.inverse_offers import rescind_of_agent
from kubedcos.embedded.master.machines import machine_of
from kubedcos.embedded.master.offers import rescind
from kubedcos.embedded.master.removal import mark_gone
from kubedcos.embedded.master.state import AgentRecord, Drain, MasterState
from kubedcos.embedded.protocol import Drain as DrainCall
from kubedcos.embedded.protocol import DrainConfig, MasterCall
from kubedcos.embedded.protojson import to_json

Json = dict[str, Any]


class DrainRefused(ValueError):
    """The call is refused with 400 and this text."""


def drain(state: MasterState, agent_id: str, config: DrainConfig, *, now: float) -> Effects:
    """DRAIN_AGENT: no offers any more, all tasks are killed; a later drain replaces the earlier.

    Raises:
        DrainRefused: with Mesos' text.
    """
    agent = state.agents.get(agent_id)
    if agent is not None:
        _check_registered(state, agent)
    _check_known(state, agent_id)
    state.drains[agent_id] = Drain(config)
    state.deactivated.add(agent_id)
    if agent is None:
        return [SaveRegistry()]
    agent.drain_started = now
    return [SaveRegistry(), *_withdraw(state, agent), *drain_call(state, agent)]


def _check_registered(state: MasterState, agent: AgentRecord) -> None:
    machine = machine_of(agent.info.hostname, agent.address)
    for window in state.schedule.windows:
        for scheduled in window.machine_ids:
            if scheduled.key == machine.key:
                raise DrainRefused(
                    f"Agent {agent.id} is part of a maintenance schedule under Machine {scheduled}"
                )
    if not any(capability.type == "AGENT_DRAINING" for capability in agent.capabilities):
        raise DrainRefused(f"Agent {agent.id} is not capable of draining")


def _check_known(state: MasterState, agent_id: str) -> None:
    if not any(agent_id in known for known in (state.agents, state.recovered, state.unreachable)):
        raise DrainRefused("Unknown agent")


def _withdraw(state: MasterState, agent: AgentRecord) -> Effects:
    agent.deactivated = True
    offers = state.offers_of(agent_id=agent.id)
    return [*rescind(state, offers), *rescind_of_agent(state, agent.id)]


def drain_call(state: MasterState, agent: AgentRecord) -> Effects:
    """What an agent must hear when it (re-)registers, or is connected, and a drain is wanted."""
    wanted = state.drains.get(agent.id)
    if wanted is None or not agent.connected:
        return []
    return [ToAgent(agent.id, MasterCall(type="DRAIN", drain=DrainCall(wanted.config)))]


def deactivate(state: MasterState, agent_id: str) -> Effects:
    """DEACTIVATE_AGENT: no offers any more, tasks go on.

    Raises:
        DrainRefused: with Mesos' text.
    """
    _check_known(state, agent_id)
    state.deactivated.add(agent_id)
    agent = state.agents.get(agent_id)
    return [SaveRegistry(), *(_withdraw(state, agent) if agent is not None else [])]


def reactivate(state: MasterState, agent_id: str) -> Effects:
    """REACTIVATE_AGENT: ends a deactivation, and a drain that is over.

    Raises:
        DrainRefused: with Mesos' text.
    """
    if agent_id not in state.deactivated:
        raise DrainRefused("Agent is not deactivated")
    wanted = state.drains.get(agent_id)
    if wanted is not None and not wanted.drained:
        raise DrainRefused("Agent is still in the DRAINING state")
    state.drains.pop(agent_id, None)
    state.deactivated.discard(agent_id)
    agent = state.agents.get(agent_id)
    if agent is not None:
        agent.deactivated, agent.drain_started = False, None
    return [SaveRegistry(), Allocate()]


def settle(state: MasterState, rules: FrameworkRules, *, now: float) -> Effects:
    """Agents that have nothing left of what they were to be drained of are drained, or gone.

    A task or an operation counts until its framework has acknowledged its end.
    """
    effects: Effects = []
    for agent_id, wanted in list(state.drains.items()):
        if wanted.drained or agent_id not in state.agents:
            continue
        if any(True for _ in state.tasks_of(agent_id=agent_id)):
            continue
        if any(each.agent_id == agent_id for each in state.operations.values()):
            continue
        if wanted.config.mark_gone:
            effects += mark_gone(state, rules, agent_id, now=now) or []
        else:
            wanted.drained = True
            effects.append(SaveRegistry())
    return effects


def drain_info(state: MasterState, agent_id: str) -> Json | None:
    """`DrainInfo` as views show it; `None` for an agent that nobody drained."""
    wanted = state.drains.get(agent_id)
    if wanted is None:
        return None
    return {
        "state": "DRAINED" if wanted.drained else "DRAINING",
        "config": to_json(wanted.config),
    }
