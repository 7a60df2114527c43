"""Which pod instances an update may take down now, so that they come back as wanted. Pure.

An update has no state of its own: tasks carry the number of the configuration that they were
launched with, and whoever runs with one that is outdated has to be started anew. A scheduler that
is killed in the middle finds what is left to do in the records.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kubedcos.model.service import Goal, ServiceSpec, StepSpec
from kubedcos.plan.tree import Phase, Plan, Step, front_keys
from kubedcos.scheduler.decommission import under_way
from kubedcos.scheduler.invariants import has_stood
from kubedcos.scheduler.staging import outdated
from kubedcos.scheduler.task_updates import OUT_OF_REACH
from kubedcos.scheduler.world import World
from kubedcos.state.records import TaskRecord


@dataclass(frozen=True, slots=True)
class Turn:
    """Tasks of one pod instance that are to end now; the next launches bring them up to date.

    Attributes:
        empties: the instance is in use, and is to be emptied before.
    """

    pod_instance: str
    tasks: tuple[TaskRecord, ...]
    reason: str
    empties: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """Whose turn it is, and what the others wait for, by pod instance."""

    turns: tuple[Turn, ...] = ()
    waiting: dict[str, str] = field(default_factory=dict)


def rollout(spec: ServiceSpec, found: Sequence[Plan], world: World) -> Rollout:
    """Decide whose turn it is.

    Phases go in the plan's order. Within one at most `PhaseSpec.at_once` pod instances are down,
    for whatever reason: with one member of etcd away, no other one is restarted. Instances that
    are not ready anyway come first: they have nothing to lose. One that is being emptied counts as
    down until it is back in use; it has no turn any more when so many others are down.
    """
    turns: list[Turn] = []
    waiting: dict[str, str] = {}
    for plan in found:
        front = front_keys(plan)
        for phase in plan.phases:
            if not any(step.outdated for step in phase.steps):
                continue
            here = [step for step in phase.steps if step.key in front]
            chosen, told = _of_phase(spec, phase, here, world)
            turns += chosen
            waiting |= told
    return Rollout(tuple(turns), waiting)


def stale(spec: ServiceSpec, world: World) -> bool:
    """Whether any task that may be alive is outdated: a quick look before a long one."""
    return any(outdated(spec, task) and not task.kill_asked for task in world.alive)


def held_down(spec: ServiceSpec, world: World, pod: str) -> tuple[str, ...]:
    """Pod instances in whose stead another of a pod must not leave: an update has them down.

    Empty as long as fewer are down than an update may have.
    """
    for phase in (phase for plan in spec.plans for phase in plan.phases):
        instances = {step.pod_instance: step for step in phase.steps}
        if not any(step.pod == pod for step in phase.steps):
            continue
        down = sorted(
            name
            for name, step in instances.items()
            if world.recovery_of(step.pod, step.index).emptying is not None
            or any(task.kill_asked for task in world.of_pod(name))
        )
        return tuple(down) if len(down) >= phase.at_once else ()
    return ()


def _of_phase(
    spec: ServiceSpec, phase: Phase, front: Sequence[Step], world: World
) -> tuple[list[Turn], dict[str, str]]:
    down = {
        step.spec.pod_instance
        for step in phase.steps
        if _launched(step.spec, world)
        and not _serves(step.spec, world)
        and not (step not in front and _comes_later(spec, step.spec, world))
    }
    old = {step.spec.pod_instance: _to_end(spec, step.spec, world) for step in front}
    emptying = {
        step.spec.pod_instance: begun.since
        for step in phase.steps
        if (begun := world.recovery_of(step.spec.pod, step.spec.index).emptying) is not None
    }
    moving = {step.spec.pod_instance for step in phase.steps if _moves(step.spec, world)}
    # A node that leaves is one less, too: both limits count together.
    pods = {step.spec.pod for step in phase.steps}
    going = {found.pod_instance for found in under_way(spec, world) if found.pod in pods}
    away = down | moving | going | {name for name in emptying if not old.get(name)}
    turns: list[Turn] = []
    waiting: dict[str, str] = {}
    for step in sorted(front, key=lambda step: _rank(step.spec.pod_instance, down, emptying)):
        instance = step.spec.pod_instance
        if not old[instance] or instance in moving:
            continue
        others = sorted(away - {instance})
        if instance not in down and len(others) >= phase.spec.at_once:
            waiting[instance] = f"waits for {', '.join(others[:3])}"
        else:
            empties = spec.pod(step.spec.pod).emptied and instance not in down
            reason = outdated(spec, old[instance][0])
            turns.append(Turn(instance, old[instance], reason, empties))
        if instance in emptying or instance not in waiting:
            away.add(instance)
    return turns, waiting


def _rank(
    instance: str, down: Collection[str], emptying: Mapping[str, float]
) -> tuple[bool, float]:
    """Order of turns: who is down, then who is emptied already, then the others as planned."""
    return instance not in down, emptying.get(instance, math.inf)


def _moves(step: StepSpec, world: World) -> bool:
    """Whether it leaves its place anyway: elsewhere it is launched as wanted."""
    move = world.recovery_of(step.pod, step.index).replacement
    return move is not None and move.admitted_at is not None and move.settled_at is None


def _launched(step: StepSpec, world: World) -> bool:
    """Whether there ever was anything of a pod instance; new ones hold nobody up."""
    return any(f"{step.pod_instance}/{name}" in world.tasks for name in step.tasks)


def _comes_later(spec: ServiceSpec, step: StepSpec, world: World) -> bool:
    """Whether a pod instance has never stood and nothing of it runs: it waits for those before."""
    return not world.of_pod(step.pod_instance) and not has_stood(
        spec, world, spec.pod(step.pod), step.index
    )


def _serves(step: StepSpec, world: World) -> bool:
    """Whether all is well with a pod instance but that it is outdated."""
    tasks = [world.tasks.get(f"{step.pod_instance}/{name}") for name in step.tasks]
    return all(
        task is not None
        and task.ready
        and not task.kill_asked
        and (task.spec.goal is Goal.FINISHED or (task.alive and task.state == "TASK_RUNNING"))
        for task in tasks
    )


def _to_end(spec: ServiceSpec, step: StepSpec, world: World) -> tuple[TaskRecord, ...]:
    tasks = (world.tasks.get(f"{step.pod_instance}/{name}") for name in step.tasks)
    return tuple(
        task
        for task in tasks
        if task is not None
        and task.alive
        and not task.kill_asked
        and task.state not in OUT_OF_REACH
        and outdated(spec, task)
    )
