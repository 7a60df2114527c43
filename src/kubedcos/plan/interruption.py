"""What operators ask of a plan, a phase or a step: pause, resume, restart, complete, start, stop.

The verbs are the DC/OS SDK's (interrupt, continue, restart, forceComplete, start, stop). The SDK
forgets what was asked when its scheduler restarts; here it is data that the caller keeps. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from kubedcos.plan.status import Status

if TYPE_CHECKING:
    from kubedcos.plan.tree import Plan, Step


class Verb(StrEnum):
    """What may be asked."""

    PAUSE = "pause"
    """Begin nothing more there; what is under way goes on."""
    RESUME = "resume"
    """Take a pause back."""
    RESTART = "restart"
    """Do its steps again, in the order of the plan; lifts its pause."""
    COMPLETE = "complete"
    """Take its steps for complete, whatever their tasks do."""
    START = "start"
    """Only of plans: resume; a complete plan is done again."""
    STOP = "stop"
    """Only of plans: pause, and do everything again when it is resumed."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """A plan, or with `phase` a phase of it, or with `step` a step of that."""

    plan: str
    phase: str = ""
    step: str = ""

    def __str__(self) -> str:
        """Such as ``deploy/etcd/etcd-0:[server]``."""
        return "/".join(part for part in (self.plan, self.phase, self.step) if part)


@dataclass(frozen=True, slots=True)
class Interruption:
    """What stands asked of one target.

    Attributes:
        paused: nothing more is begun there.
        completed: only of steps: it counts as complete until it is, or is restarted.
        restart: only of steps: its tasks end and are launched again when it is its turn.
        by: who asked last.
        why: the reason given; may be empty.
        at: when, in seconds since 1970.
    """

    paused: bool = False
    completed: bool = False
    restart: bool = False
    by: str = ""
    why: str = ""
    at: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing stands asked any more."""
        return not (self.paused or self.completed or self.restart)

    @property
    def origin(self) -> str:
        """Who and why, such as ``by ann (disk is being swapped)``."""
        return f"by {self.by}" + (f" ({self.why})" if self.why else "")


NOT_INTERRUPTED = Interruption()
Standing = Mapping[Target, Interruption]
"""What stands asked, by target; targets of which nothing is asked are not in it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a verb does.

    Attributes:
        changes: what stands asked from now on, by target; an empty one is to be forgotten.
        sentence: what was done, or why there is nothing to do.
    """

    changes: Mapping[Target, Interruption]
    sentence: str

    @property
    def already(self) -> bool:
        """Whether the target was in the wanted state (the SDK's 208)."""
        return not self.changes


def steps_of(plan: Plan, target: Target) -> tuple[Step, ...]:
    """Steps below a target.

    Raises:
        KeyError: the plan has no such phase or step; its argument says what there is.
    """
    if not target.phase:
        return plan.steps
    phase = next((found for found in plan.phases if found.spec.name == target.phase), None)
    if phase is None:
        raise KeyError(", ".join(found.spec.name for found in plan.phases))
    if not target.step:
        return phase.steps
    steps = tuple(found for found in phase.steps if found.spec.name == target.step)
    if not steps:
        raise KeyError(", ".join(found.spec.name for found in phase.steps))
    return steps


def decide(
    verb: Verb, target: Target, plan: Plan, standing: Standing, *, by: str, why: str, at: float
) -> Decision:
    """What `verb` changes.

    Args:
        verb: what is asked; START and STOP look at the plan of the target alone.
        target: of what.
        plan: the plan of the target as it stands.
        standing: what was asked before.
        by: who asks.
        why: the reason.
        at: seconds since 1970.

    Raises:
        KeyError: no such phase or step.
    """
    asked = _Asked(target, steps_of(plan, target), standing, Interruption(by=by, why=why, at=at))
    match verb:
        case Verb.PAUSE:
            done = _status(plan, target) is Status.COMPLETE and not plan.endless
            return _pause(asked, done=done)
        case Verb.RESUME:
            return _resume(asked)
        case Verb.RESTART:
            return _restart(asked)
        case Verb.COMPLETE:
            return _complete(asked)
        case Verb.START:
            if plan.status is Status.COMPLETE:
                return _restart(asked)
            return _resume(asked)
        case Verb.STOP:
            return _stop(asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    target: Target
    steps: tuple[Step, ...]
    standing: Standing
    mark: Interruption

    def now(self, target: Target) -> Interruption:
        """What stands asked of a target."""
        return self.standing.get(target, NOT_INTERRUPTED)

    def with_(
        self, *, paused: bool, completed: bool = False, restart: bool = False
    ) -> Interruption:
        """The mark of this operator with these wishes."""
        return replace(self.mark, paused=paused, completed=completed, restart=restart)


def _pause(asked: _Asked, *, done: bool) -> Decision:
    known = asked.now(asked.target)
    if known.paused:
        return Decision({}, f"{asked.target} is paused {known.origin} already")
    if done:
        return Decision({}, f"{asked.target} is complete; there is nothing to pause")
    change = asked.with_(paused=True, completed=known.completed, restart=known.restart)
    return Decision({asked.target: change}, f"paused {asked.target}")


def _resume(asked: _Asked) -> Decision:
    known = asked.now(asked.target)
    if not known.paused:
        return Decision({}, f"{asked.target} is not paused")
    return Decision({asked.target: replace(known, paused=False)}, f"resumed {asked.target}")


def _restart(asked: _Asked) -> Decision:
    changes = _again(asked)
    known = changes.get(asked.target, asked.now(asked.target))
    if known.paused:
        changes[asked.target] = replace(known, paused=False)
    if not changes:
        return Decision({}, f"{asked.target} is to be done already")
    again = sum(change.restart for change in changes.values())
    return Decision(changes, f"restarted {asked.target}: {again} steps are done again in turn")


def _complete(asked: _Asked) -> Decision:
    open_steps = [step for step in asked.steps if step.status is not Status.COMPLETE]
    changes = {_target(step): asked.with_(paused=False, completed=True) for step in open_steps}
    if not changes:
        return Decision({}, f"{asked.target} is complete already")
    return Decision(changes, f"took {len(changes)} steps of {asked.target} for complete")


def _stop(asked: _Asked) -> Decision:
    changes = _again(asked)
    known = changes.get(asked.target, asked.now(asked.target))
    if not known.paused:
        changes[asked.target] = asked.with_(
            paused=True, completed=known.completed, restart=known.restart
        )
    if not changes:
        return Decision({}, f"{asked.target} is stopped already")
    return Decision(changes, f"stopped {asked.target}; resumed, it is done from its beginning")


def _again(asked: _Asked) -> dict[Target, Interruption]:
    """Marks for steps that have to be done again; those that have not begun need none."""
    changes = {}
    for step in asked.steps:
        target = _target(step)
        known = asked.now(target)
        if known.restart or not (step.begun or known.completed):
            continue
        changes[target] = asked.with_(paused=known.paused, restart=step.begun)
    return changes


def _status(plan: Plan, target: Target) -> Status:
    if target.step:
        return steps_of(plan, target)[0].status
    if target.phase:
        return next(phase.status for phase in plan.phases if phase.spec.name == target.phase)
    return plan.status


def _target(step: Step) -> Target:
    return Target(*step.key)
