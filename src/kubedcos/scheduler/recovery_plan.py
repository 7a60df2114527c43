"""Plan ``recovery``: what was complete and is not any more, and what is done about it. Pure.

As in the DC/OS SDK it stands beside ``deploy``, which stays complete. A step concerns one pod
instance; what has recovered is shown for a while, so that a person sees what happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from kubedcos.model.service import PhaseSpec, ServiceSpec, StepSpec, Strategy
from kubedcos.plan.interruption import NOT_INTERRUPTED, Standing, Target
from kubedcos.plan.status import Status, aggregate
from kubedcos.plan.step import TaskFact, judge
from kubedcos.plan.tree import Phase, Plan, Step, StepKey
from kubedcos.scheduler.world import World
from kubedcos.state.records import Replacement, StepRecord

NAME: Final = "recovery"
SHOWN_FOR: Final = 3600.0
"""Seconds for which a recovered pod instance stays in the plan."""

Facts = Mapping[StepKey, Sequence[TaskFact]]


def recovery_plan(
    spec: ServiceSpec,
    plans: Sequence[Plan],
    facts: Facts,
    world: World,
    now: float,
    standing: Standing | None = None,
) -> Plan:
    """The plan as it stands.

    Args:
        spec: the service.
        plans: the other plans; what is complete there may need recovery.
        facts: what is known of the tasks of their steps.
        world: wishes, waits and earlier recoveries.
        now: seconds since 1970.
        standing: what operators have asked; recovery is paused and resumed as other plans are.
    """
    asked = standing or {}
    steps: dict[str, list[Step]] = {}
    found: dict[StepKey, tuple[TaskFact, ...]] = {}
    for plan in plans:
        for step in plan.steps:
            if step.status is not Status.COMPLETE or not step.was_complete:
                continue
            known_facts = facts.get(step.key, ())
            if _concerns(step.spec.pod_instance, known_facts, world):
                _collect(step, known_facts, steps, found)
    for phase, open_steps in list(steps.items()):
        judged = [_judged(step, found[step.key], world) for step in open_steps]
        steps[phase] = [_held(step, asked) for step in judged if step is not None]
    known = {step.key for phase in steps.values() for step in phase}
    for record in world.steps.values():
        key = (record.plan, record.phase, record.step)
        if record.plan != NAME or key in known or _forgotten(record, now):
            continue
        if (past := _recovered(spec, record)) is not None:
            steps.setdefault(record.phase, []).append(past)
    phases = [_phase(name, part) for name, part in steps.items() if part]
    statuses = [phase.status for phase in phases]
    paused = asked.get(Target(NAME), NOT_INTERRUPTED).paused
    return Plan(NAME, aggregate(statuses, statuses), tuple(phases), paused=paused, endless=True)


def forgotten(world: World, now: float) -> list[StepRecord]:
    """Records of recoveries that are not shown any more."""
    return [
        record for record in world.steps.values() if record.plan == NAME and _forgotten(record, now)
    ]


def way_back(instance: str) -> str:
    """The command by which a person takes back that a pod instance be replaced."""
    return f"`kubedcos pod replace {instance} --cancel`"


def _concerns(instance: str, facts: Sequence[TaskFact], world: World) -> bool:
    return (
        instance in world.recovery
        or instance in world.waits
        or any(not fact.done for fact in facts)
    )


def _collect(
    step: Step,
    facts: Sequence[TaskFact],
    steps: dict[str, list[Step]],
    found: dict[StepKey, tuple[TaskFact, ...]],
) -> None:
    """Note a complete step; steps of one pod instance become one."""
    of_phase = steps.setdefault(step.phase, [])
    mate = next(
        (known for known in of_phase if known.spec.pod_instance == step.spec.pod_instance), None
    )
    tasks = (*mate.spec.tasks, *step.spec.tasks) if mate is not None else step.spec.tasks
    name = f"{step.spec.pod_instance}:[{', '.join(tasks)}]"
    merged = replace(
        step,
        plan=NAME,
        spec=StepSpec(name, step.spec.pod, step.spec.index, tasks),
        started_at=None,
        finished_at=None,
    )
    if mate is not None:
        of_phase.remove(mate)
        facts = (*found.pop(mate.key), *facts)
    of_phase.append(merged)
    found[merged.key] = tuple(facts)


def _judged(step: Step, facts: Sequence[TaskFact], world: World) -> Step | None:
    """The step if there is anything to recover."""
    instance = step.spec.pod_instance
    record = world.recovery.get(instance)
    move = record.replacement if record is not None else None
    waits = world.waits.get(instance, "")
    status, reason = judge(facts)
    if status is Status.COMPLETE and move is None and not waits:
        return None
    if move is not None and move.admitted_at is not None and move.settled_at is None:
        status, reason = Status.IN_PROGRESS, waits or move.reason
    elif status in (Status.COMPLETE, Status.PENDING):
        status, reason = Status.PENDING, waits or reason
    if move is not None and move.settled_at is not None:
        reason = f"{_moved(move)}: {reason}" if reason else _moved(move)
        if move.by_operator and move.agent is not None and instance in world.placement:
            reason += f"; {way_back(instance)} lets it go back to {move.agent.hostname}, too"
    past = world.steps.get("/".join(step.key))
    began = past.started_at if past is not None and past.finished_at is None else None
    return replace(step, status=status, reason=reason, started_at=began)


def _held(step: Step, asked: Standing) -> Step:
    """The step, waiting if an operator has paused it, its phase or the plan."""
    if step.status not in (Status.PENDING, Status.DELAYED):
        return step
    for target in (Target(*step.key), Target(NAME, step.phase), Target(NAME)):
        found = asked.get(target, NOT_INTERRUPTED)
        if found.paused:
            return replace(step, status=Status.WAITING, reason=f"{target} paused {found.origin}")
    return step


def _moved(move: Replacement) -> str:
    where = f" from {move.agent.hostname}" if move.agent else ""
    return f"moves{where} ({move.reason})"


def _forgotten(record: StepRecord, now: float) -> bool:
    return record.finished_at is not None and now - record.finished_at >= SHOWN_FOR


def _recovered(spec: ServiceSpec, record: StepRecord) -> Step | None:
    """A step that has recovered; None if the service has no such pod instance any more."""
    instance, _, names = record.step.removesuffix("]").partition(":[")
    name, _, number = instance.rpartition("-")
    pod = next((pod for pod in spec.pods if pod.name == name), None)
    if pod is None or not number.isdecimal() or int(number) not in pod.indices:
        return None
    return Step(
        plan=NAME,
        phase=record.phase,
        spec=StepSpec(record.step, name, int(number), tuple(names.split(", "))),
        status=Status.COMPLETE,
        reason="",
        started_at=record.started_at,
        finished_at=record.finished_at,
        was_complete=True,
    )


def _phase(name: str, steps: Sequence[Step]) -> Phase:
    statuses = [step.status for step in steps]
    spec = PhaseSpec(name, Strategy.PARALLEL, tuple(step.spec for step in steps))
    return Phase(spec, aggregate(statuses, statuses), tuple(steps))
