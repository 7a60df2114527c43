"""Which tasks are asked for, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubedcos.model.offer import Agent
from kubedcos.model.service import TaskSpec
from kubedcos.scheduler.reconciliation import Reconciliation
from kubedcos.scheduler.settings import Pace
from kubedcos.state.records import TaskRecord

PACE = Pace(reconcile_first=2.0, reconcile_most=8.0, reconcile_all=900.0, linger=10.0)
SPEC = TaskSpec("t", "t", 1.0, 1, 1)
ONE = TaskRecord("one", "pod", 0, SPEC, Agent("S", "a1"), state="TASK_RUNNING")
TWO = replace(ONE, task_id="two", index=1)


@pytest.fixture
def reconciliation() -> Reconciliation:
    made = Reconciliation(PACE)
    made.begin({"one", "two"}, 0.0)
    return made


def asked(reconciliation: Reconciliation, now: float, *alive: TaskRecord) -> list[str]:
    return [task.task_id for task in reconciliation.explicit(alive or (ONE, TWO), now, now)]


def test_every_task_is_asked_for_at_the_beginning(reconciliation: Reconciliation) -> None:
    assert asked(reconciliation, 0.0) == ["one", "two"]


def test_what_is_not_answered_is_asked_again_at_growing_intervals(
    reconciliation: Reconciliation,
) -> None:
    times = [now for now in range(60) if asked(reconciliation, float(now))]
    assert times == [0, 2, 6, 14, 22, 30, 38, 46, 54]


def test_what_is_answered_is_not_asked_again(reconciliation: Reconciliation) -> None:
    asked(reconciliation, 0.0)
    reconciliation.answered("one")
    assert asked(reconciliation, 2.0) == ["two"]
    reconciliation.answered("two")
    assert asked(reconciliation, 60.0) == []


def test_a_task_that_lingers_is_asked_for(reconciliation: Reconciliation) -> None:
    for task_id in ("one", "two"):
        reconciliation.answered(task_id)
    silent = replace(ONE, state="INTENDED", state_at=100.0)
    assert asked(reconciliation, 105.0, silent) == []
    assert asked(reconciliation, 111.0, silent) == ["one"]


def test_a_question_is_asked_at_once(reconciliation: Reconciliation) -> None:
    for task_id in ("one", "two"):
        reconciliation.answered(task_id)
    asked(reconciliation, 10.0)
    reconciliation.question("two", 10.5)
    assert asked(reconciliation, 10.5) == ["two"]


def test_everything_is_asked_for_now_and_then(reconciliation: Reconciliation) -> None:
    assert not reconciliation.implicit(899.0)
    assert reconciliation.implicit(900.0)
    assert not reconciliation.implicit(901.0)
    assert reconciliation.implicit(1800.0)


def test_a_clock_that_was_set_back_keeps_nobody_from_asking(
    reconciliation: Reconciliation,
) -> None:
    for task_id in ("one", "two"):
        reconciliation.answered(task_id)
    silent = replace(ONE, state="INTENDED", state_at=7300.0)
    assert asked(reconciliation, 100.0, silent) == ["one"]
