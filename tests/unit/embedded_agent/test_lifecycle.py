from typing import Any

import pytest

from kubedcos.embedded.agent.executor.lifecycle import Lifecycle, TaskRules, describe_exit

TERM, KILL = 15, 9


def states(statuses: list[dict[str, Any]]) -> list[str]:
    return [status["state"] for status in statuses]


def running(**rules: Any) -> Lifecycle:
    life = Lifecycle(TaskRules("t", **rules))
    life.starting()
    life.running(0.0)
    return life


@pytest.mark.parametrize(
    ("wait_status", "state", "message"),
    [
        (0, "TASK_FINISHED", "Command exited with status 0"),
        (3 << 8, "TASK_FAILED", "Command exited with status 3"),
        (9, "TASK_FAILED", "Command terminated with signal Killed"),
    ],
)
def test_a_command_that_ends_by_itself(wait_status: int, state: str, message: str) -> None:
    (status,) = running().exited(wait_status)
    assert (status["state"], status["message"]) == (state, message)
    assert "reason" not in status


def test_a_core_dump_is_told() -> None:
    assert describe_exit(11 | 0x80).endswith("Segmentation fault (core dumped)")


def test_a_killed_task_is_killed_even_when_it_ends_well() -> None:
    life = running(reports_killing=True)
    assert states(life.kill(1.0)) == ["TASK_KILLING"]
    (status,) = life.exited(0)
    assert (status["state"], status["message"]) == ("TASK_KILLED", "Command exited with status 0")


def test_killing_is_only_told_to_those_who_understand_it() -> None:
    assert running().kill(1.0) == []


def test_term_then_kill_after_the_grace_period() -> None:
    life = running(kill_grace=2.0)
    life.kill(10.0)
    assert life.signal_due(10.0) == TERM
    assert life.signal_due(11.9) is None
    assert life.next_deadline() == 12.0
    assert life.signal_due(12.0) == KILL
    assert life.next_deadline() is None


def test_a_policy_of_the_call_is_lost_with_default_flags() -> None:
    life = running(kill_grace=60.0)
    life.kill(0.0, 1.0)
    life.signal_due(0.0)
    assert life.next_deadline() == 60.0


def test_a_second_kill_may_shorten_the_grace_period() -> None:
    life = running(kill_grace=60.0, kill_policy_of_call_counts=True)
    life.kill(0.0)
    life.signal_due(0.0)
    assert life.kill(3.0, 5.0) == []
    assert life.next_deadline() == 5.0


def test_max_completion_time_ends_without_grace_and_without_killing() -> None:
    life = running(max_completion_time=4.0, kill_grace=30.0, reports_killing=True)
    assert life.next_deadline() == 4.0
    assert life.signal_due(4.0) == TERM
    assert life.signal_due(4.0) == KILL
    (status,) = life.exited(KILL)
    assert status["state"] == "TASK_FAILED"
    assert status["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED"


def test_too_many_failed_health_checks_kill() -> None:
    life = running(reports_killing=True)
    statuses = life.health_changed(5.0, healthy=False, kill=True)
    assert states(statuses) == ["TASK_RUNNING", "TASK_KILLING"]
    assert statuses[0]["healthy"] is False
    assert statuses[0]["reason"] == "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
    assert "healthy" not in statuses[1]
    (last,) = life.exited(TERM)
    assert (last["state"], last["healthy"]) == ("TASK_KILLED", False)
    assert "reason" not in last


def test_nothing_is_reported_of_checks_once_the_task_is_being_killed() -> None:
    life = running()
    life.kill(1.0)
    assert life.health_changed(2.0, healthy=True, kill=False) == []
    assert life.check_changed({"type": "TCP", "tcp": {"succeeded": True}}) == []


def test_check_status_is_in_every_status_from_the_first_one() -> None:
    life = Lifecycle(TaskRules("t", check_type="COMMAND"))
    empty = {"type": "COMMAND", "command": {}}
    assert [s["check_status"] for s in (*life.starting(), *life.running(0.0))] == [empty, empty]
    result = {"type": "COMMAND", "command": {"exit_code": 7}}
    (changed,) = life.check_changed(result)
    assert changed["reason"] == "REASON_TASK_CHECK_STATUS_UPDATED"
    (healthy,) = life.health_changed(1.0, healthy=True, kill=False)
    assert healthy["check_status"] == result


def test_shutdown_comes_when_the_agent_says() -> None:
    life = running(kill_grace=3.0)
    life.shutdown(10.0, 28.0)
    assert life.signal_due(10.0) == TERM
    assert life.next_deadline() == 38.0


def test_shutdown_is_not_later_than_the_agent_says() -> None:
    life = running(kill_grace=60.0)
    life.kill(0.0)
    life.signal_due(0.0)
    life.shutdown(10.0, 5.0)
    assert life.next_deadline() == 15.0
