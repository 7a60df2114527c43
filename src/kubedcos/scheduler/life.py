"""At which stage of its life a cluster's scheduler is. Pure.

The HTTP codes are those of the DC/OS SDK's ``/v1/health`` (`Plan` life cycle codes of its health
resource): a probe that knows nothing but codes can tell a cluster that runs from one that waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubedcos.plan.status import Status
from kubedcos.plan.tree import Plan


class Life(StrEnum):
    """Stages, from the worst to the best."""

    BROKEN = "broken"
    """It gave up; a person has to do something."""
    STARTING = "starting"
    """The process has begun and has not looked at its state yet."""
    STANDBY = "standby"
    """Another scheduler leads."""
    CONNECTING = "connecting"
    """Mesos does not answer, or has not yet."""
    RECONCILING = "reconciling"
    """It asks Mesos what became of its tasks."""
    DELETING = "deleting"
    """The cluster is being taken down."""
    STAGING = "staging"
    """The plan `deploy` is not complete."""
    RECOVERING = "recovering"
    """All was complete once; something is being made good."""
    RUNNING = "running"
    """Everything is complete."""


_CODES = {
    Life.BROKEN: 500,
    Life.STARTING: 318,
    Life.STANDBY: 503,
    Life.CONNECTING: 503,
    Life.RECONCILING: 318,
    Life.DELETING: 202,
    Life.STAGING: 202,
    Life.RECOVERING: 203,
    Life.RUNNING: 200,
}
WAITS_FOR_OPERATOR = 207
WAITS_FOR_TIME = 208
_ORDER = tuple(Life)


@dataclass(frozen=True, slots=True)
class Health:
    """A stage, its HTTP code, and a sentence that says why it is this one."""

    stage: Life
    code: int
    sentence: str = ""


def health(
    plans: Sequence[Plan],
    *,
    begun: bool,
    connected: bool,
    reconciling: bool,
    deleting: bool,
    doing: str = "",
) -> Health:
    """The stage of a scheduler that has not given up.

    Args:
        plans: as they stand.
        begun: it runs.
        connected: it is subscribed with Mesos.
        reconciling: it waits for answers about its tasks.
        deleting: the cluster is to go.
        doing: what the last cycle did.
    """
    if not begun:
        return _of(Life.STARTING, doing)
    if not connected:
        return _of(Life.CONNECTING, doing)
    if deleting:
        return _of(Life.DELETING, doing)
    if reconciling:
        return _of(Life.RECONCILING, doing)
    open_plans = [plan for plan in plans if plan.status is not Status.COMPLETE]
    if not open_plans:
        return _of(Life.RUNNING, doing)
    repaired = all(
        step.was_complete or step.plan == "recovery"
        for plan in open_plans
        for step in plan.steps
        if step.status is not Status.COMPLETE
    )
    stage = Life.RECOVERING if repaired else Life.STAGING
    statuses = {plan.status for plan in open_plans}
    code = _CODES[stage]
    if Status.WAITING in statuses:
        code = WAITS_FOR_OPERATOR
    elif statuses == {Status.DELAYED}:
        code = WAITS_FOR_TIME
    if Status.ERROR in statuses:
        code = _CODES[Life.BROKEN]
    return Health(stage, code, doing)


def broken(reason: str) -> Health:
    """The health of a scheduler that gave up."""
    return _of(Life.BROKEN, reason)


def standby(leader: str) -> Health:
    """The health of a scheduler that another one leads."""
    return _of(Life.STANDBY, leader)


def starting() -> Health:
    """The health of a scheduler that has just taken the lead and reads the state."""
    return _of(Life.STARTING, "")


def worst(found: Sequence[Health]) -> Health:
    """The health of several clusters together; none at all is a service that runs."""
    if not found:
        return _of(Life.RUNNING, "there is no cluster")
    return min(found, key=lambda each: _ORDER.index(each.stage))


def _of(stage: Life, sentence: str) -> Health:
    return Health(stage, _CODES[stage], sentence)
