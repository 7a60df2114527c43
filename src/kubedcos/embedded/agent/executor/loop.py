"""What every executor's event loop has: the journal, the agent's connection, children, the clock.

The agent connects to the listening socket that the executor was started with and sends one JSON
object per line. The executor answers with a line ``j`` whenever the journal has grown. The end of
the connection is the executor's end.
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
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from kubedcos.embedded.agent.executor.journal import JournalWriter
from kubedcos.embedded.agent.executor.memory import MemoryWatch

Spec = dict[str, Any]


class ExecutorLoop(ABC):
    """Waits for children, the agent, the kernel's word about memory, and deadlines.

    Attributes:
        agent: the connection, None while there is none.
        terminate: the process was sent SIGTERM.
        last_uuid: of the status that was told last.
    """

    def __init__(self, launch: Spec, listener: socket.socket, pid: int) -> None:
        """Take a launch description.

        Args:
            launch: see the executor's own module.
            listener: where the agent connects.
            pid: of this process, as the host sees it.
        """
        self.launch = launch
        self._host_pid = pid
        self.listener = listener
        self.journal = JournalWriter(launch["journal"])
        self.agent: socket.socket | None = None
        self.terminate = False
        self.last_uuid = ""
        self._agent_seen = time.monotonic()
        self._had_agent = False
        self._input = b""
        self.memory: MemoryWatch | None = None
        self.poller = select.poll()
        self._wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(os.dup(writer), warn_on_full_buffer=False)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        self.poller.register(self._wakeup, select.POLLIN)
        self.poller.register(listener, select.POLLIN)

    @abstractmethod
    def child_ended(self, pid: int, wait_status: int) -> None:
        """A child was waited for."""

    @abstractmethod
    def command(self, message: Spec) -> None:
        """The agent wants something."""

    @abstractmethod
    def memory_exceeded(self) -> None:
        """The container's memory limit was hit."""

    def enter_container(self) -> None:
        """Watch the memory limit, and say that the executor runs."""
        if memory := self.launch.get("memory"):
            with contextlib.suppress(OSError):
                self.memory = MemoryWatch(memory["version"], memory["directory"])
                self.poller.register(self.memory.fd, self.memory.poll_mask)
        self.journal.append({"start": {"pid": self._host_pid}})

    def tell(self, statuses: list[Spec]) -> None:
        """Put `statuses` into the journal and wake the agent."""
        for status in statuses:
            status["timestamp"] = round(time.time(), 6)
            status["uuid"] = self.last_uuid = base64.b64encode(os.urandom(16)).decode()
            self.journal.append({"status": status})
        if statuses:
            self.notify()

    def report_memory(self) -> None:
        """Tell the agent what the memory limit was and how much was used."""
        assert self.memory is not None
        self.journal.append({"memory": self.memory.report()})
        log("Memory limit exceeded")
        self.notify()

    def wait(self, deadlines: Iterable[float | None]) -> None:
        """Until something happens, no longer than to the first of the deadlines."""
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
            elif self.memory is not None and fd == self.memory.fd and self.memory.exceeded():
                self.memory_exceeded()

    def lonely_deadline(self) -> float | None:
        """When the executor gives up because no agent came back; None while it has one."""
        if self.agent is not None:
            return None
        # An agent that died before it ever connected may come back like any other.
        waits = self.launch.get("checkpoint", True) or not self._had_agent
        patience = float(self.launch.get("recovery_timeout", 900.0))
        return self._agent_seen + (patience if waits else 0.0)

    @property
    def shutdown_grace(self) -> float:
        """Seconds that tasks get when the executor ends for reasons of its own."""
        return float(self.launch.get("shutdown_grace", 5.0))

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.child_ended(pid, wait_status)

    def _on_term(self, *_: object) -> None:
        """Only a mark: the handler may interrupt anything; the wakeup descriptor ends the wait."""
        self.terminate = True

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        # What an agent that is gone said before its end still counts.
        while self.agent is not None:
            self._hear(select.POLLIN)
        self.agent, self._input, self._had_agent = connection, b"", True
        self.poller.register(connection, select.POLLIN)
        self.notify()

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
            self.command(json.loads(line))

    def _drop_agent(self) -> None:
        if self.agent is not None:
            self.poller.unregister(self.agent)
            self.agent.close()
            self.agent = None
            self._agent_seen = time.monotonic()

    def notify(self) -> None:
        """Wake the agent: the journal has grown."""
        if self.agent is not None:
            try:
                self.agent.send(b"j\n")
            except BlockingIOError:
                pass
            except OSError:
                self._drop_agent()


def log(text: str) -> None:
    """One line on stderr (the sandbox) in the form of Mesos' logs."""
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    sys.stderr.write(f"I{stamp}.{int(now % 1 * 1e6):06d} {os.getpid()} executor.py] {text}\n")
    sys.stderr.flush()
