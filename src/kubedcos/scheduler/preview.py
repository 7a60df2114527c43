"""What a change of the service would do, step by step, before anything is done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kubedcos.model.service import Goal, ServiceSpec, StepSpec
from kubedcos.scheduler.decommission import DECOMMISSION, surplus
from kubedcos.scheduler.staging import outdated
from kubedcos.scheduler.world import World
from kubedcos.state.records import TaskRecord


class Doing(StrEnum):
    """What a step does."""

    START = "start"
    """What is not there yet is launched."""
    RESTART = "restart"
    """What runs is ended and launched anew."""
    RUN = "run again"
    """What has ended well is run again; nothing is interrupted."""
    REMOVE = "remove"
    """What runs is ended for good, and its reservations are released."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One step that would run.

    Attributes:
        tasks: names of the tasks concerned.
        reason: which options ask for it; empty where a step is simply new.
    """

    plan: str
    phase: str
    step: str
    pod_instance: str
    doing: Doing
    tasks: tuple[str, ...]
    reason: str = ""


def preview(spec: ServiceSpec, world: World) -> tuple[Planned, ...]:
    """Steps that a scheduler with this service would run on these records, in their order.

    Steps that are open already for another reason are left out: they are no part of the change.
    """
    found = [
        planned
        for plan in spec.plans
        for phase in plan.phases
        for step in phase.steps
        if (planned := _planned(spec, plan.name, phase.name, step, world)) is not None
    ]
    found += [
        Planned(
            DECOMMISSION,
            leaving.pod,
            leaving.step_name,
            leaving.pod_instance,
            Doing.REMOVE,
            leaving.tasks,
        )
        for leaving in surplus(spec, world)
    ]
    return tuple(found)


def _planned(
    spec: ServiceSpec, plan: str, phase: str, step: StepSpec, world: World
) -> Planned | None:
    tasks = {name: world.tasks.get(f"{step.pod_instance}/{name}") for name in step.tasks}
    old = {name: why for name, task in tasks.items() if task and (why := outdated(spec, task))}
    where = (plan, phase, step.name, step.pod_instance)
    if old:
        known = [task for name in old if (task := tasks[name]) is not None]
        doing = Doing.RUN if all(_finished(task) for task in known) else Doing.RESTART
        return Planned(*where, doing, tuple(old), "; ".join(dict.fromkeys(old.values())))
    record = world.steps.get(f"{plan}/{phase}/{step.name}")
    new = tuple(name for name, task in tasks.items() if task is None)
    if new and (record is None or record.was_complete or record.started_at is None):
        return Planned(*where, Doing.START, new)
    return None


def _finished(task: TaskRecord) -> bool:
    return task.spec.goal is Goal.FINISHED
