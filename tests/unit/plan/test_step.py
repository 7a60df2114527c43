"""From tasks to the status of a step and its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubedcos.model.service import Goal
from kubedcos.plan.status import Status
from kubedcos.plan.step import Stage, TaskFact, judge

KUBELET = TaskFact("kubelet", Goal.RUNNING, Stage.RUNNING, ready=True)
APPLY = TaskFact("apply", Goal.FINISHED, Stage.FINISHED, ready=True)


def test_all_goals_reached_is_complete() -> None:
    assert judge([KUBELET, APPLY]) == (Status.COMPLETE, "")


@pytest.mark.parametrize(
    ("stage", "status"),
    [
        (Stage.ABSENT, Status.PENDING),
        (Stage.INTENDED, Status.PREPARED),
        (Stage.STARTING, Status.STARTING),
        (Stage.RUNNING, Status.STARTED),
        (Stage.ENDING, Status.PENDING),
        (Stage.UNREACHABLE, Status.PENDING),
        (Stage.FAILED, Status.DELAYED),
        (Stage.FINISHED, Status.STARTED),
    ],
)
def test_the_least_advanced_task_decides(stage: Stage, status: Status) -> None:
    task = replace(KUBELET, name="proxy", stage=stage, ready=False)
    found, reason = judge([KUBELET, task])
    assert found is status
    assert "proxy" in reason
    assert "kubelet" not in reason


def test_ready_is_not_enough_for_a_task_that_does_not_run() -> None:
    assert judge([replace(KUBELET, stage=Stage.UNREACHABLE)])[0] is Status.PENDING


def test_a_task_that_was_to_end_is_not_done_while_it_runs() -> None:
    assert judge([replace(APPLY, stage=Stage.RUNNING)]) == (
        Status.STARTED,
        "apply runs; the step is complete when it ends well",
    )


def test_a_task_that_starts_is_not_said_to_run_and_one_that_lasts_not_to_end() -> None:
    starts = replace(APPLY, stage=Stage.STARTING, ready=False)
    assert judge([starts]) == (Status.STARTING, "apply is starting")
    runs = replace(KUBELET, ready=False, reason="no node yet")
    assert judge([runs]) == (Status.STARTED, "kubelet runs but is not ready: no node yet")


def test_a_failure_says_why_and_when_it_goes_on() -> None:
    task = replace(KUBELET, stage=Stage.FAILED, ready=False, reason="exit 3", wait_seconds=4.6)
    assert judge([task]) == (
        Status.DELAYED,
        "kubelet failed (exit 3); next attempt in 5 s",
    )


def test_the_reason_of_placement_is_told_once() -> None:
    short = "needs 3 cpus; best offer: 2.1 (b1)"
    tasks = [TaskFact(name, Goal.RUNNING, reason=short) for name in ("kubelet", "proxy")]
    assert judge(tasks) == (Status.PENDING, short)
