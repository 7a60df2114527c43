"""From what is known of a step's tasks to the status of the step and a sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubedcos.model.service import Goal
from kubedcos.plan.status import Status


class Stage(StrEnum):
    """Where a task stands, as far as a plan cares."""

    ABSENT = "ABSENT"
    """There is none, or the last one ended and a new one may be launched."""
    INTENDED = "INTENDED"
    """The intent to launch it is stored; Mesos has not spoken of it."""
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    ENDING = "ENDING"
    """Asked to end, or Mesos says that it is being killed."""
    OUTDATED = "OUTDATED"
    """It runs with an earlier configuration and is to be started anew."""
    UNREACHABLE = "UNREACHABLE"
    """Mesos has lost its agent; it may still run, so no other is started."""
    FAILED = "FAILED"
    """It ended and is not to be started again before some time."""
    FINISHED = "FINISHED"
    """It ended with success."""
    PAUSED = "PAUSED"
    """An operator does not want it to run."""


@dataclass(frozen=True, slots=True)
class TaskFact:
    """What is known of one task of a step.

    Attributes:
        ready: the component itself said so (persisted once it did).
        reason: what the component, Mesos or offer evaluation says while it is not ready.
        wait_seconds: for FAILED, time until the next attempt.
        outdated: an update has to start it anew, in the plan's order.
    """

    name: str
    goal: Goal
    stage: Stage = Stage.ABSENT
    ready: bool = False
    reason: str = ""
    wait_seconds: float = 0.0
    outdated: bool = False

    @property
    def done(self) -> bool:
        """Whether the task has reached its goal."""
        at_goal = Stage.RUNNING if self.goal is Goal.RUNNING else Stage.FINISHED
        return self.ready and self.stage is at_goal


def judge(tasks: Sequence[TaskFact]) -> tuple[Status, str]:
    """Status of a step of these tasks, with the reason why it is not complete.

    The least advanced task decides: a failed one before an absent one before a starting one.
    """
    open_tasks = [task for task in tasks if not task.done]
    if not open_tasks:
        return Status.COMPLETE, ""
    for stage in _LEAST_FIRST:
        found = [task for task in open_tasks if task.stage is stage]
        if found:
            return _STATUS[stage], _sentence(stage, found)
    return Status.STARTED, _sentence(Stage.RUNNING, open_tasks)


_STATUS = {
    Stage.FAILED: Status.DELAYED,
    Stage.ABSENT: Status.PENDING,
    Stage.UNREACHABLE: Status.PENDING,
    Stage.ENDING: Status.PENDING,
    Stage.OUTDATED: Status.PENDING,
    Stage.INTENDED: Status.PREPARED,
    Stage.STARTING: Status.STARTING,
    Stage.PAUSED: Status.WAITING,
}
_LEAST_FIRST = tuple(_STATUS)

_PHRASE = {
    Stage.ABSENT: "is not launched",
    Stage.UNREACHABLE: "is on an unreachable agent",
    Stage.ENDING: "is ending",
    Stage.OUTDATED: "is to be restarted",
    Stage.INTENDED: "was sent to Mesos",
    Stage.STARTING: "is starting",
    Stage.PAUSED: "is paused",
    Stage.RUNNING: "runs but is not ready",
    Stage.FINISHED: "ended well but its result is not there",
}


def _sentence(stage: Stage, tasks: Sequence[TaskFact]) -> str:
    return "; ".join(dict.fromkeys(_clause(stage, task) for task in tasks))


def _clause(stage: Stage, task: TaskFact) -> str:
    if stage is Stage.FAILED:
        why = f" ({task.reason})" if task.reason else ""
        return f"{task.name} failed{why}; next attempt in {task.wait_seconds:.0f} s"
    if stage is Stage.ABSENT and task.reason:
        return task.reason
    phrase = _PHRASE.get(task.stage, _PHRASE[Stage.RUNNING])
    if task.stage is Stage.RUNNING and task.goal is Goal.FINISHED:
        phrase = "runs; the step is complete when it ends well"
    return f"{task.name} {phrase}: {task.reason}" if task.reason else f"{task.name} {phrase}"
