"""The executor of a command task: one task, its checks, its timers.

The launch description (a JSON object, written by the agent) holds:

``task_id``, ``container_id``, ``journal`` (path), ``sandbox``, ``environment``, ``command``, and
optionally ``user``, ``rlimits``, ``capabilities``, ``no_new_privileges`` (see `command`),
``enclosure`` (see there), ``memory`` ({``version``, ``directory``}), ``check``, ``health_check``,
``kill_grace``, ``reports_killing``, ``kill_policy_of_call_counts``, ``max_completion_time``,
``checkpoint``, ``recovery_timeout``, ``shutdown_grace`` (all times in seconds).

The agent sends ``{"kill": seconds or null}`` and ``{"shutdown": seconds}``; see `loop`.
"""

from __future__ import annotations

import signal
import socket
import time

from kubedcos.embedded.agent.executor.attempts import CheckedTask
from kubedcos.embedded.agent.executor.checks import check_type
from kubedcos.embedded.agent.executor.command import spawn
from kubedcos.embedded.agent.executor.lifecycle import (
    DEFAULT_KILL_GRACE,
    Lifecycle,
    TaskRules,
    describe_exit,
)
from kubedcos.embedded.agent.executor.loop import ExecutorLoop, Spec, log
from kubedcos.embedded.agent.executor.proctree import signal_tree


class Supervisor(ExecutorLoop):
    """Runs one command task to its end."""

    def __init__(self, launch: Spec, listener: socket.socket, pid: int) -> None:
        super().__init__(launch, listener, pid)
        self.pid = 0
        self.life = Lifecycle(rules_of(launch))
        self.checked = CheckedTask(self.life, launch)

    def run(self) -> int:
        """Until the task has ended; the exit status of the process."""
        self.enter_container()
        self.tell(self.life.starting())
        log(f"Starting task {self.launch['task_id']}")
        self.pid = spawn(self.launch["command"], self.launch)
        log(f"Forked command at {self.pid}")
        self.journal.append({"forked": {"pid": self.pid}})
        now = time.monotonic()
        try:
            self.tell(self.life.running(now))
            self.checked.begin(now)
            while not self.life.ended:
                deadlines = [self.life.next_deadline(), self._lonely_deadline()]
                self.wait([*deadlines, *self.checked.deadlines()])
                self._timers(time.monotonic())
        finally:
            # Whatever happened, nothing of the task runs on without its executor.
            signal_tree(self.pid, signal.SIGKILL)
            self.checked.abandon()
        return 0

    def _timers(self, now: float) -> None:
        self.checked.step(now)
        if self.terminate:
            self.terminate = False
            self.tell(self.life.shutdown(now, self.shutdown_grace))
        lonely = self._lonely_deadline()
        if lonely is not None and now >= lonely:
            log("The agent is gone; shutting down")
            self.tell(self.life.shutdown(now, self.shutdown_grace))
        number = self.life.signal_due(now)
        if number is not None and not self.life.ended:
            log(f"Sending {signal.Signals(number).name} to process tree at pid {self.pid}")
            signal_tree(self.pid, number)

    def _lonely_deadline(self) -> float | None:
        return None if self.life.killing_since is not None else self.lonely_deadline()

    def child_ended(self, pid: int, wait_status: int) -> None:
        """The task's process, or an attempt of a check."""
        if pid != self.pid:
            self.tell(self.checked.attempted(pid, wait_status, time.monotonic()))
            return
        if self.memory is not None and not self.life.ended and self.memory.exceeded():
            self.memory_exceeded()
            return
        log(f"{describe_exit(wait_status)} (pid: {self.pid})")
        if not self.life.ended:
            self.tell(self.life.exited(wait_status))

    def memory_exceeded(self) -> None:
        """The agent makes the task's last status of the report."""
        self.life.ended = True
        self.report_memory()

    def command(self, message: Spec) -> None:
        """KILL, or the end of the executor."""
        now = time.monotonic()
        if "kill" in message:
            log(f"Received KILL for task {self.launch['task_id']}")
            self.tell(self.life.kill(now, message["kill"]))
        elif "shutdown" in message:
            log("Received SHUTDOWN")
            self.tell(self.life.shutdown(now, float(message["shutdown"])))


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
