"""What a record becomes when Mesos speaks of its task."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubedcos.model.offer import Agent
from kubedcos.model.service import Goal, TaskSpec
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.task_updates import TaskUpdate, apply, lost, succeeded
from kubedcos.state.records import TaskRecord

PACE = Pace(retry_first=5.0, retry_most=40.0, stable_after=600.0)
NEW = TaskRecord("t__1", "pod", 0, TaskSpec("t", "t", 1.0, 1, 1), Agent("S", "a1"))


def heard(record: TaskRecord, state: str, now: float = 100.0, **more: object) -> TaskRecord:
    update = TaskUpdate(record.task_id, state, **more)  # type: ignore[arg-type]
    return apply(record, update, now, PACE)


def test_a_task_comes_up() -> None:
    record = heard(NEW, "TASK_STARTING", 1.0)
    record = heard(record, "TASK_RUNNING", 2.0, addresses=("10.0.0.7",))
    assert (record.state, record.running_at, record.addresses) == (
        "TASK_RUNNING",
        2.0,
        ("10.0.0.7",),
    )
    assert record.alive


def test_what_is_known_changes_nothing() -> None:
    record = heard(NEW, "TASK_RUNNING", 2.0)
    assert heard(record, "TASK_RUNNING", 9.0) is record


@pytest.mark.parametrize("state", ["TASK_FAILED", "TASK_ERROR", "TASK_FINISHED"])
def test_an_end_of_its_own_is_waited_after(state: str) -> None:
    record = heard(heard(NEW, "TASK_RUNNING"), state, 200.0)
    assert (record.ended_at, record.failures, record.not_before) == (200.0, 1, 205.0)


@pytest.mark.parametrize("state", ["TASK_KILLED", "TASK_LOST", "TASK_GONE", "TASK_DROPPED"])
def test_what_befell_it_is_made_good_at_once_but_not_over_and_over(state: str) -> None:
    first = heard(NEW, state, 200.0)
    assert first.not_before == 200.0
    second = heard(replace(NEW, failures=first.failures), state, 300.0)
    assert second.not_before == 305.0


def test_a_failing_health_check_is_the_tasks_own_fault() -> None:
    assert heard(NEW, "TASK_KILLED", 200.0, healthy=False).not_before == 205.0


def test_waits_double_up_to_a_limit() -> None:
    waits = []
    failures = 0
    for _ in range(6):
        record = heard(replace(NEW, failures=failures), "TASK_FAILED", 0.0)
        failures = record.failures
        waits.append(record.not_before)
    assert waits == [5.0, 10.0, 20.0, 40.0, 40.0, 40.0]


def test_a_long_good_time_forgives() -> None:
    ran = replace(NEW, failures=5, ready=True, state="TASK_RUNNING", running_at=0.0)
    assert heard(ran, "TASK_FAILED", 700.0).failures == 1
    assert heard(ran, "TASK_FAILED", 500.0).failures == 6


def test_an_end_that_was_asked_for_is_no_failure() -> None:
    record = heard(replace(NEW, kill_asked=True, failures=3), "TASK_KILLED", 50.0)
    assert (record.failures, record.not_before) == (0, 0.0)


def test_a_task_that_was_to_end_has_succeeded() -> None:
    job = replace(NEW, spec=replace(NEW.spec, goal=Goal.FINISHED))
    done = heard(job, "TASK_FINISHED")
    assert succeeded(done)
    assert (done.failures, done.alive) == (0, False)
    assert not succeeded(heard(job, "TASK_FAILED"))


def test_a_task_that_ends_well_while_it_is_asked_to_end_is_to_run_again() -> None:
    job = replace(NEW, spec=replace(NEW.spec, goal=Goal.FINISHED), kill_asked=True, failures=3)
    done = heard(job, "TASK_FINISHED")
    assert not succeeded(done)
    assert (done.failures, done.not_before, done.alive) == (0, 0.0, False)


def test_readiness_ends_with_the_task() -> None:
    assert not heard(replace(NEW, ready=True), "TASK_KILLED").ready


def test_a_sure_end_is_not_revoked_by_late_news() -> None:
    record = heard(NEW, "TASK_FAILED")
    assert heard(record, "TASK_RUNNING") is record
    assert heard(record, "TASK_LOST") is record


@pytest.mark.parametrize("state", ["TASK_LOST", "TASK_GONE", "TASK_DROPPED"])
def test_a_presumed_end_is_revoked_when_the_task_shows_up(state: str) -> None:
    record = heard(heard(NEW, state), "TASK_RUNNING")
    assert record.alive
    assert record.state == "TASK_RUNNING"


@pytest.mark.parametrize("state", ["TASK_UNREACHABLE", "TASK_UNKNOWN"])
def test_out_of_reach_is_not_the_end(state: str) -> None:
    record = heard(replace(heard(NEW, "TASK_RUNNING"), ready=True), state)
    assert record.alive
    assert record.ready


def test_a_task_that_is_given_up_has_ended() -> None:
    record = lost(heard(NEW, "TASK_UNKNOWN"), "nobody knows it", 9.0, PACE)
    assert (record.alive, record.state, record.message) == (False, "TASK_LOST", "nobody knows it")


@pytest.mark.parametrize("late", ["TASK_STAGING", "TASK_STARTING"])
def test_news_of_an_earlier_moment_changes_nothing(late: str) -> None:
    record = heard(NEW, "TASK_RUNNING", 2.0)
    assert heard(record, late, 9.0) is record
    ending = heard(record, "TASK_KILLING", 10.0)
    assert heard(ending, "TASK_RUNNING", 11.0) is ending


def test_a_task_that_was_out_of_reach_may_be_anything() -> None:
    lost_one = heard(heard(NEW, "TASK_RUNNING", 2.0), "TASK_UNREACHABLE", 90.0)
    assert heard(lost_one, "TASK_STARTING", 120.0).state == "TASK_STARTING"
