"""Operators steer: their wishes become records, and every one of their actions is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kubedcos.errors import InvalidInput, Problem
from kubedcos.model.service import ServiceSpec
from kubedcos.plan.interruption import Interruption, Standing, Target, Verb, decide
from kubedcos.plan.tree import Plan, candidates
from kubedcos.scheduler.invariants import restart_objection
from kubedcos.scheduler.task_updates import succeeded
from kubedcos.scheduler.world import Record, World
from kubedcos.state.records import MOST_ACTIONS, ActionRecord, InterruptionRecord, StepRecord

RECOVERY: Final = "recovery"
_OF_RECOVERY: Final = frozenset({Verb.PAUSE, Verb.RESUME})
_WHOLE_PLAN = frozenset({Verb.START, Verb.STOP})


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks, as the API knows him, and the reason that he gives."""

    who: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Steered:
    """What came of an action; `already` means that there was nothing to change."""

    sentence: str
    already: bool = False


class NoSuchElement(InvalidInput):
    """There is no such plan, phase or step."""


def standing(world: World) -> Standing:
    """What operators have asked, as plans want it."""
    return {
        Target(record.plan, record.phase, record.step): Interruption(
            record.paused, record.completed, record.restart, record.by, record.why, record.at
        )
        for record in world.interruptions.values()
    }


def steer(
    world: World, plans: Sequence[Plan], verb: Verb, target: Target, operator: Operator, now: float
) -> Steered:
    """Carry out a verb: store what stands asked from now on together with the action.

    Raises:
        NoSuchElement: there is no such plan, phase or step; nothing was stored.
        InvalidInput: the verb is about whole plans only.
        StateError: nothing was stored.
    """
    if verb in _WHOLE_PLAN and target.phase:
        wanted = f"the plan alone; {verb} is of whole plans"
        raise InvalidInput([Problem(f"plan {verb}", str(target), wanted, id="plan-verb-whole")])
    if target.plan == RECOVERY and verb not in _OF_RECOVERY:
        wanted = "pause or resume; `kubedcos pod restart` and `replace` do the rest"
        raise InvalidInput([Problem("plan recovery", str(verb), wanted, id="plan-verb-recovery")])
    plan = next((found for found in plans if found.name == target.plan), None)
    if plan is None:
        raise _unknown("plan", target.plan, ", ".join(found.name for found in plans))
    if target.step and not target.phase:
        raise _unknown("phase", target.phase, ", ".join(f.spec.name for f in plan.phases))
    try:
        decision = decide(
            verb, target, plan, standing(world), by=operator.who, why=operator.why, at=now
        )
    except KeyError as error:
        kind, name = ("step", target.step) if target.step else ("phase", target.phase)
        raise _unknown(kind, name, str(error.args[0])) from None
    put: list[Record] = []
    remove: list[Record] = []
    for at, asked in decision.changes.items():
        record = _record(at, asked)
        if not asked.empty:
            put.append(record)
        elif record.key in world.interruptions:
            remove.append(world.interruptions[record.key])
    what = f"plan {verb} {target}"
    noted, forgotten = action(world, operator, what, decision.sentence, now)
    world.commit([*put, noted], [*remove, *forgotten])
    return Steered(decision.sentence, decision.already)


def recovery_paused(world: World, instance: str, phases: Iterable[str]) -> str:
    """Why nothing new is begun to recover a pod instance; empty when no operator has paused it.

    Args:
        world: with what operators asked.
        instance: the pod instance.
        phases: names of the phases that its steps are in.
    """
    names = set(phases)
    for mark in world.interruptions.values():
        if mark.plan != RECOVERY or not mark.paused:
            continue
        if mark.step and mark.step.partition(":")[0] != instance:
            continue
        if mark.phase and mark.phase not in names:
            continue
        what = str(Target(mark.plan, mark.phase, mark.step))
        return f"{what} is paused by {mark.by}" + (f" ({mark.why})" if mark.why else "")
    return ""


def action(
    world: World, operator: Operator, what: str, outcome: str, now: float
) -> tuple[ActionRecord, tuple[ActionRecord, ...]]:
    """The record of an action, and the records that have to go for it."""
    number = max((found.number for found in world.actions.values()), default=0) + 1
    noted = ActionRecord(number, now, operator.who, operator.why, what, outcome)
    old = [found for found in world.actions.values() if found.number <= number - MOST_ACTIONS]
    return noted, tuple(old)


def note(world: World, operator: Operator, what: str, outcome: str, now: float) -> None:
    """Store an action that is not stored with its effect."""
    noted, forgotten = action(world, operator, what, outcome, now)
    world.commit([noted], forgotten)


def restart_in_turn(spec: ServiceSpec, world: World, plans: Iterable[Plan]) -> tuple[str, ...]:
    """Begin again the steps that operators want restarted and whose turn it is.

    Their tasks are asked to end; ended ones may be launched at once. The wish is fulfilled with
    that, and forgotten in the same write. A member of a quorum waits until the others can do
    without it: an update may have one of them down, or its agent be gone.

    Returns:
        Names of the steps.
    """
    done = []
    for step in (step for plan in plans for step in candidates(plan) if step.restarting):
        if restart_objection(spec, world, spec.pod(step.spec.pod), step.spec.index):
            continue
        put: list[Record] = []
        remove: list[Record] = []
        for name in step.spec.tasks:
            task = world.tasks.get(f"{step.spec.pod_instance}/{name}")
            if task is None:
                continue
            if task.alive:
                put.append(replace(task, kill_asked=True))
            elif succeeded(task):
                remove.append(task)
            else:
                put.append(replace(task, not_before=0.0, failures=0))
        mark = world.interruptions["/".join(step.key)]
        known = world.steps.get(mark.key, StepRecord(*step.key))
        put.append(replace(known, started_at=None, finished_at=None))
        lasting = replace(mark, restart=False)
        (put if lasting.paused or lasting.completed else remove).append(
            lasting if lasting.paused or lasting.completed else mark
        )
        world.commit(put, remove)
        done.append(step.spec.name)
    return tuple(done)


def fulfilled(world: World, plans: Iterable[Plan]) -> tuple[list[Record], list[Record]]:
    """Marks that have come true by themselves: what to write, and what to remove.

    A step that was taken for complete and is; one that was to be restarted and has nothing that
    could be; and whatever was asked of phases and steps that are no more.
    """
    if not world.interruptions:
        return [], []
    steps = {"/".join(step.key): step for plan in plans for step in plan.steps}
    phases = {f"{plan.name}/{phase.spec.name}/" for plan in plans for phase in plan.phases}
    put: list[Record] = []
    remove: list[Record] = []
    for key, mark in world.interruptions.items():
        if not mark.phase:
            continue
        if not mark.step:
            if key not in phases:
                remove.append(mark)
            continue
        step = steps.get(key)
        if step is None:
            remove.append(mark)
            continue
        left = replace(
            mark,
            completed=mark.completed and step.forced,
            restart=mark.restart and step.restarting,
        )
        if not (left.paused or left.completed or left.restart):
            remove.append(mark)
        elif left != mark:
            put.append(left)
    return put, remove


def _record(target: Target, asked: Interruption) -> InterruptionRecord:
    return InterruptionRecord(
        target.plan,
        target.phase,
        target.step,
        paused=asked.paused,
        completed=asked.completed,
        restart=asked.restart,
        by=asked.by,
        why=asked.why,
        at=asked.at,
    )


def _unknown(kind: str, name: str, known: str) -> NoSuchElement:
    problem = Problem(kind, repr(name), f"one of: {known or 'none so far'}", id=f"{kind}-unknown")
    return NoSuchElement([problem])
