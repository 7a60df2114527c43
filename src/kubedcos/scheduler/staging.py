"""From records to plans with statuses, and from plans to the pod instances to launch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubedcos.model.offer import Agent
from kubedcos.model.service import Goal, PlanSpec, PodSpec, ServiceSpec, StepSpec
from kubedcos.offers.requirement import Requirement
from kubedcos.plan.interruption import Standing
from kubedcos.plan.status import Status
from kubedcos.plan.step import Stage, TaskFact
from kubedcos.plan.tree import Plan, Step, StepHistory, StepKey, candidates, grow
from kubedcos.scheduler.recovery_plan import NAME, recovery_plan
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.steering import standing
from kubedcos.scheduler.task_updates import INTENDED, SURE_ENDS, succeeded
from kubedcos.scheduler.views import moment
from kubedcos.scheduler.world import World
from kubedcos.state.records import RecoveryRecord, StepRecord, TaskRecord

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


@dataclass(slots=True)
class Growth:
    """The service's own plans as they were grown last.

    They follow from facts, step records and what operators asked, and most of the time all of that
    is as it was: the very same plans are given again then.
    """

    _grown_from: tuple[object, ...] = ()
    _grown: tuple[Plan, ...] = ()

    def grown(
        self,
        spec: ServiceSpec,
        facts: Mapping[str, Mapping[StepKey, tuple[TaskFact, ...]]],
        steps: Mapping[str, StepRecord],
        asked: Standing,
    ) -> tuple[Plan, ...]:
        """The plans that follow from these; `facts` are by plan."""
        # A copy of the records' table: it changes in place, the records do not.
        grown_from = (spec, facts, dict(steps), asked)
        if grown_from != self._grown_from:
            history = {
                (record.plan, record.phase, record.step): StepHistory(
                    record.started_at, record.finished_at, record.was_complete
                )
                for record in steps.values()
            }
            self._grown = tuple(grow(plan, facts[plan.name], history, asked) for plan in spec.plans)
            self._grown_from = grown_from
        return self._grown


def plans(
    spec: ServiceSpec, world: World, now: float, growth: Growth | None = None
) -> tuple[Plan, ...]:
    """All plans of the service as they stand.

    Args:
        spec: the service.
        world: what is known.
        now: seconds since 1970.
        growth: what was grown last; without it nothing is remembered.
    """
    facts = {plan.name: _facts(spec, plan, world, now) for plan in spec.plans}
    asked = standing(world)
    grown = (growth or Growth()).grown(spec, facts, world.steps, asked)
    every = {key: found for of_plan in facts.values() for key, found in of_plan.items()}
    return (*grown, recovery_plan(spec, grown, every, world, now, asked))


def due(spec: ServiceSpec, found: Sequence[Plan], world: World) -> tuple[Due, ...]:
    """What has to be launched, each pod instance at most once.

    Nothing of a pod instance is launched while one of its tasks is being ended or is out of reach:
    its other tasks must be on the same agent, and which one that is, is not settled then.
    """
    chosen: dict[str, Due] = {}
    for step in (step for plan in found for step in candidates(plan)):
        instance = step.spec.pod_instance
        if step.status is not Status.PENDING or step.restarting or instance in chosen:
            continue
        if instance in world.blocked or _leaving(instance, world):
            continue
        if any(_unsettled(task) for task in world.of_pod(instance)):
            continue
        missing = tuple(name for name in step.spec.tasks if _absent(spec, step.spec, name, world))
        if missing:
            chosen[instance] = Due(step, missing)
    return tuple(chosen.values())


def requirement(
    wanted: Due,
    spec: ServiceSpec,
    world: World,
    settings: FrameworkSettings,
    fresh_id: str,
    *,
    returns: bool = False,
) -> Requirement:
    """What the tasks ask of an agent.

    Args:
        wanted: the tasks.
        spec: the service.
        world: what is known.
        settings: who the framework is to Mesos.
        fresh_id: for a reservation, if one has to be made.
        returns: the agent that the pod instance is leaving will do, too.
    """
    step = wanted.step.spec
    pod = spec.pod(step.pod)
    home = world.pods.get(step.pod_instance)
    siblings = world.of_pod(step.pod_instance)
    stays = home.agent if home is not None and home.confirmed else None
    agent = stays or (siblings[0].agent if siblings else _keeps_to(world, pod, step.index))
    # Next to a running sibling, or on volumes with data, only the earlier reservation will do.
    bound = pod.reserved and home is not None and agent is not None
    return Requirement(
        cluster=spec.name,
        role=pod.role or settings.role,
        principal=settings.principal,
        pod=pod,
        index=step.index,
        launch=wanted.tasks,
        pinned=agent.id if agent else "",
        pinned_host=agent.hostname if agent else "",
        reservation_id=home.reservation_id if home else "",
        fresh_id="" if bound else fresh_id,
        avoid=_avoided(step.pod_instance, world, returns=returns),
    )


def placed_anew(
    spec: ServiceSpec,
    world: World,
    settings: FrameworkSettings,
    pod: PodSpec,
    index: int,
    avoid: Mapping[str, str],
) -> Requirement:
    """What a pod instance would ask of an agent if it had no place yet."""
    return Requirement(
        cluster=spec.name,
        role=settings.role,
        principal=settings.principal,
        pod=pod,
        index=index,
        launch=tuple(task.name for task in pod.tasks),
        fresh_id="-",
        avoid={**_avoided(pod.instance(index), world), **avoid},
    )


def last_place(world: World, pod: PodSpec, index: int) -> Agent | None:
    """The agent on which a pod instance ran last; None if it never ran."""
    ran = [
        task
        for name in pod.tasks
        if (task := world.tasks.get(f"{pod.instance(index)}/{name.name}")) is not None
        and task.running_at is not None
    ]
    return max(ran, key=lambda task: task.intended_at).agent if ran else None


def history(found: Sequence[Plan], world: World, now: float) -> tuple[StepRecord, ...]:
    """Step records that are out of date: steps that began, or became complete, just now."""
    changed = []
    for step in (step for plan in found for step in plan.steps):
        plan, phase, name = step.key
        old = world.steps.get("/".join(step.key), StepRecord(plan, phase, name))
        new = old
        if plan == NAME and new.finished_at is not None and step.status is not Status.COMPLETE:
            new = StepRecord(plan, phase, name, started_at=now)
        if new.started_at is None and (plan == NAME or step.status is not Status.PENDING):
            new = replace(new, started_at=now)
        earlier = new.was_complete or step.forced
        if step.status is Status.COMPLETE and (not earlier or new.finished_at is None):
            new = replace(new, finished_at=now, was_complete=new.was_complete or not step.forced)
        elif step.status is not Status.COMPLETE and new.finished_at is not None:
            new = replace(new, finished_at=None)
        if step.stands and not new.was_complete:
            # It is to be done again; that it has stood counts all the same.
            new = replace(new, was_complete=True)
        if new != old:
            changed.append(new)
    return tuple(changed)


def to_probe(world: World) -> tuple[TaskRecord, ...]:
    """Tasks whose components have to be asked whether they are ready."""
    return world.unready


def _facts(
    spec: ServiceSpec, plan: PlanSpec, world: World, now: float
) -> dict[StepKey, tuple[TaskFact, ...]]:
    pods = {pod.name: pod for pod in spec.pods}
    return {
        (plan.name, phase.name, step.name): _facts_of(spec, pods[step.pod], step, world, now)
        for phase in plan.phases
        for step in phase.steps
    }


def _facts_of(
    spec: ServiceSpec, pod: PodSpec, step: StepSpec, world: World, now: float
) -> tuple[TaskFact, ...]:
    """What is known of a step's tasks. Each round asks for every step: one look for all of them."""
    instance = step.pod_instance
    goals = {task.name: task.goal for task in pod.tasks}
    wanted = world.recovery.get(instance)
    return tuple(
        _fact(spec, pod, instance, name, goals[name], wanted, world, now) for name in step.tasks
    )


