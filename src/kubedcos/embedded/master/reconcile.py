"""RECONCILE and KILL: what the master says about tasks that it is asked for."""

from __future__ import annotations

from kubedcos.embedded.master.effects import Effects, ToAgent
from kubedcos.embedded.master.state import FrameworkRecord, MasterState
from kubedcos.embedded.master.statuses import known_task, state_for, unknown_task, update_event
from kubedcos.embedded.protocol import KillTask, MasterCall
from kubedcos.mesos.messages import (
    AgentID,
    CallKill,
    CallReconcile,
    FrameworkID,
    TaskID,
    TaskStatus,
)


def reconcile(
    state: MasterState, framework: FrameworkRecord, call: CallReconcile, *, now: float
) -> Effects:
    """RECONCILE: of the tasks named, or of all that the master has."""
    if not call.tasks:
        return [
            update_event(
                framework.id,
                known_task(
                    task, "Reconciliation: Latest task state", "REASON_RECONCILIATION", now=now
                ),
            )
            for task in state.tasks_of(framework_id=framework.id)
        ]
    answers = (
        answer(state, framework, asked.task_id, asked.agent_id, now=now) for asked in call.tasks
    )
    return [update_event(framework.id, status) for status in answers if status is not None]


def answer(
    state: MasterState,
    framework: FrameworkRecord,
    task_id: TaskID,
    agent_id: AgentID | None,
    *,
    now: float,
) -> TaskStatus | None:
    """What is known of one task; `None` while agents that may have it are still recovering.

    Of a task that is out of reach only those hear who name its agent, as with Mesos.
    """
    task = state.tasks.get((framework.id, task_id.value))
    if task is not None:
        words = "Reconciliation: Latest task state"
        return known_task(task, words, "REASON_RECONCILIATION", now=now)
    if (agent_id is None and state.recovered) or (agent_id and agent_id.value in state.recovered):
        return None
    where = agent_id.value if agent_id is not None else None
    known, words, since = "TASK_UNKNOWN", "Reconciliation: Task is unknown", None
    if where in state.agents:
        known, words = "TASK_GONE", "Reconciliation: Task is unknown to the agent"
    elif where in state.unreachable:
        known, words = "TASK_UNREACHABLE", "Reconciliation: Task is unreachable"
        since = state.unreachable[where]
    elif where in state.gone:
        known, words = "TASK_GONE_BY_OPERATOR", "Reconciliation: Task is gone"
    return unknown_task(
        task_id,
        state_for(framework, known),
        words,
        now=now,
        agent_id=agent_id,
        unreachable_since=since,
    )


def kill(state: MasterState, framework: FrameworkRecord, call: CallKill, *, now: float) -> Effects:
    """KILL: passed on to the agent, now or at its return; an unknown task is reconciled."""
    task = state.tasks.get((framework.id, call.task_id.value))
    if task is None:
        status = answer(state, framework, call.task_id, call.agent_id, now=now)
        return [update_event(framework.id, status)] if status is not None else []
    if call.agent_id is not None and call.agent_id != task.agent_id:
        return []
    agent = state.agents.get(task.agent_id.value)
    if agent is None:
        return []
    order = KillTask(FrameworkID(framework.id), call.task_id, call.kill_policy)
    agent.kills[(framework.id, call.task_id.value)] = order
    if not agent.connected:
        return []
    return [ToAgent(agent.id, MasterCall(type="KILL_TASK", kill_task=order))]
