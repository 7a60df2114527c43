"""The executor's event loop: one task, its checks, its timers, and the agent's connection.

The launch description (a JSON object, written by the agent) holds:

``task_id``, ``container_id``, ``journal`` (path), ``sandbox``, ``environment``, ``command``, and
optionally ``user``, ``rlimits``, ``cgroups`` (``cgroup.procs`` files to join), ``memory``
({``version``, ``directory``}), ``check``, ``health_check``, ``kill_grace``, ``reports_killing``,
``kill_policy_of_call_counts``, ``max_completion_time``, ``checkpoint``, ``recovery_timeout``,
``shutdown_grace`` (all times in seconds).

The agent connects to the listening socket that the executor was started with and sends one JSON
object per line: ``{"kill": seconds or null}``, ``{"shutdown": seconds}``. The executor answers
with a line ``j`` whenever the journal has grown. The end of the connection is the executor's end.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from kubedcos.embedded.agent.executor.attempts import Attempt
from kubedcos.embedded.agent.executor.checks import Health, Timetable, check_type
from kubedcos.embedded.agent.executor.command import spawn
from kubedcos.embedded.agent.executor.journal import JournalWriter
from kubedcos.embedded.agent.executor.lifecycle import (
    DEFAULT_KILL_GRACE,
    Lifecycle,
    Status,
    TaskRules,
    describe_exit,
)
from kubedcos.embedded.agent.executor.memory import MemoryWatch
from kubedcos.embedded.agent.executor.proctree import signal_tree

Spec = dict[str, Any]


class Check:
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


class Supervisor:
    """Runs one command task to its end."""

    def __init__(self, launch: Spec, listener: socket.socket) -> None:
        self.launch = launch
        self.listener = listener
        self.journal = JournalWriter(launch["journal"])
        self.agent: socket.socket | None = None
        self.agent_seen = time.monotonic()
        self.had_agent = False
        self._input = b""
        self.pid = 0
        self._terminate = False
        self.checks: list[Check] = []
        self.health: Health | None = None
        self.health_check: Check | None = None
        self.general_check: Check | None = None
        self.memory: MemoryWatch | None = None
        self.life = Lifecycle(rules_of(launch))
        self.poller = select.poll()
        self._wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(os.dup(writer), warn_on_full_buffer=False)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        self.poller.register(self._wakeup, select.POLLIN)
        self.poller.register(listener, select.POLLIN)

    def run(self) -> int:
        """Until the task has ended; the exit status of the process."""
        for path in self.launch.get("cgroups") or []:
            Path(path).write_text(str(os.getpid()))
        if memory := self.launch.get("memory"):
            with contextlib.suppress(OSError):
                self.memory = MemoryWatch(memory["version"], memory["directory"])
                self.poller.register(self.memory.fd, self.memory.poll_mask)
        self.journal.append({"start": {"pid": os.getpid()}})
        self.tell(self.life.starting())
        log(f"Starting task {self.launch['task_id']}")
        self.pid = spawn(self.launch["command"], self.launch)
        log(f"Forked command at {self.pid}")
        self.journal.append({"forked": {"pid": self.pid}})
        now = time.monotonic()
        try:
            self.tell(self.life.running(now))
            self._begin_checks(now)
            while not self.life.ended:
                self._wait()
                self._timers(time.monotonic())
        finally:
            # Whatever happened, nothing of the task runs on without its executor.
            signal_tree(self.pid, signal.SIGKILL)
            for check in self.checks:
                if check.attempt is not None:
                    check.attempt.abandon()
        return 0

    def tell(self, statuses: list[Status]) -> None:
        """Put `statuses` into the journal and wake the agent."""
        for status in statuses:
            status["timestamp"] = round(time.time(), 6)
            status["uuid"] = base64.b64encode(os.urandom(16)).decode()
            self.journal.append({"status": status})
        if statuses:
            self._notify()

    def _begin_checks(self, now: float) -> None:
        if spec := self.launch.get("health_check"):
            self.health_check = Check(spec, now)
            self.health = Health(
                grace=float(spec.get("grace_period_seconds", 10.0)),
                limit=int(spec.get("consecutive_failures", 3)),
                started=now,
            )
            self.checks.append(self.health_check)
        if spec := self.launch.get("check"):
            self.general_check = Check(spec, now)
            self.checks.append(self.general_check)

    def _wait(self) -> None:
        deadlines = [self.life.next_deadline(), self._lonely_deadline()]
        if self.life.killing_since is None:
            deadlines += [check.deadline() for check in self.checks]
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic()) * 1000 + 1
        for fd, event in self.poller.poll(wait):
            if fd == self._wakeup:
                os.read(self._wakeup, 512)
                self._reap()
            elif fd == self.listener.fileno():
                self._accept()
            elif self.agent is not None and fd == self.agent.fileno():
                self._hear(event)
            elif self.memory is not None and fd == self.memory.fd:
                self._memory_event()

    def _timers(self, now: float) -> None:
        if self.life.killing_since is None and not self.life.ended:
            for check in self.checks:
                check.step(now, self.launch)
        if self._terminate:
            self._terminate = False
            self.tell(self.life.shutdown(now, self._shutdown_grace()))
        lonely = self._lonely_deadline()
        if lonely is not None and now >= lonely:
            log("The agent is gone; shutting down")
            self.tell(self.life.shutdown(now, self._shutdown_grace()))
        number = self.life.signal_due(now)
        if number is not None and not self.life.ended:
            log(f"Sending {signal.Signals(number).name} to process tree at pid {self.pid}")
            signal_tree(self.pid, number)

    def _lonely_deadline(self) -> float | None:
        """When the executor ends its task because no agent came back."""
        if self.agent is not None or self.life.killing_since is not None or not self.had_agent:
            return None
        patience = float(self.launch.get("recovery_timeout", 900.0))
        return self.agent_seen + (patience if self.launch.get("checkpoint", True) else 0.0)

    def _shutdown_grace(self) -> float:
        return float(self.launch.get("shutdown_grace", 5.0))

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self._ended(wait_status)
            else:
                self._checked(pid, wait_status)

    def _ended(self, wait_status: int) -> None:
        if self.memory is not None and not self.life.ended and self.memory.exceeded():
            self._memory_exceeded()
            return
        log(f"{describe_exit(wait_status)} (pid: {self.pid})")
        if not self.life.ended:
            self.tell(self.life.exited(wait_status))

    def _checked(self, pid: int, wait_status: int) -> None:
        for check in self.checks:
            if check.attempt is None or check.attempt.pid != pid:
                continue
            result = check.attempt.finish(wait_status)
            check.attempt = None
            now = time.monotonic()
            check.timetable.after_result(now)
            if check is self.health_check and self.health is not None:
                news = self.health.result(now, passed=result.healthy(check.type))
                if news:
                    self.tell(self.life.health_changed(now, healthy=news[0], kill=news[1]))
            else:
                status = result.check_status(check.type)
                if status != self.life.check_status:
                    self.tell(self.life.check_changed(status))

    def _memory_event(self) -> None:
        if self.memory is not None and self.memory.exceeded():
            self._memory_exceeded()

    def _memory_exceeded(self) -> None:
        assert self.memory is not None
        self.journal.append({"memory": self.memory.report()})
        log("Memory limit exceeded")
        self.life.ended = True
        self._notify()

    def _on_term(self, *_: object) -> None:
        """Only a mark: the handler may interrupt anything; the wakeup descriptor ends the wait."""
        self._terminate = True

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        if self.agent is not None:
            self._drop_agent()
        self.agent, self._input, self.had_agent = connection, b"", True
        self.poller.register(connection, select.POLLIN)
        self._notify()

    def _hear(self, event: int) -> None:
        assert self.agent is not None
        data = b""
        if event & select.POLLIN:
            with contextlib.suppress(ConnectionError, BlockingIOError):
                data = self.agent.recv(65536)
        if not data:
            self._drop_agent()
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            self._command(json.loads(line))

    def _command(self, message: Spec) -> None:
        now = time.monotonic()
        if "kill" in message:
            log(f"Received KILL for task {self.launch['task_id']}")
            self.tell(self.life.kill(now, message["kill"]))
        elif "shutdown" in message:
            log("Received SHUTDOWN")
            self.tell(self.life.shutdown(now, float(message["shutdown"])))

    def _drop_agent(self) -> None:
        if self.agent is not None:
            self.poller.unregister(self.agent)
            self.agent.close()
            self.agent = None
            self.agent_seen = time.monotonic()

    def _notify(self) -> None:
        if self.agent is not None:
            try:
                self.agent.send(b"j\n")
            except BlockingIOError:
                pass
            except OSError:
                self._drop_agent()


def rules_of(launch: Spec) -> TaskRules:
    """The task's rules in a launch description."""
    check = launch.get("check")
    return TaskRules(
        task_id=launch["task_id"],
        kill_grace=float(launch.get("kill_grace", DEFAULT_KILL_GRACE)),
        reports_killing=bool(launch.get("reports_killing")),
        kill_policy_of_call_counts=bool(launch.get("kill_policy_of_call_counts")),
        max_completion_time=launch.get("max_completion_time"),
        check_type=check_type(check) if check else None,
    )


def log(text: str) -> None:
    """One line on stderr (the sandbox) in the form of Mesos' logs."""
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    sys.stderr.write(f"I{stamp}.{int(now % 1 * 1e6):06d} {os.getpid()} executor.py] {text}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """Run the launch description in the file `arguments[0]`; `arguments[1]` is the listener."""
    launch = json.loads(Path(arguments[0]).read_text())
    listener = socket.socket(fileno=int(arguments[1]))
    listener.set_inheritable(False)
    return Supervisor(launch, listener).run()
