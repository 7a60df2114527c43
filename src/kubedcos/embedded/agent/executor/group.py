"""The executor of task groups: many tasks in one container, as Mesos' default executor has them.

Its launch description holds ``group`` (true), ``executor_id``, ``container_id``, ``journal``,
``sandbox`` and, like that of a command task, ``enclosure``, ``memory``, ``checkpoint``,
``recovery_timeout``, ``shutdown_grace``, ``reports_killing``. An ``enclosure`` of a task is what it
has of its own within the executor's container: mounts, an IPC namespace.

The agent sends, one JSON object a line (see `loop`):

``{"launch": [description…]}``     start these tasks together; descriptions as for command tasks,
                                 or ``task_id`` and ``refused``: why it cannot be started
``{"kill": seconds or null, "task_id": …}``
``{"shutdown": seconds}``          end everything
``{"settled": uuid}``              that status and all before it have been acknowledged
``{"sync": text}``                 put that text into the journal, behind all that came before

The journal holds, besides statuses, ``{"launched": [task id…]}`` before the first status of a
group, ``{"forked": {"task_id", "pid"}}``, ``{"sync": text}``, and at the end
``{"exit": {"status": 0}}``.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Final

from kubedcos.embedded.agent.executor.attempts import CheckedTask
from kubedcos.embedded.agent.executor.command import exec_command, fork_holding_signals
from kubedcos.embedded.agent.executor.enclosure import enter
from kubedcos.embedded.agent.executor.lifecycle import (
    DEFAULT_KILL_GRACE,
    ENDS,
    Lifecycle,
    Status,
    describe_exit,
    empty_check_status,
)
from kubedcos.embedded.agent.executor.loop import ExecutorLoop, Spec, log
from kubedcos.embedded.agent.executor.proctree import signal_tree
from kubedcos.embedded.agent.executor.supervisor import rules_of

UNSETTLED_PATIENCE: Final = 60.0
"""Seconds that the executor stays for acknowledgements after its last task ended."""


class Member:
    """One task of a group."""

    def __init__(self, launch: Spec, group: list[Member]) -> None:
        self.launch = launch
        self.group = group
        self.task_id: str = launch["task_id"]
        self.life = Lifecycle(rules_of(launch))
        self.checked = CheckedTask(self.life, launch)
        self.pid = 0

    def spawn(self) -> None:
        """Start the command, its output in the task's own sandbox."""
        self.pid = fork_holding_signals()
        if self.pid:
            return
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number, name in ((1, "stdout"), (2, "stderr")):
            path = Path(self.launch["sandbox"]) / name
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(descriptor, number)
        try:
            enter(self.launch.get("enclosure") or {}, lambda: os._exit(1))
        except OSError as error:
            log(f"Failed to prepare the container: {error.strerror or error}")
            os._exit(1)
        exec_command(self.launch["command"], self.launch)

    def signal(self, number: int) -> None:
        """Send a signal: KILL to all that the task started, others to its first process."""
        if number == signal.SIGKILL:
            signal_tree(self.pid, number)
        else:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


