"""Maintenance: the schedule, and machines that go down for it and come up again."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from kubedcos.embedded.master.effects import Allocate, Effects, SaveRegistry, ToAgent
from kubedcos.embedded.master.frameworks import FrameworkRules
from kubedcos.embedded.master.inverse_offers import rescind_of_agent
from kubedcos.embedded.master.machines import (
    Machine,
    MachineID,
    MachineKey,
    Mode,
    Schedule,
    machine_of,
    schedule_fault,
    transition_fault,
    without,
)
from kubedcos.embedded.master.offers import rescind
from kubedcos.embedded.master.removal import Removal, forget_drain, remove_agent
from kubedcos.embedded.master.state import AgentRecord, MasterState
from kubedcos.embedded.protocol import MasterCall, Shutdown
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import Unavailability

Json = dict[str, Any]


class MaintenanceRefused(ValueError):
    """The call is refused with 400 and this text."""


def update_schedule(state: MasterState, schedule: Schedule) -> Effects:
    """UPDATE_MAINTENANCE_SCHEDULE: a new schedule replaces the old one.

    Raises:
        MaintenanceRefused: with Mesos' text.
    """
    fault = schedule_fault(schedule, state.machines)
    if fault is not None:
        raise MaintenanceRefused(fault)
    wanted = {id_.key: (id_, window) for window in schedule.windows for id_ in window.machine_ids}
    agents = _agents_by_machine(state)
    effects: Effects = []
    for key, machine in state.machines.items():
        if key not in wanted:
            machine.mode = "UP"
            effects += _set_unavailability(state, machine, None, agents[key])
    for key, (id_, window) in wanted.items():
        machine = state.machines.setdefault(key, Machine(id_))
        if machine.mode == "UP":
            machine.id, machine.mode = id_, "DRAINING"
        effects += _set_unavailability(state, machine, window.unavailability, agents[key])
    state.schedule = schedule
    # The registry is stored before frameworks hear of anything.
    return [SaveRegistry(), *effects, Allocate()]


def _set_unavailability(
    state: MasterState,
    machine: Machine,
    unavailability: Unavailability | None,
    agents: list[AgentRecord],
) -> Effects:
    """Frameworks are offered everything anew, and what they said before does not count."""
    machine.unavailability = unavailability
    effects: Effects = []
    for agent in agents:
        effects += rescind(state, state.offers_of(agent_id=agent.id))
        effects += rescind_of_agent(state, agent.id)
        state.inverse_answers.pop(agent.id, None)
    return effects


def _agents_by_machine(state: MasterState) -> defaultdict[MachineKey, list[AgentRecord]]:
    found: defaultdict[MachineKey, list[AgentRecord]] = defaultdict(list)
    for agent in state.agents.values():
        found[machine_of(agent.info.hostname, agent.address).key].append(agent)
    return found


def start(
    state: MasterState, rules: FrameworkRules, ids: tuple[MachineID, ...], *, now: float
) -> Effects:
    """START_MAINTENANCE: agents of the machines end, and none may register from there.

    Raises:
        MaintenanceRefused: with Mesos' text.
    """
    machines = _checked(state, ids, "DRAINING")
    agents = _agents_by_machine(state)
    message = "Operator initiated 'Machine DOWN'"
    effects: Effects = []
    for machine in machines:
        machine.mode = "DOWN"
        for agent in agents[machine.id.key]:
            order = MasterCall(type="SHUTDOWN", shutdown=Shutdown(message))
            words = f"Agent {agent.info.hostname} removed: {message}"
            removal = Removal("TASK_LOST", "REASON_AGENT_REMOVED", words)
            effects.append(ToAgent(agent.id, order))
            effects += remove_agent(state, rules, agent, removal, now=now)
            forget_drain(state, agent.id)
    return [SaveRegistry(), *effects]


def stop(state: MasterState, ids: tuple[MachineID, ...]) -> Effects:
    """STOP_MAINTENANCE: the machines are up, and no longer in the schedule.

    Raises:
        MaintenanceRefused: with Mesos' text.
    """
    for machine in _checked(state, ids, "DOWN"):
        machine.mode, machine.unavailability = "UP", None
    state.schedule = without(state.schedule, ids)
    return [SaveRegistry()]


def _checked(state: MasterState, ids: tuple[MachineID, ...], wanted: Mode) -> list[Machine]:
    assert wanted != "UP"
    fault = transition_fault(ids, state.machines, wanted)
    if fault is not None:
        raise MaintenanceRefused(fault)
    return [state.machines[id_.key] for id_ in ids]


def is_down(state: MasterState, hostname: str, address: str) -> bool:
    """Whether an agent with that host name and IP address is on a machine in maintenance."""
    machine = state.machines.get(machine_of(hostname, address).key)
    return machine is not None and machine.mode == "DOWN"


def enter(state: MasterState, agent: AgentRecord) -> None:
    """Know the machine of an agent that (re-)registers."""
    id_ = machine_of(agent.info.hostname, agent.address)
    state.machines.setdefault(id_.key, Machine(id_))


def status_view(state: MasterState) -> Json:
    """`ClusterStatus`: machines that drain, with the answers of frameworks, and those down."""
    draining, down = [], []
    agents = _agents_by_machine(state)
    for machine in state.machines.values():
        if machine.mode == "DRAINING":
            entry: Json = {"id": to_json(machine.id)}
            statuses = [
                {
                    "status": status,
                    "framework_id": {"value": framework_id},
                    "timestamp": {"nanoseconds": int(when * 1e9)},
                }
                for agent in agents[machine.id.key]
                if agent.id in state.inverse_answers
                for framework_id, (status, when) in state.inverse_answers[agent.id].statuses.items()
            ]
            if statuses:
                entry["statuses"] = statuses
            draining.append(entry)
        elif machine.mode == "DOWN":
            down.append(to_json(machine.id))
    shown: Json = {}
    if draining:
        shown["draining_machines"] = draining
    if down:
        shown["down_machines"] = down
    return shown
