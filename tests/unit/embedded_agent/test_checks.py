import pytest

from kubedcos.embedded.agent.executor.checks import (
    Health,
    Result,
    Timetable,
    check_type,
    command_of,
)


def test_failures_within_the_grace_period_are_overlooked() -> None:
    health = Health(grace=3.0, limit=2, started=0.0)
    assert health.result(2.0, passed=False) is None
    assert health.result(3.1, passed=False) == (False, False)
    assert health.result(4.0, passed=False) == (False, True)


def test_the_grace_period_ends_with_the_first_success() -> None:
    health = Health(grace=30.0, limit=3, started=0.0)
    assert health.result(1.0, passed=True) == (True, False)
    assert health.result(2.0, passed=False) == (False, False)


def test_every_failure_is_news_but_only_a_changed_success() -> None:
    health = Health(grace=0.0, limit=9, started=0.0)
    seen = [
        health.result(float(i), passed=p) for i, p in enumerate((True, True, False, False, True))
    ]
    assert seen == [(True, False), None, (False, False), (False, False), (True, False)]


def test_a_success_in_between_starts_the_count_anew() -> None:
    health = Health(grace=0.0, limit=2, started=0.0)
    health.result(1.0, passed=False)
    health.result(2.0, passed=True)
    assert health.result(3.0, passed=False) == (False, False)


@pytest.mark.parametrize(("code", "well"), [(200, True), (399, True), (400, False), (None, False)])
def test_http_is_well_from_200_to_399(code: int | None, well: bool) -> None:
    assert Result(status_code=code).healthy("HTTP") is well


def test_a_timeout_is_no_result() -> None:
    late = Result(exit_code=0, connected=True, timed_out=True)
    assert not late.healthy("COMMAND")
    assert not late.healthy("TCP")
    assert late.check_status("COMMAND") == {"type": "COMMAND", "command": {}}


def test_check_status_of_each_kind() -> None:
    assert Result(exit_code=7).check_status("COMMAND")["command"] == {"exit_code": 7}
    assert Result(status_code=404).check_status("HTTP")["http"] == {"status_code": 404}
    assert Result().check_status("TCP")["tcp"] == {"succeeded": False}


def test_defaults_are_those_of_mesos() -> None:
    table = Timetable.begin({}, 100.0)
    assert (table.due, table.timeout) == (115.0, 20.0)
    table.after_result(120.0)
    assert table.due == 130.0


def test_a_timeout_of_zero_is_none() -> None:
    assert Timetable.begin({"timeout_seconds": 0}, 0.0).timeout is None


def test_a_health_check_without_type_is_a_command() -> None:
    spec = {"command": {"value": "true"}}
    assert check_type(spec) == "COMMAND"
    assert command_of(spec) == {"value": "true"}
    assert command_of({"command": {"command": {"value": "x"}}}) == {"value": "x"}
