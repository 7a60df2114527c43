"""Task statuses that the master itself makes, and how it records those of agents."""

from __future__ import annotations

from msgspec.structs import replace

from kubedcos.embedded.master.effects import ToFramework
from kubedcos.embedded.master.state import FrameworkRecord
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    AgentID,
    Event,
    Task,
    TaskID,
    TaskInfo,
    TaskStatus,
    TimeInfo,
    Update,
)

_LOST_FOR_OLD_CLIENTS = frozenset(
    {"TASK_UNREACHABLE", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN"}
)


def state_for(framework: FrameworkRecord, state: str) -> str:
    """The state as that framework understands it: TASK_LOST unless it is PARTITION_AWARE."""
    if state in _LOST_FOR_OLD_CLIENTS and not framework.can("PARTITION_AWARE"):
        return "TASK_LOST"
    return state


def update_event(framework_id: str, status: TaskStatus) -> ToFramework:
    """The event that brings a status to its framework."""
    return ToFramework(framework_id, Event(type="UPDATE", update=Update(status)))


def refused_task(
    task: TaskInfo, state: str, reason: str, message: str, *, now: float
) -> TaskStatus:
    """A status for a task that was never launched."""
    return TaskStatus(
        task_id=task.task_id,
        state=state,
        message=message,
        source="SOURCE_MASTER",
        reason=reason,
        agent_id=task.agent_id,
        timestamp=now,
    )


def unknown_task(
    task_id: TaskID,
    state: str,
    message: str,
    *,
    now: float,
    agent_id: AgentID | None = None,
    unreachable_since: float | None = None,
) -> TaskStatus:
    """A reconciliation answer about a task that the master does not have."""
    since = None if unreachable_since is None else TimeInfo(int(unreachable_since * 1e9))
    return TaskStatus(
        task_id=task_id,
        state=state,
        message=message,
        source="SOURCE_MASTER",
        reason="REASON_RECONCILIATION",
        agent_id=agent_id,
        timestamp=now,
        unreachable_time=since,
    )


def known_task(task: Task, message: str, reason: str, *, now: float) -> TaskStatus:
    """What the master last told about a task, told again.

    It is the state last forwarded, which may be behind the newest.
    """
    last = task.statuses[-1] if task.statuses else None
    return TaskStatus(
        task_id=task.task_id,
        state=task.status_update_state or task.state,
        message=message,
        source="SOURCE_MASTER",
        reason=reason,
        agent_id=task.agent_id,
        executor_id=task.executor_id,
        timestamp=now,
        healthy=last.healthy if last else None,
        check_status=last.check_status if last else None,
        container_status=last.container_status if last else None,
    )


def removed_task(
    task: Task,
    state: str,
    reason: str,
    message: str,
    *,
    now: float,
    unreachable_since: float | None = None,
) -> TaskStatus:
    """The status of a task whose agent is no more."""
    since = None if unreachable_since is None else TimeInfo(int(unreachable_since * 1e9))
    return TaskStatus(
        task_id=task.task_id,
        state=state,
        message=message,
        source="SOURCE_MASTER",
        reason=reason,
        agent_id=task.agent_id,
        executor_id=task.executor_id,
        timestamp=now,
        unreachable_time=since,
    )


def with_status(task: Task, status: TaskStatus, latest_state: str) -> Task:
    """The task after an update; a status of the same state replaces the one before.

    What has ended keeps its state, whatever is said of it later.
    """
    statuses = task.statuses
    if statuses and statuses[-1].state == status.state:
        statuses = statuses[:-1]
    return replace(
        task,
        state=task.state if task.state in TERMINAL_STATES else latest_state,
        statuses=(*statuses, replace(status, data=None)),
        status_update_state=status.state,
        status_update_uuid=status.uuid,
    )
