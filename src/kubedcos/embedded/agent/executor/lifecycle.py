"""What a command task goes through, as a pure state machine over an injected time.

Every method returns the task statuses that follow (without uuid and time); `signal_due` and
`next_deadline` say when which signal is due. Texts, sources and reasons are those that Apache
Mesos' command executor writes.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import Any, Final

Status = dict[str, Any]

ENDS: Final = ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED")
"""Terminal states that an executor gives."""

DEFAULT_KILL_GRACE = 3.0
"""Seconds between TERM and KILL when the task has no kill policy."""


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What the task asked for.

    Attributes:
        task_id: for the statuses.
        kill_grace: seconds between TERM and KILL.
        reports_killing: the framework has the capability TASK_KILLING_STATE.
        kill_policy_of_call_counts: a KILL's own policy overrides the task's; Mesos loses it on the
            way to command tasks unless the agent runs with `--http_command_executor`.
        max_completion_time: seconds after which the task is ended and failed.
        check_type: type of the general check (``COMMAND``, ``HTTP``, ``TCP``); its status is part
            of every task status from the first one on.
    """

    task_id: str
    kill_grace: float = DEFAULT_KILL_GRACE
    reports_killing: bool = False
    kill_policy_of_call_counts: bool = False
    max_completion_time: float | None = None
    check_type: str | None = None


def describe_exit(wait_status: int) -> str:
    """A raw wait status in Mesos' words."""
    if os.WIFEXITED(wait_status):
        return f"Command exited with status {os.WEXITSTATUS(wait_status)}"
    number = os.WTERMSIG(wait_status)
    core = " (core dumped)" if os.WCOREDUMP(wait_status) else ""
    return f"Command terminated with signal {signal.strsignal(number) or number}{core}"


def empty_check_status(check_type: str) -> Status:
    """The `check_status` before the first result."""
    return {"type": check_type, check_type.lower(): {}}


@dataclass(slots=True)
class Lifecycle:
    """One task between STARTING and its terminal status.

    Attributes:
        killing_since: when its end was begun, for whatever reason.
        killed_by_health: it failed its health check too often.
        by_time: it is being ended because of `max_completion_time`.
    """

    rules: TaskRules
    check_status: Status | None = None
    healthy: bool | None = None
    killing_since: float | None = None
    ended: bool = False
    killed_by_health: bool = False
    by_time: bool = False
    _grace: float = 0.0
    _completion_at: float | None = None
    _sent: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.rules.check_type is not None and self.check_status is None:
            self.check_status = empty_check_status(self.rules.check_type)

    def starting(self) -> list[Status]:
        """The executor is there; the command is not."""
        return [self._status("TASK_STARTING")]

    def running(self, now: float) -> list[Status]:
        """The command was started."""
        if self.rules.max_completion_time:
            self._completion_at = now + self.rules.max_completion_time
        return [self._status("TASK_RUNNING")]

    def check_changed(self, check_status: Status) -> list[Status]:
        """The general check has another result than before."""
        self.check_status = check_status
        if self.killing_since is not None or self.ended:
            return []
        status = self._status("TASK_RUNNING", reason="REASON_TASK_CHECK_STATUS_UPDATED")
        return [self._with_health(status)]

    def health_changed(self, now: float, *, healthy: bool, kill: bool) -> list[Status]:
        """The health check has something to report; `kill` when it failed too often."""
        if self.killing_since is not None or self.ended:
            return []
        self.healthy = healthy
        status = self._status("TASK_RUNNING", reason="REASON_TASK_HEALTH_CHECK_STATUS_UPDATED")
        statuses = [self._with_health(status)]
        if kill:
            self.killed_by_health = True
            statuses += self.kill(now)
        return statuses

    def kill(self, now: float, grace: float | None = None) -> list[Status]:
        """The framework, an operator or a health check wants the task to end.

        Args:
            now: the time.
            grace: seconds that came with the call; see `TaskRules.kill_policy_of_call_counts`.
        """
        if self.ended:
            return []
        wanted = grace if self.rules.kill_policy_of_call_counts else None
        if self.killing_since is not None:
            if wanted is not None:
                self._grace = max(wanted, 0.0)
            return []
        self.killing_since = now
        self._grace = max(self.rules.kill_grace if wanted is None else wanted, 0.0)
        return [self._status("TASK_KILLING")] if self.rules.reports_killing else []

    def shutdown(self, now: float, grace: float) -> list[Status]:
        """The agent ends the executor itself: KILL comes `grace` seconds from now, or earlier."""
        first = self.killing_since is None
        statuses = self.kill(now)
        if self.killing_since is not None:
            left = now - self.killing_since + max(grace, 0.0)
            self._grace = left if first else min(self._grace, left)
        return statuses

    def next_deadline(self) -> float | None:
        """When `signal_due` is to be asked again, or None when only an event can change it."""
        if self.ended:
            return None
        if self.killing_since is None:
            return self._completion_at
        if signal.SIGTERM not in self._sent:
            return self.killing_since
        if signal.SIGKILL not in self._sent:
            return self.killing_since + self._grace
        return None

    def signal_due(self, now: float) -> int | None:
        """The signal that the command's process tree must get now; each is returned once."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return None
        if self.killing_since is None:
            self.killing_since, self._grace, self.by_time = now, 0.0, True
        number = signal.SIGKILL if signal.SIGTERM in self._sent else signal.SIGTERM
        self._sent.append(number)
        return number

    def refused(self, message: str) -> list[Status]:
        """The command could not be started: the terminal status."""
        self.ended = True
        return [self._status("TASK_FAILED", message=message)]

    def exited(self, wait_status: int) -> list[Status]:
        """The command ended: the terminal status."""
        self.ended = True
        message = describe_exit(wait_status)
        if self.by_time:
            reason = "REASON_MAX_COMPLETION_TIME_REACHED"
            return [self._status("TASK_FAILED", message=message, reason=reason)]
        if self.killing_since is not None:
            status = self._status("TASK_KILLED", message=message)
            if self.killed_by_health:
                status["healthy"] = False
            return [status]
        finished = wait_status == 0
        return [self._status("TASK_FINISHED" if finished else "TASK_FAILED", message=message)]

    def _status(self, state: str, message: str = "", reason: str = "") -> Status:
        status: Status = {"task_id": {"value": self.rules.task_id}, "state": state}
        if message:
            status["message"] = message
        status["source"] = "SOURCE_EXECUTOR"
        if reason:
            status["reason"] = reason
        if self.check_status is not None:
            status["check_status"] = self.check_status
        return status

    def _with_health(self, status: Status) -> Status:
        if self.healthy is not None:
            status["healthy"] = self.healthy
        return status
