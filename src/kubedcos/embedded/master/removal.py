"""Agents that go: unreachable, unregistered, marked gone, or never back after a failover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kubedcos.embedded.master import operation_feedback
from kubedcos.embedded.master.effects import DropAgent, Effects, SaveRegistry, ToAgent, ToFramework
from kubedcos.embedded.master.frameworks import FrameworkRules, complete
from kubedcos.embedded.master.inverse_offers import rescind_of_agent
from kubedcos.embedded.master.offers import forget_agent, rescind
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState
from kubedcos.embedded.master.statuses import (
    removed_task,
    state_for,
    update_event,
    with_status,
)
from kubedcos.embedded.master.task_groups import forget_executors
from kubedcos.embedded.protocol import MasterCall, Shutdown
from kubedcos.mesos.messages import AgentID, Event, Failure, Task

_GONE: Final = "Agent has been marked gone"


@dataclass(frozen=True, slots=True)
class Removal:
    """Why an agent goes: what its tasks become, and for whom this is to be translated."""

    task_state: str
    reason: str
    message: str
    unreachable_since: float | None = None
    translate: bool = False


def remove_agent(
    state: MasterState,
    rules: FrameworkRules,
    agent: AgentRecord,
    removal: Removal,
    *,
    now: float,
) -> Effects:
    """Take an agent off the list: tasks and offers of it end, every framework hears of it."""
    effects: Effects = []
    for task in state.tasks_of(agent_id=agent.id):
        framework = state.frameworks[task.framework_id.value]
        told = state_for(framework, removal.task_state) if removal.translate else removal.task_state
        lost = told != removal.task_state
        by_operator = removal.reason == "REASON_AGENT_REMOVED_BY_OPERATOR"
        status = removed_task(
            task,
            told,
            "REASON_AGENT_REMOVED" if lost and by_operator else removal.reason,
            removal.message,
            now=now,
            unreachable_since=removal.unreachable_since,
        )
        ended = with_status(task, status, told)
        if removal.unreachable_since is None and not lost:
            complete(state, rules, framework, ended)
        else:
            # For old clients Mesos does not tell apart what is gone and what is out of reach.
            del state.tasks[(framework.id, task.task_id.value)]
            _keep_unreachable(rules, framework, ended)
        effects.append(update_event(framework.id, status))
    effects += rescind(state, state.offers_of(agent_id=agent.id))
    forget_executors(state, agent_id=agent.id)
    effects += rescind_of_agent(state, agent.id)
    state.inverse_answers.pop(agent.id, None)
    del state.agents[agent.id]
    forget_agent(state, agent.id)
    operation_feedback.forgotten(state, agent_id=agent.id)
    event = Event(type="FAILURE", failure=Failure(agent_id=AgentID(agent.id)))
    effects += [ToFramework(framework_id, event) for framework_id in state.frameworks]
    return [*effects, DropAgent(agent.id), SaveRegistry()]


def _keep_unreachable(rules: FrameworkRules, framework: FrameworkRecord, task: Task) -> None:
    framework.unreachable_tasks[task.task_id.value] = task
    while len(framework.unreachable_tasks) > rules.max_unreachable_tasks:
        del framework.unreachable_tasks[next(iter(framework.unreachable_tasks))]


def forget_drain(state: MasterState, agent_id: str) -> None:
    """The agent will not come back under this id: nobody needs to drain or reactivate it."""
    state.drains.pop(agent_id, None)
    state.deactivated.discard(agent_id)


def unreachable(
    state: MasterState, rules: FrameworkRules, agent: AgentRecord, *, now: float
) -> Effects:
    """Too many pings went unanswered."""
    state.unreachable[agent.id] = now
    removal = Removal(
        "TASK_UNREACHABLE",
        "REASON_AGENT_REMOVED",
        "health check timed out",
        unreachable_since=now,
        translate=True,
    )
    lost = operation_feedback.lost(
        state, agent.id, "OPERATION_UNREACHABLE", "Agent was marked unreachable"
    )
    return [*lost, *remove_agent(state, rules, agent, removal, now=now)]


def unregister(
    state: MasterState, rules: FrameworkRules, agent: AgentRecord, *, now: float
) -> Effects:
    """UNREGISTER: the agent goes for good and takes its tasks along."""
    state.count("messages_unregister_slave")
    forget_drain(state, agent.id)
    words = f"Agent {agent.info.hostname} removed: the agent unregistered"
    removal = Removal("TASK_LOST", "REASON_AGENT_REMOVED", words)
    return remove_agent(state, rules, agent, removal, now=now)


def mark_gone(
    state: MasterState, rules: FrameworkRules, agent_id: str, *, now: float
) -> Effects | None:
    """MARK_AGENT_GONE, which cannot be undone; `None` for an agent that nobody knows."""
    if agent_id in state.gone:
        return []
    agent = state.agents.get(agent_id)
    if agent is None and agent_id not in state.unreachable and agent_id not in state.recovered:
        return None
    state.gone[agent_id] = now
    state.recovered.pop(agent_id, None)
    if state.unreachable.pop(agent_id, None) is not None:
        forget_drain(state, agent_id)
        return [*_end_unreachable(state, rules, agent_id, now=now), SaveRegistry()]
    if agent is None:
        return [SaveRegistry()]
    order = MasterCall(type="SHUTDOWN", shutdown=Shutdown(_GONE))
    removal = Removal(
        "TASK_GONE_BY_OPERATOR", "REASON_AGENT_REMOVED_BY_OPERATOR", _GONE, translate=True
    )
    lost = operation_feedback.lost(state, agent_id, "OPERATION_GONE_BY_OPERATOR", _GONE)
    removed = remove_agent(state, rules, agent, removal, now=now)
    return [ToAgent(agent_id, order), *lost, *removed]


def _end_unreachable(
    state: MasterState, rules: FrameworkRules, agent_id: str, *, now: float
) -> Effects:
    """Tasks that were out of reach are gone with their agent, and their frameworks hear of it."""
    effects: Effects = []
    for framework in state.frameworks.values():
        told = state_for(framework, "TASK_GONE_BY_OPERATOR")
        by_operator = told == "TASK_GONE_BY_OPERATOR"
        reason = "REASON_AGENT_REMOVED_BY_OPERATOR" if by_operator else "REASON_AGENT_REMOVED"
        for task in list(framework.unreachable_tasks.values()):
            if task.agent_id.value == agent_id:
                status = removed_task(task, told, reason, _GONE, now=now)
                del framework.unreachable_tasks[task.task_id.value]
                complete(state, rules, framework, with_status(task, status, told))
                effects.append(update_event(framework.id, status))
    return effects


def not_recovered(state: MasterState, *, now: float) -> Effects:
    """The time for agents of the registry to come back is over; what ran there nobody knows."""
    if not state.recovered:
        return []
    effects: Effects = [SaveRegistry()]
    for agent_id in list(state.recovered):
        del state.recovered[agent_id]
        state.unreachable[agent_id] = now
        event = Event(type="FAILURE", failure=Failure(agent_id=AgentID(agent_id)))
        effects += [ToFramework(framework_id, event) for framework_id in state.frameworks]
    return effects
