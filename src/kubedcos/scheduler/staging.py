"""From records to plans with statuses, and from plans to the pod instances to launch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kubedcos.model.service import Goal, PlanSpec, ServiceSpec, StepSpec
from kubedcos.offers.requirement import Requirement
from kubedcos.plan.status import Status
from kubedcos.plan.step import Stage, TaskFact
from kubedcos.plan.tree import Plan, Step, StepHistory, StepKey, candidates, grow
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.task_updates import INTENDED, succeeded
from kubedcos.scheduler.world import World
from kubedcos.state.records import StepRecord, TaskRecord

_STAGES = {
    INTENDED: Stage.INTENDED,
    "TASK_STAGING": Stage.STARTING,
    "TASK_STARTING": Stage.STARTING,
    "TASK_RUNNING": Stage.RUNNING,
    "TASK_KILLING": Stage.ENDING,
    "TASK_UNREACHABLE": Stage.UNREACHABLE,
    "TASK_UNKNOWN": Stage.UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class Due:
    """Tasks of a step that have to be launched now."""

    step: Step
    tasks: tuple[str, ...]

    @property
    def pod_instance(self) -> str:
        """The pod instance that they belong to."""
        return self.step.spec.pod_instance


def plans(spec: ServiceSpec, world: World, now: float) -> tuple[Plan, ...]:
    """All plans of the service as they stand."""
    history = {
        (record.plan, record.phase, record.step): StepHistory(
            record.started_at, record.finished_at, record.was_complete
        )
        for record in world.steps.values()
    }
    return tuple(grow(plan, _facts(spec, plan, world, now), history) for plan in spec.plans)


def due(found: Sequence[Plan], world: World) -> tuple[Due, ...]:
    """What has to be launched, each pod instance at most once.

    Nothing of a pod instance is launched while one of its tasks is being ended or is out of reach:
    its other tasks must be on the same agent, and which one that is, is not settled then.
    """
    chosen: dict[str, Due] = {}
    for step in (step for plan in found for step in candidates(plan)):
        instance = step.spec.pod_instance
        if step.status is not Status.PENDING or instance in chosen:
            continue
        if any(_unsettled(task) for task in world.of_pod(instance)):
            continue
        missing = tuple(name for name in step.spec.tasks if _absent(step.spec, name, world))
        if missing:
            chosen[instance] = Due(step, missing)
    return tuple(chosen.values())


def requirement(
    wanted: Due, spec: ServiceSpec, world: World, settings: FrameworkSettings, fresh_id: str
) -> Requirement:
    """What the tasks ask of an agent."""
    step = wanted.step.spec
    pod = spec.pod(step.pod)
    home = world.pods.get(step.pod_instance)
    siblings = world.of_pod(step.pod_instance)
    stays = home.agent if home is not None and home.confirmed else None
    agent = stays or (siblings[0].agent if siblings else None)
    # Next to a running sibling, or on volumes with data, only the earlier reservation will do.
    bound = pod.reserved and home is not None and agent is not None
    return Requirement(
        cluster=spec.name,
        role=settings.role,
        principal=settings.principal,
        pod=pod,
        index=step.index,
        launch=wanted.tasks,
        pinned=agent.id if agent else "",
        pinned_host=agent.hostname if agent else "",
        reservation_id=home.reservation_id if home else "",
        fresh_id="" if bound else fresh_id,
    )


def history(found: Sequence[Plan], world: World, now: float) -> tuple[StepRecord, ...]:
    """Step records that are out of date: steps that began, or became complete, just now."""
    changed = []
    for step in (step for plan in found for step in plan.steps):
        plan, phase, name = step.key
        old = world.steps.get("/".join(step.key), StepRecord(plan, phase, name))
        new = old
        if new.started_at is None and step.status is not Status.PENDING:
            new = replace(new, started_at=now)
        if step.status is Status.COMPLETE and (not new.was_complete or new.finished_at is None):
            new = replace(new, finished_at=now, was_complete=True)
        elif step.status is not Status.COMPLETE and new.finished_at is not None:
            new = replace(new, finished_at=None)
        if new != old:
            changed.append(new)
    return tuple(changed)


def to_probe(world: World) -> tuple[TaskRecord, ...]:
    """Tasks whose components have to be asked whether they are ready."""
    return tuple(
        task
        for task in world.tasks.values()
        if not task.ready
        and not task.kill_asked
        and (
            succeeded(task)
            or (task.spec.goal is Goal.RUNNING and task.alive and task.state == "TASK_RUNNING")
        )
    )


def _facts(
    spec: ServiceSpec, plan: PlanSpec, world: World, now: float
) -> dict[StepKey, tuple[TaskFact, ...]]:
    return {
        (plan.name, phase.name, step.name): tuple(
            _fact(spec, step, name, world, now) for name in step.tasks
        )
        for phase in plan.phases
        for step in phase.steps
    }


def _fact(spec: ServiceSpec, step: StepSpec, name: str, world: World, now: float) -> TaskFact:
    task = world.tasks.get(f"{step.pod_instance}/{name}")
    goal = _goal(spec, step, name)
    waits = world.placement.get(step.pod_instance, "")
    if task is None:
        return TaskFact(name, goal, reason=waits)
    if task.alive:
        stage = Stage.ENDING if task.kill_asked else _STAGES.get(task.state, Stage.STARTING)
        reason = world.readiness.get(task.task_id, "") or task.message
        if stage is Stage.UNREACHABLE:
            reason = f"Mesos has lost {task.agent.hostname}; the task may still run there"
        return TaskFact(name, goal, stage, ready=task.ready, reason=reason)
    if succeeded(task):
        reason = world.readiness.get(task.task_id, "")
        return TaskFact(name, goal, Stage.FINISHED, ready=task.ready, reason=reason)
    if task.not_before > now:
        why = task.message or task.reason or task.state
        return TaskFact(name, goal, Stage.FAILED, reason=why, wait_seconds=task.not_before - now)
    return TaskFact(name, goal, reason=waits)


def _goal(spec: ServiceSpec, step: StepSpec, name: str) -> Goal:
    return next(task.goal for task in spec.pod(step.pod).tasks if task.name == name)


def _absent(step: StepSpec, name: str, world: World) -> bool:
    """Whether a task has to be launched; the caller has seen that the step is pending."""
    task = world.tasks.get(f"{step.pod_instance}/{name}")
    if task is None:
        return True
    return not task.alive and not succeeded(task)


def _unsettled(task: TaskRecord) -> bool:
    out_of_reach = _STAGES.get(task.state) in (Stage.UNREACHABLE, Stage.ENDING)
    return task.kill_asked or out_of_reach