def _fact(
    spec: ServiceSpec,
    pod: PodSpec,
    instance: str,
    name: str,
    goal: Goal,
    wanted: RecoveryRecord | None,
    world: World,
    now: float,
) -> TaskFact:
    task = world.tasks.get(f"{instance}/{name}")
    outcome = world.placement.get(instance)
    waits = outcome.reason if outcome is not None else ""
    if wanted is not None and name in wanted.paused and (task is None or not task.alive):
        reason = f"an operator wants it so since {moment(wanted.paused_at)}"
        return TaskFact(name, goal, Stage.PAUSED, reason=reason)
    if task is None:
        return TaskFact(name, goal, reason=waits)
    old = outdated(spec, task)
    if task.alive:
        stage = Stage.ENDING if task.kill_asked else _STAGES.get(task.state, Stage.STARTING)
        reason = world.readiness.get(task.task_id, "") or _summary(task.message)
        if stage is Stage.UNREACHABLE:
            lost = f"Mesos has lost {task.agent.hostname}; the task may still run there"
            reason = world.waits.get(instance, lost)
        elif old and stage is not Stage.ENDING:
            waiting = world.rollout.get(instance, "")
            why = f"{old}; {waiting}" if waiting else old
            return TaskFact(name, goal, Stage.OUTDATED, task.ready, why, outdated=True)
        ready = task.ready
        emptied = wanted is not None and wanted.emptying is not None
        if ready and emptied and pod.tasks[0].name == name:
            # One task stands for the pod instance, which nobody may use yet.
            ready = False
            reason = world.rollout.get(instance, "") or "is not in use yet"
        return TaskFact(name, goal, stage, ready=ready, reason=reason)
    if succeeded(task):
        if old:
            why = f"{name} is to run again: {old}"
            return TaskFact(name, goal, reason=waits or why, outdated=True)
        reason = world.readiness.get(task.task_id, "")
        return TaskFact(name, goal, Stage.FINISHED, ready=task.ready, reason=reason)
    if task.not_before > now and not _set_back(task, now):
        why = _summary(task.message) or task.reason or task.state
        return TaskFact(name, goal, Stage.FAILED, reason=why, wait_seconds=task.not_before - now)
    return TaskFact(name, goal, reason=waits)


