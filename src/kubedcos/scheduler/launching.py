"""A placement becomes stored intents, and then one ACCEPT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kubedcos.mesos import messages as wire
from kubedcos.model.service import Goal
from kubedcos.offers.evaluation import Verdict
from kubedcos.offers.fit import Fit, Grant
from kubedcos.offers.requirement import Requirement
from kubedcos.scheduler import translate
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.staging import Due
from kubedcos.scheduler.task_updates import TaskUpdate, apply
from kubedcos.scheduler.workload import Workload
from kubedcos.scheduler.world import Record, World, launch_of
from kubedcos.state.records import PodRecord, ReservationRecord, StepRecord, TaskRecord


@dataclass(frozen=True, slots=True)
class Intent:
    """What was stored before Mesos is asked."""

    tasks: tuple[TaskRecord, ...]
    grants: tuple[Grant, ...]
    fit: Fit
    verdict: Verdict


def intend(
    world: World,
    wanted: Due,
    requirement: Requirement,
    verdict: Verdict,
    now: float,
    new_id: Callable[[], str],
    configuration: int = 0,
) -> Intent:
    """Store the intent to launch: tasks, home and reservation of the pod, start of the step.

    From here on the tasks count as alive until Mesos says otherwise: whatever happens to this
    program, they are not launched a second time.
    """
    fit = verdict.fit
    assert fit is not None
    agent = verdict.offers.agent
    specs = {task.name: task for task in requirement.to_launch}
    tasks = []
    for grant in fit.grants:
        old = world.tasks.get(f"{requirement.pod_instance}/{grant.task}")
        name = f"{requirement.pod_instance}-{grant.task}"
        tasks.append(
            TaskRecord(
                task_id=f"{name}__{new_id()}",
                pod=requirement.pod.name,
                index=requirement.index,
                spec=specs[grant.task],
                agent=agent,
                ports=grant.ports,
                volumes=grant.volumes,
                failures=old.failures if old is not None else 0,
                intended_at=now,
                state_at=now,
                configuration=configuration,
            )
        )
    records: list[Record] = [*tasks, *_home(world, requirement, verdict, now)]
    step = wanted.step
    known = world.steps.get("/".join(step.key), StepRecord(*step.key))
    if known.started_at is None:
        records.append(replace(known, started_at=now))
    world.commit(records)
    world.placement.pop(requirement.pod_instance, None)
    return Intent(tuple(tasks), fit.grants, fit, verdict)


def accept(
    world: World,
    intent: Intent,
    workload: Workload,
    *,
    cluster: str,
    role: str,
    refuse_seconds: float,
) -> wire.Call:
    """The ACCEPT of an intent: what reservations and volumes need, and one LAUNCH of all tasks.

    Raises:
        Exception: whatever the workload raises while it makes a command; nothing was sent.
    """
    peers = world.running()
    infos = []
    for task, grant in zip(intent.tasks, intent.grants, strict=True):
        launch = launch_of(task)
        command = workload.command(launch, peers)
        infos.append(
            translate.task_info(launch, command, grant.resources, cluster=cluster, role=role)
        )
    operations = []
    if intent.fit.unreserve:
        operations.append(translate.unreserve(intent.fit.unreserve, role))
    if intent.fit.reserve:
        operations.append(translate.reserve(intent.fit.reserve, role))
    if intent.fit.create:
        operations.append(translate.create(intent.fit.create, role))
    operations.append(translate.launch(infos))
    return translate.accept(intent.verdict.offers.offer_ids, operations, refuse_seconds)


def withdraw(
    world: World, tasks: Sequence[TaskRecord], state: str, message: str, now: float, pace: Pace
) -> None:
    """The launch did not take place: the tasks have ended before they began."""
    world.commit(apply(task, TaskUpdate(task.task_id, state, message), now, pace) for task in tasks)


def confirmed(world: World, task: TaskRecord) -> tuple[PodRecord, ...]:
    """The home of a pod becomes its home for good once a task has run there."""
    home = world.pods.get(task.pod_instance)
    ran = task.state in ("TASK_STARTING", "TASK_RUNNING") or task.running_at is not None
    ran = ran or (task.spec.goal is Goal.FINISHED and task.state == "TASK_FINISHED")
    if home is None or home.confirmed or not ran or home.agent.id != task.agent.id:
        return ()
    return (replace(home, confirmed=True),)


def _home(
    world: World, requirement: Requirement, verdict: Verdict, now: float
) -> tuple[PodRecord | ReservationRecord, ...]:
    if not requirement.pod.reserved or verdict.fit is None:
        return ()
    agent = verdict.offers.agent
    known = world.pods.get(requirement.pod_instance)
    reservation_id = verdict.fit.reservation_id
    if known is not None and known.reservation_id == reservation_id and known.agent == agent:
        return ()
    home = PodRecord(requirement.pod.name, requirement.index, agent, reservation_id)
    asked = ReservationRecord(reservation_id, requirement.pod_instance, agent, now)
    return (home, asked)