class GroupSupervisor(ExecutorLoop):
    """Runs groups of tasks until the last task has ended."""

    def __init__(self, launch: Spec, listener: socket.socket, pid: int) -> None:
        super().__init__(launch, listener, pid)
        self.members: dict[str, Member] = {}
        self._unhealthy = False
        self._shutting_down = False
        self._finished_at: float | None = None
        self._settled = False
        self._over = False
        self._ended = False

    def run(self) -> int:
        """Until all tasks have ended and the framework knows; the exit status of the process."""
        self.enter_container()
        log(f"Starting executor {self.launch['executor_id']}")
        self.notify()
        try:
            while not self._over:
                self.wait(self._deadlines())
                self._timers(time.monotonic())
        finally:
            for member in self.members.values():
                if member.pid:
                    signal_tree(member.pid, signal.SIGKILL)
                member.checked.abandon()
        if self._ended:
            self.journal.append({"exit": {"status": 0}})
        return 0

    def _deadlines(self) -> list[float | None]:
        deadlines = [None if self._shutting_down else self.lonely_deadline()]
        if self._finished_at is not None:
            deadlines.append(self._finished_at + UNSETTLED_PATIENCE)
        for member in self.members.values():
            deadlines += [member.life.next_deadline(), *member.checked.deadlines()]
        return deadlines

    def _timers(self, now: float) -> None:
        lonely = None if self._shutting_down else self.lonely_deadline()
        if self.terminate or (lonely is not None and now >= lonely):
            self.terminate = False
            self._shut_down(now)
        for member in list(self.members.values()):
            member.checked.step(now)
            number = member.life.signal_due(now)
            if number is None or member.life.ended:
                continue
            # Mesos sends TERM and KILL at once then; the second wins.
            number = signal.SIGKILL if member.life.by_time else number
            log(f"Sending {signal.Signals(number).name} to task {member.task_id} ({member.pid})")
            member.signal(number)
        if self._finished_at is not None and (
            self._settled or now >= self._finished_at + UNSETTLED_PATIENCE
        ):
            self._over = self._ended = True

    def command(self, message: Spec) -> None:
        """What the agent wants; see the module."""
        now = time.monotonic()
        if "launch" in message:
            self._launch(message["launch"], now)
        elif "kill" in message:
            self._kill(message["task_id"], message["kill"], now)
        elif "shutdown" in message:
            log("Received SHUTDOWN")
            self._shut_down(now)
        elif "settled" in message:
            self._settled = message["settled"] == self.last_uuid
        elif "sync" in message:
            self.journal.append({"sync": message["sync"]})
            self.notify()

    def _launch(self, launches: list[Spec], now: float) -> None:
        if self._shutting_down:
            log("Ignoring a task group: the executor is shutting down")
            return
        group: list[Member] = []
        group += [Member(launch, group) for launch in launches]
        self._finished_at, self._settled = None, False
        self.journal.append({"launched": [member.task_id for member in group]})
        for member in group:
            self.members[member.task_id] = member
            self._tell(member, member.life.starting())
        for member in group:
            if "refused" in member.launch:
                continue
            member.spawn()
            log(f"Forked task {member.task_id} at {member.pid}")
            self.journal.append({"forked": {"task_id": member.task_id, "pid": member.pid}})
            self._tell(member, member.life.running(now))
            member.checked.begin(now)
        for member in group:
            if "refused" in member.launch and member.task_id in self.members:
                log(f"Task {member.task_id} was not started: {member.launch['refused']}")
                self._over_for(member, member.life.refused(member.launch["refused"]), now)

    def _kill(self, task_id: str, grace: float | None, now: float) -> None:
        log(f"Received KILL for task {task_id}")
        member = self.members.get(task_id)
        # Unlike for a command task a second KILL changes nothing.
        if member is not None and member.life.killing_since is None and not self._shutting_down:
            self._tell(member, member.life.kill(now, grace))

    def _shut_down(self, now: float) -> None:
        if self._shutting_down:
            return
        log("Shutting down")
        self._shutting_down = True
        for member in self.members.values():
            self._end(member, now)
        if not self.members and self._finished_at is None:
            self._over = self._ended = True

    def _end(self, member: Member, now: float) -> None:
        """Kill a task on behalf of others; its own kill policy does not count then."""
        if member.life.killing_since is None and member.pid:
            self._tell(member, member.life.kill(now, DEFAULT_KILL_GRACE))

    def child_ended(self, pid: int, wait_status: int) -> None:
        """A task, or an attempt of a check of one."""
        now = time.monotonic()
        member = next((m for m in self.members.values() if m.pid == pid), None)
        if member is None:
            for other in list(self.members.values()):
                self._tell(other, other.checked.attempted(pid, wait_status, now))
            return
        if self.memory is not None and self.memory.exceeded():
            self.memory_exceeded()
            return
        log(f"Task {member.task_id}: {describe_exit(wait_status)}")
        signal_tree(member.pid, signal.SIGKILL)
        member.checked.abandon()
        self._over_for(member, member.life.exited(wait_status), now)

    def _over_for(self, member: Member, statuses: list[Status], now: float) -> None:
        """A task has ended; unless it ended well the rest of its group must go."""
        del self.members[member.task_id]
        self._tell(member, statuses)
        if statuses[-1]["state"] != "TASK_FINISHED" and not self._shutting_down:
            for other in member.group:
                if other.task_id in self.members:
                    self._end(other, now)
        if not self.members:
            self._finished_at = now

    def memory_exceeded(self) -> None:
        """The container ends; the agent makes the last statuses of all tasks."""
        self.report_memory()
        self._over = True

    def _tell(self, member: Member, statuses: list[Status]) -> None:
        kind = member.life.rules.check_type
        for status in statuses:
            updated = str(status.get("reason", "")).endswith("CHECK_STATUS_UPDATED")
            if kind is not None and not updated:
                status["check_status"] = empty_check_status(kind)
            if member.life.killed_by_health:
                self._unhealthy = True
            if self._unhealthy and status["state"] in ENDS:
                # Mesos lets this leak to tasks that have no health check.
                status["healthy"] = False
        self.tell(statuses)
