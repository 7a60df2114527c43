"""What a task's record becomes when Mesos speaks of the task. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from kubedcos.model.service import Goal
from kubedcos.scheduler.settings import Pace
from kubedcos.state.records import TaskRecord

INTENDED: Final = "INTENDED"
SURE_ENDS: Final = frozenset({"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR"})
"""Somebody saw the task end, or it never began: later news cannot revoke that."""
_PRESUMED_ENDS: Final = frozenset(
    {"TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_LOST"}
)
"""Mesos says that it is not there; an agent that returns may prove otherwise."""
ENDS: Final = SURE_ENDS | _PRESUMED_ENDS
OUT_OF_REACH: Final = frozenset({"TASK_UNREACHABLE", "TASK_UNKNOWN"})
"""Mesos cannot say whether the task runs; it is not asked to end it."""
_FORWARD: Final = (INTENDED, "TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING")
"""A task passes these states in this order; Mesos may tell of an earlier one again, and late."""
_FAILURES: Final = frozenset({"TASK_FINISHED", "TASK_FAILED", "TASK_ERROR"})
"""Ends that the task brought upon itself, given that it was to run on."""


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """News of a task, from a status update or a reconciliation.

    Attributes:
        away: for how many seconds its agent had been out of reach, by the masters' clocks; None if
            it is not, or was not said.
    """

    task_id: str
    state: str
    message: str = ""
    reason: str = ""
    healthy: bool | None = None
    addresses: tuple[str, ...] = ()
    away: float | None = None


def apply(record: TaskRecord, update: TaskUpdate, now: float, pace: Pace) -> TaskRecord:
    """The record after the news; the same object when nothing changed.

    Updates may come twice, and answers to a reconciliation repeat what is known.
    """
    if not record.alive:
        if update.state in ENDS or update.state == "TASK_UNKNOWN" or record.state in SURE_ENDS:
            return record
        if record.kill_asked and update.state in OUT_OF_REACH:
            # It was given up because it is out of reach; when it is back, it is to end.
            return record
        record = replace(record, ended_at=None, not_before=0.0)
    if record.alive and _is_behind(update.state, record.state):
        return record
    addresses = update.addresses or record.addresses
    healthy = record.healthy if update.healthy is None else update.healthy
    same = (update.state, addresses, healthy) == (record.state, record.addresses, record.healthy)
    if same and record.alive:
        return record
    heard = replace(
        record,
        state=update.state,
        state_at=now if update.state != record.state else record.state_at,
        message=update.message,
        reason=update.reason,
        addresses=addresses,
        healthy=healthy,
        running_at=now
        if update.state == "TASK_RUNNING" and record.running_at is None
        else record.running_at,
    )
    return _ended(heard, update, now, pace) if update.state in ENDS else heard


def lost(record: TaskRecord, message: str, now: float, pace: Pace) -> TaskRecord:
    """The record of a task that is given up because nobody knows of it."""
    return apply(record, TaskUpdate(record.task_id, "TASK_LOST", message), now, pace)


def succeeded(record: TaskRecord) -> bool:
    """Whether a task that was to end has ended well, and not while it was asked to end.

    Then it is to run again, or elsewhere, whatever it had done when the wish came.
    """
    done = record.spec.goal is Goal.FINISHED and record.state == "TASK_FINISHED"
    return done and not record.kill_asked


def _is_behind(told: str, known: str) -> bool:
    order = _FORWARD
    return told in order and known in order and order.index(told) < order.index(known)


def _ended(record: TaskRecord, update: TaskUpdate, now: float, pace: Pace) -> TaskRecord:
    if succeeded(record):
        return replace(record, ended_at=now, failures=0, not_before=0.0)
    if record.kill_asked or update.state == "TASK_GONE_BY_OPERATOR":
        return replace(record, ended_at=now, ready=False, failures=0, not_before=0.0)
    ran = now - record.running_at if record.running_at is not None else 0.0
    failures = 1 if record.ready and ran >= pace.stable_after else record.failures + 1
    at_fault = update.state in _FAILURES or update.healthy is False
    # What befell a task from outside is made good at once, but not over and over.
    counted = failures if at_fault else failures - 1
    wait = min(pace.retry_first * 2.0 ** (counted - 1), pace.retry_most) if counted else 0.0
    return replace(record, ended_at=now, ready=False, failures=failures, not_before=now + wait)
