"""The checks of a task at work. A forked child does each attempt: it may hang without harm."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any, NoReturn

from kubedcos.embedded.agent.executor.checks import (
    Health,
    Result,
    Timetable,
    check_type,
    command_of,
)
from kubedcos.embedded.agent.executor.command import exec_command
from kubedcos.embedded.agent.executor.lifecycle import Lifecycle, Status
from kubedcos.embedded.agent.executor.proctree import signal_tree

Spec = dict[str, Any]
LOOPBACK = {"IPv4": "127.0.0.1", "IPv6": "::1"}


class Attempt:
    """A running attempt; `finish` makes its result out of the child's wait status."""

    def __init__(self, spec: Spec, launch: Spec, deadline: float | None) -> None:
        """Start it.

        Args:
            spec: CheckInfo or HealthCheck.
            launch: the executor's launch description (environment, user, sandbox).
            deadline: when `abandon` is to be called; kept for the caller.
        """
        self.type = check_type(spec)
        self.deadline = deadline
        self.timed_out = False
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._reader)
            _child(self.type, spec, launch, writer)
        os.close(writer)

    def abandon(self) -> None:
        """The timeout is over: kill it; the wait status still has to be collected."""
        self.timed_out = True
        signal_tree(self.pid, signal.SIGKILL)

    def finish(self, wait_status: int) -> Result:
        """The result, once the child was waited for."""
        text = os.read(self._reader, 32)
        os.close(self._reader)
        if self.timed_out:
            return Result(timed_out=True)
        code = os.waitstatus_to_exitcode(wait_status)
        if self.type == "HTTP":
            return Result(status_code=int(text) if text else None)
        if self.type == "TCP":
            return Result(connected=code == 0)
        return Result(exit_code=code) if code >= 0 else Result()


class _Check:
    """A check or health check at work: its timetable and the attempt under way."""

    def __init__(self, spec: Spec, now: float) -> None:
        self.spec = spec
        self.type = check_type(spec)
        self.timetable = Timetable.begin(spec, now)
        self.attempt: Attempt | None = None

    def deadline(self) -> float | None:
        """When `step` is to be called again."""
        return self.attempt.deadline if self.attempt else self.timetable.due

    def step(self, now: float, launch: Spec) -> None:
        """Start an attempt that is due, abandon one that takes too long."""
        if self.attempt is None:
            if now >= self.timetable.due:
                timeout = self.timetable.timeout
                self.attempt = Attempt(self.spec, launch, now + timeout if timeout else None)
        elif self.attempt.deadline is not None and now >= self.attempt.deadline:
            self.attempt.abandon()
            self.attempt.deadline = None


class CheckedTask:
    """The check and the health check of one task, and what their results mean for its life."""

    def __init__(self, life: Lifecycle, launch: Spec) -> None:
        self._life = life
        self._launch = launch
        self._health: Health | None = None
        self._health_check: _Check | None = None
        self._checks: list[_Check] = []

    def begin(self, now: float) -> None:
        """The task runs since `now`."""
        if spec := self._launch.get("health_check"):
            self._health_check = _Check(spec, now)
            self._health = Health(
                grace=float(spec.get("grace_period_seconds", 10.0)),
                limit=int(spec.get("consecutive_failures", 3)),
                started=now,
            )
            self._checks.append(self._health_check)
        if spec := self._launch.get("check"):
            self._checks.append(_Check(spec, now))

    @property
    def _paused(self) -> bool:
        return self._life.ended or self._life.killing_since is not None

    def deadlines(self) -> list[float | None]:
        """When `step` is to be called again."""
        return [] if self._paused else [check.deadline() for check in self._checks]

    def step(self, now: float) -> None:
        """Start and abandon attempts as they are due."""
        if not self._paused:
            for check in self._checks:
                check.step(now, self._launch)

    def attempted(self, pid: int, wait_status: int, now: float) -> list[Status]:
        """The statuses that follow from an attempt's end; none when `pid` was no attempt."""
        for check in self._checks:
            if check.attempt is None or check.attempt.pid != pid:
                continue
            result = check.attempt.finish(wait_status)
            check.attempt = None
            check.timetable.after_result(now)
            if check is self._health_check and self._health is not None:
                news = self._health.result(now, passed=result.healthy(check.type))
                return self._life.health_changed(now, healthy=news[0], kill=news[1]) if news else []
            status = result.check_status(check.type)
            return self._life.check_changed(status) if status != self._life.check_status else []
        return []

    def abandon(self) -> None:
        """End what is under way."""
        for check in self._checks:
            if check.attempt is not None:
                check.attempt.abandon()


def _child(kind: str, spec: Spec, launch: Spec, writer: int) -> NoReturn:
    """Run in the child; never returns."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        if kind == "COMMAND":
            exec_command(command_of(spec), launch)
        port = int((spec.get(kind.lower()) or {}).get("port", 0))
        target = spec.get(kind.lower()) or {}
        host = LOOPBACK.get(str(target.get("protocol", "IPv4")), "127.0.0.1")
        timeout = float(spec.get("timeout_seconds", 20.0)) or None
        with socket.create_connection((host, port), timeout=timeout) as connection:
            if kind == "HTTP":
                os.write(writer, str(_http_status(connection, target, host, port)).encode())
        code = 0
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{kind} check failed: {error}\n")
    finally:
        os._exit(code)


def _http_status(connection: socket.socket, target: Spec, host: str, port: int) -> int:
    """GET the path and return the status code; the certificate is not looked at, as in Mesos."""
    if target.get("scheme", "http") == "https":
        import ssl  # noqa: PLC0415  megabytes that only tasks with such checks shall pay for

        context = ssl._create_unverified_context()  # noqa: S323, SLF001  see above
        connection = context.wrap_socket(connection, server_hostname=host)
    name = f"[{host}]" if ":" in host else host
    request = (
        f"GET {target.get('path') or '/'} HTTP/1.1\r\nHost: {name}:{port}\r\n"
        "User-Agent: mesos-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(request.encode())
    head = b""
    while b"\r\n" not in head and len(head) < 4096:
        data = connection.recv(4096)
        if not data:
            break
        head += data
    return int(head.split(b" ", 2)[1])