def _summary(message: str) -> str:
    """The first line: Mesos adds forty of statistics when memory was not enough."""
    return message.partition("\n")[0]


def outdated(spec: ServiceSpec, task: TaskRecord) -> str:
    """Why a task has to be started anew although it runs or has ended well; empty if not."""
    if task.configuration == spec.target:
        return ""
    return spec.outdated.get((task.configuration, task.pod, task.spec.name), "")


def _absent(spec: ServiceSpec, step: StepSpec, name: str, world: World) -> bool:
    """Whether a task has to be launched; the caller has seen that the step is pending."""
    task = world.tasks.get(f"{step.pod_instance}/{name}")
    if name in world.recovery_of(step.pod, step.index).paused:
        return False
    if task is None:
        return True
    return not task.alive and (not succeeded(task) or bool(outdated(spec, task)))


def _leaving(instance: str, world: World) -> bool:
    """Whether a pod instance is about to leave its place: nothing is launched there any more."""
    record = world.recovery.get(instance)
    move = record.replacement if record is not None else None
    return move is not None and move.admitted_at is not None and move.settled_at is None


def _keeps_to(world: World, pod: PodSpec, index: int) -> Agent | None:
    """Where a pod instance without reservation is started again: where it ran, if that is there."""
    move = world.recovery_of(pod.name, index).replacement
    waits = move is None or move.admitted_at is None
    agent = last_place(world, pod, index) if waits else None
    if agent is None or pod.reserved or not _ended_there(world, pod, index):
        return None
    return agent if agent.id in world.agents and not world.is_lost(agent) else None


def _ended_there(world: World, pod: PodSpec, index: int) -> bool:
    """Whether the tasks ended by themselves or by our wish, with their agent in place."""
    found = [world.tasks.get(f"{pod.instance(index)}/{task.name}") for task in pod.tasks]
    return all(task.state in SURE_ENDS for task in found if task is not None)


def _avoided(instance: str, world: World, *, returns: bool = False) -> dict[str, str]:
    """Agents that a pod instance must not go to, with a clause that says why."""
    avoided = {
        agent_id: f"is to be maintained from {moment(start)}"
        for agent_id, start in world.maintenance.items()
    }
    record = world.recovery.get(instance)
    move = record.replacement if record is not None else None
    if move is not None and move.agent is not None and move.admitted_at is not None and not returns:
        avoided[move.agent.id] = f"is what {instance} leaves"
    return avoided


def _set_back(task: TaskRecord, now: float) -> bool:
    """Whether the clock was set back since the task ended: its wait cannot be told any more."""
    return task.ended_at is not None and task.ended_at > now


def _unsettled(task: TaskRecord) -> bool:
    out_of_reach = _STAGES.get(task.state) in (Stage.UNREACHABLE, Stage.ENDING)
    return task.kill_asked or out_of_reach
