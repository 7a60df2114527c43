"""Checks and health checks of command tasks: checks.jsonl, health-checks.jsonl."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Framework, launch, task
from .recordings import status_differences, status_of
from .sandbox import LIMITS, READY, said_ready

Json = dict[str, Any]

BAD_CHECKS: dict[str, Json] = {
    "bad-nocmd": {"health_check": {"type": "COMMAND"}},
    "bad-neg": {
        "health_check": {
            "type": "COMMAND",
            "command": {"value": "true"},
            "timeout_seconds": -1,
        }
    },
    "bad-http": {"health_check": {"type": "HTTP", "http": {"port": 80, "path": "no-slash"}}},
    "bad-port": {"check": {"type": "TCP"}},
}


@pytest.mark.contract(operations="LAUNCH", recordings="checks.jsonl")
def test_checks_that_cannot_work_are_refused(framework: Framework) -> None:
    offer = framework.offers()[0]
    tasks = [task(offer, name, "true", **wish) for name, wish in BAD_CHECKS.items()]
    framework.accept([offer], [launch(*tasks)])
    for name in BAD_CHECKS:
        assert not status_differences(
            framework.status(name), status_of("checks.jsonl", name, "TASK_ERROR")
        )


def check(kind: str, **part: Any) -> Json:
    body = {"command": {"command": part}} if kind == "COMMAND" else {kind.lower(): part}
    times = {"delay_seconds": 0, "interval_seconds": 0.2, "timeout_seconds": 5}
    return {"check": {"type": kind, **times, **body}}


@pytest.mark.contract(events="UPDATE", behaviour="checks", recordings="checks.jsonl")
def test_a_check_reports_changes_and_never_kills(framework: Framework) -> None:
    offer = framework.offers()[0]
    code = check("COMMAND", value="test -e code && exit 5; touch seen; exit 3", shell=True)
    once_seen = "until test -e seen; do sleep 0.1; done"
    tasks = (
        task(offer, "c-cmd", f"{once_seen}; touch code; sleep 100", **code),
        # Nothing listens on port 1.
        task(offer, "c-tcp", "sleep 100", **check("TCP", port=1)),
        task(offer, "c-timeout", "sleep 100", **check("COMMAND", value="sleep 100", shell=True)),
    )
    framework.accept([offer], [launch(*tasks)])
    for name in ("c-cmd", "c-tcp", "c-timeout"):
        for state in ("TASK_STARTING", "TASK_RUNNING"):
            theirs = status_of("checks.jsonl", name, state)
            assert not check_differences(framework.status(name, state), theirs)
    for exit_code in (3, 5):
        ours = framework.status("c-cmd")
        assert ours["check_status"] == {"type": "COMMAND", "command": {"exit_code": exit_code}}
        assert not check_differences(ours, status_of("checks.jsonl", "c-cmd", "TASK_RUNNING", 2))
    assert not check_differences(
        framework.status("c-tcp"), status_of("checks.jsonl", "c-tcp", "TASK_RUNNING", 1)
    )
    framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": "c-cmd"}}]})
    ours = framework.status("c-cmd")
    assert ours["reason"] == "REASON_RECONCILIATION"
    assert ours["check_status"]["command"] == {"exit_code": 5}


def check_differences(ours: Json, theirs: Json) -> list[str]:
    """Those of the status, the check's result included, but for an exit code."""
    mine, recorded = ours["check_status"], theirs["check_status"]
    found = status_differences(ours, theirs)
    if "exit_code" not in mine.get("command", {}) and mine != recorded:
        found.append(f"check_status: {mine}, recorded {recorded}")
    return found


def health(kind: str, delay: float = 1, **part: Any) -> Json:
    times = {
        "delay_seconds": delay,
        "interval_seconds": 0.2,
        "grace_period_seconds": 0,
        "timeout_seconds": 5,
        "consecutive_failures": 2,
    }
    return {"health_check": {"type": kind, **times, kind.lower(): part}}


@pytest.mark.contract(events="UPDATE", behaviour="checks", recordings="health-checks.jsonl")
def test_too_many_failures_kill_the_task(framework: Framework) -> None:
    """Each failure is told, a success only when it is news; the end is TASK_KILLED, unhealthy."""
    book = "health-checks.jsonl"
    offer = framework.offers()[0]
    steady = health("COMMAND", value="exit 0", shell=True)
    framework.accept([offer], [launch(task(offer, "h-cmd", "sleep 100", **steady))])
    healthy = framework.status("h-cmd")
    while "healthy" not in healthy:
        healthy = framework.status("h-cmd")
    assert not status_differences(healthy, status_of(book, "h-cmd", "TASK_RUNNING", 1))
    told: dict[str, list[Json]] = {"h-cmd-fail": [], "h-tcp-fail": []}
    # So late that the command itself is killed, and not the launcher that becomes it.
    for delay in LIMITS:
        offer = framework.offers()[0]
        failing = health("COMMAND", delay, value="test -e ok && rm ok", shell=True)
        tasks = (
            task(offer, "h-cmd-fail", f"touch ok; {READY}exec sleep 100", **failing),
            task(offer, "h-tcp-fail", f"{READY}exec sleep 100", **health("TCP", delay, port=1)),
        )
        framework.accept([offer], [launch(*tasks)])
        began = [framework.status(name, "TASK_RUNNING") for name in told]
        for name, ours in told.items():
            ours[:] = [framework.status(name)]
            while ours[-1]["state"] != "TASK_KILLED":
                ours.append(framework.status(name))
        if all(said_ready(framework, status) for status in began):
            break
    for failing_one, ours in told.items():
        # Before that it may have been healthy.
        assert [status.get("healthy") for status in ours[-4:]] == [False, False, None, False]
        theirs = status_of(book, failing_one, "TASK_RUNNING", -1)
        assert not status_differences(ours[-3], theirs)
        for position, state in ((-2, "TASK_KILLING"), (-1, "TASK_KILLED")):
            assert not status_differences(ours[position], status_of(book, failing_one, state))


@pytest.mark.contract(events="UPDATE", behaviour="checks", recordings="health-checks.jsonl")
def test_an_http_health_check(framework: Framework) -> None:
    offer = framework.offers()[0]
    ports = next(r for r in offer["resources"] if r["name"] == "ports")
    port = ports["ranges"]["range"][0]["begin"]
    server = f"exec python3 -m http.server --bind 127.0.0.1 {port}"
    wish = health("HTTP", port=port, path="/")
    wish["health_check"] |= {"grace_period_seconds": 30}
    framework.accept([offer], [launch(task(offer, "h-http", server, **wish))])
    framework.status("h-http", "TASK_RUNNING")
    theirs = status_of("health-checks.jsonl", "h-http", "TASK_RUNNING", 1)
    assert not status_differences(framework.status("h-http"), theirs)
