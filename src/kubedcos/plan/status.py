"""Statuses of steps, and how they add up to those of phases and plans."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Status(StrEnum):
    """Status of a step, a phase or a plan, as in the DC/OS SDK."""

    ERROR = "ERROR"
    """It cannot be carried out as it stands; a person must change something."""
    WAITING = "WAITING"
    """Interrupted by an operator."""
    PENDING = "PENDING"
    """Nothing was done for it yet."""
    PREPARED = "PREPARED"
    """Operations were sent to Mesos; nothing was heard yet."""
    STARTING = "STARTING"
    """Mesos brings its tasks up."""
    STARTED = "STARTED"
    """Its tasks run, but do not say that they are ready."""
    DELAYED = "DELAYED"
    """A task failed; the next attempt comes after a while."""
    COMPLETE = "COMPLETE"
    """Done."""
    IN_PROGRESS = "IN_PROGRESS"
    """Some parts are done or under way; of phases and plans, and of steps of plan ``recovery``."""


_UNDER_WAY = frozenset({Status.PENDING, Status.STARTING, Status.STARTED})


def aggregate(
    children: Sequence[Status], candidates: Sequence[Status], *, interrupted: bool = False
) -> Status:
    """Status of a parent.

    The order of the rules is the SDK's, with one change: where the SDK ends in ERROR because a
    delayed child stands beside complete ones, the parent is DELAYED.

    Args:
        children: statuses of all children.
        candidates: statuses of those that the parent's strategy would work on now.
        interrupted: an operator stopped the parent.
    """
    if Status.ERROR in children:
        return Status.ERROR
    if all(status is Status.COMPLETE for status in children):
        return Status.COMPLETE
    if interrupted:
        return Status.WAITING
    if all(status is Status.DELAYED for status in children):
        return Status.DELAYED
    if Status.PREPARED in children:
        return Status.IN_PROGRESS
    if Status.WAITING in candidates:
        return Status.WAITING
    if Status.IN_PROGRESS in candidates:
        return Status.IN_PROGRESS
    if Status.COMPLETE in children and _UNDER_WAY & set(candidates):
        return Status.IN_PROGRESS
    if Status.PENDING in candidates:
        return Status.PENDING
    rest = (Status.WAITING, Status.STARTING, Status.STARTED, Status.DELAYED, Status.PENDING)
    return next((status for status in rest if status in children), Status.ERROR)
