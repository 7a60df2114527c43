"""Checks and health checks: when to try, and what a result means. Pure; `attempts` does the work.

Mesos' rules: failures count once the grace period is over or the task has been healthy; every
counted failure is reported, a success only when it is news; a general check reports changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubedcos.embedded.agent.executor.lifecycle import empty_check_status

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What one attempt found.

    Attributes:
        exit_code: of a command check; None when it could not be had.
        status_code: of an HTTP check; None when nothing answered.
        connected: of a TCP check.
        timed_out: no result within the check's timeout.
    """

    exit_code: int | None = None
    status_code: int | None = None
    connected: bool = False
    timed_out: bool = False

    def healthy(self, check_type: str) -> bool:
        """Whether a health check of `check_type` passed."""
        if self.timed_out:
            return False
        if check_type == "HTTP":
            return self.status_code is not None and 200 <= self.status_code < 400
        if check_type == "TCP":
            return self.connected
        return self.exit_code == 0

    def check_status(self, check_type: str) -> Spec:
        """The `check_status` of a general check; without a value when there was no result."""
        status = empty_check_status(check_type)
        if self.timed_out:
            return status
        if check_type == "HTTP" and self.status_code is not None:
            status["http"] = {"status_code": self.status_code}
        elif check_type == "TCP":
            status["tcp"] = {"succeeded": self.connected}
        elif check_type == "COMMAND" and self.exit_code is not None:
            status["command"] = {"exit_code": self.exit_code}
        return status


@dataclass(slots=True)
class Health:
    """Counts the results of a health check.

    Attributes:
        grace: seconds since `started` during which failures of a task that was never healthy are
            overlooked.
        limit: consecutive failures that end the task.
        started: when the task ran.
    """

    grace: float
    limit: int
    started: float
    _never_passed: bool = True
    _failures: int = 0

    def result(self, now: float, *, passed: bool) -> tuple[bool, bool] | None:
        """What to report of a result: (healthy, kill), or None when it is no news."""
        if passed:
            news = self._never_passed or self._failures > 0
            self._never_passed, self._failures = False, 0
            return (True, False) if news else None
        if self._never_passed and self.grace > 0 and now - self.started <= self.grace:
            return None
        self._failures += 1
        return False, self._failures >= self.limit


@dataclass(slots=True)
class Timetable:
    """When the next attempt is due: after the delay, then an interval after each result."""

    spec: Spec
    due: float

    @classmethod
    def begin(cls, spec: Spec, now: float) -> Timetable:
        """The timetable of a check whose task runs since `now`."""
        return cls(spec, now + float(spec.get("delay_seconds", 15.0)))

    def after_result(self, now: float) -> None:
        """A result came at `now`."""
        self.due = now + float(self.spec.get("interval_seconds", 10.0))

    @property
    def timeout(self) -> float | None:
        """Seconds that one attempt may take; None for no limit (0 in the specification)."""
        return float(self.spec.get("timeout_seconds", 20.0)) or None


def check_type(spec: Spec) -> str:
    """Type of a check; a health check without one that has a command is a COMMAND check."""
    named = str(spec.get("type") or "")
    if named and named != "UNKNOWN":
        return named
    return next((kind for kind in ("HTTP", "TCP") if kind.lower() in spec), "COMMAND")


def command_of(spec: Spec) -> Spec:
    """The CommandInfo of a COMMAND check; in a general check it lies one level deeper."""
    command: Spec = spec.get("command") or {}
    nested = command.get("command")
    return nested if isinstance(nested, dict) else command
