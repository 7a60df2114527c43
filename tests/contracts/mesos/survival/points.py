"""Points between an offer and the acknowledged end of a task, victims, and what follows.

Sources: the recordings `agent-restart.jsonl` (a task of which the executor died: FAILED; a KILL
that nobody could hear is carried out at the return), `agent-loss.jsonl`, `master-failover-*.jsonl`,
`unacknowledged-updates*.jsonl`, and section 5 and 9 of the API reference. In short: what an agent
has on disk it keeps; what was on its way to a process that died is lost, and either side says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.contracts.mesos.engine import wait_for

from .lab import Lab
from .relay import Held
from .scheduler import Scheduler


@dataclass
class Story:
    """One task up to a point, and what is held there."""

    lab: Lab
    scheduler: Scheduler
    held: Held | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    uri: str = ""
    reserves: bool = False

    def accept(self, *, uri: str = "") -> None:
        self.scheduler.take_offer()
        self.scheduler.beside(lambda: self.scheduler.launch(uri, reserve=self.reserves))

    def hold_to_agent(self, kind: str) -> None:
        """The master's next message of that kind (in the engine's own words)."""
        self.held = self.lab.agent_side.hold(self.lab.message(kind))

    def hold_status(self, state: str) -> None:
        """The agent's next message that the task is in that state."""
        self.held = self.lab.master_side.hold(self.lab.status(self.scheduler.task_id, state))

    def release(self) -> None:
        if self.held is not None:
            self.held.let_pass()

    def drop(self) -> None:
        if self.held is not None:
            self.held.drop()


def offer_out(story: Story) -> None:
    story.scheduler.take_offer()


def accept_sent(story: Story) -> None:
    story.held = story.lab.scheduler_side.hold(b'"type": "ACCEPT"')
    story.accept()
    story.held.wait()


def resources_sent(story: Story) -> None:
    """RESERVE and CREATE on their way to the agent, the task behind them."""
    story.reserves = True
    story.hold_to_agent("CHECKPOINT_RESOURCES")
    story.accept()
    assert story.held is not None
    story.held.wait()


def task_sent(story: Story) -> None:
    story.hold_to_agent("RUN_TASKS")
    story.accept()
    assert story.held is not None
    story.held.wait()


def task_received(story: Story) -> None:
    """The agent has it, the master does not know that yet."""
    if story.lab.cluster.embedded:
        story.held = story.lab.agent_side.hold(story.lab.message("RUN_TASKS"), answer=True)
        story.accept()
        story.held.wait()
    else:  # there the agent's first word of it is that the task starts
        story.hold_status("TASK_STARTING")
        story.accept()
    wait_for(lambda: story.lab.started(story.scheduler.task_id), "the task runs")


def fetching(story: Story) -> None:
    """On disk, but without an executor: the fetcher waits for a file."""
    story.accept(uri=story.uri)
    wait_for(lambda: story.lab.checkpointed(story.scheduler.task_id), "the task is on disk")


def starting_sent(story: Story) -> None:
    story.hold_status("TASK_STARTING")
    story.accept()
    assert story.held is not None
    story.held.wait()


def starting_unacknowledged(story: Story) -> None:
    story.accept()
    story.scheduler.until("TASK_STARTING", acknowledge=False)


def running_unacknowledged(story: Story) -> None:
    story.accept()
    story.scheduler.until("TASK_RUNNING", acknowledge=False)


def running(story: Story) -> None:
    story.accept()
    story.scheduler.until("TASK_RUNNING")


def under_way(story: Story) -> None:
    """Mesos calls a task running once its process is there; what that does first comes later."""
    running(story)
    wait_for(lambda: story.lab.started(story.scheduler.task_id), "the task's command runs")


def kill_sent(story: Story) -> None:
    under_way(story)
    story.held = story.lab.scheduler_side.hold(b'"type": "KILL"')
    story.scheduler.beside(story.scheduler.kill)
    story.held.wait()


def kill_passed_on(story: Story) -> None:
    """From the master to the agent."""
    under_way(story)
    story.hold_to_agent("KILL_TASK")
    story.scheduler.kill()
    assert story.held is not None
    story.held.wait()


def terminating(story: Story) -> None:
    """The task ignores TERM; KILL follows."""
    story.scheduler.stubborn = True
    under_way(story)
    story.scheduler.kill()
    story.scheduler.until("TASK_KILLING")


def end_sent(story: Story) -> None:
    under_way(story)
    story.hold_status("TASK_KILLED")
    story.scheduler.kill()
    story.scheduler.until("TASK_KILLING")
    assert story.held is not None
    story.held.wait()


def end_unacknowledged(story: Story) -> None:
    under_way(story)
    story.scheduler.kill()
    story.scheduler.until("TASK_KILLED", acknowledge=False)


def end_acknowledged(story: Story) -> None:
    """By the framework; the agent does not know that yet."""
    end_unacknowledged(story)
    story.hold_to_agent("ACKNOWLEDGE")
    story.scheduler.acknowledge(story.scheduler.told[-1])
    assert story.held is not None
    story.held.wait()


POINTS: dict[str, Callable[[Story], None]] = {
    function.__name__: function
    for function in (
        offer_out,
        accept_sent,
        resources_sent,
        task_sent,
        task_received,
        fetching,
        starting_sent,
        starting_unacknowledged,
        running_unacknowledged,
        running,
        kill_sent,
        kill_passed_on,
        terminating,
        end_sent,
        end_unacknowledged,
        end_acknowledged,
    )
}


def kill_master(story: Story) -> None:
    story.lab.master_process.kill()
    story.drop()
    story.gate.set()
    story.lab.restart_master()
    story.scheduler.framework.close()
    story.scheduler.connect()


def kill_agent(story: Story) -> None:
    story.lab.kill_agent()
    story.release()
    story.lab.start_agent()


def kill_executor(story: Story) -> None:
    story.lab.kill_executors()
    story.release()


def kill_framework(story: Story) -> None:
    story.scheduler.die()
    story.release()
    story.gate.set()
    story.scheduler.connect()


def cut_framework(story: Story) -> None:
    """The master still writes into the old connection when the framework comes with a new one."""
    story.lab.scheduler_side.cut()
    if story.held is not None and b'"type": ' in story.held.text:
        story.drop()  # the framework's own call, on the connection that is cut
    else:
        story.release()
    story.gate.set()
    old = story.scheduler.framework
    story.lab.scheduler_side.heal()
    story.scheduler.connect()
    old.close()
    story.lab.scheduler_side.close_severed()


def cut_agent(story: Story) -> None:
    story.lab.cut_agent()
    story.release()
    story.gate.set()
    story.lab.heal_agent()


VICTIMS: dict[str, Callable[[Story], None]] = {
    "master": kill_master,
    "agent": kill_agent,
    "executor": kill_executor,
    "framework": kill_framework,
    "framework-master": cut_framework,
    "master-agent": cut_agent,
}

TABLE = """
point                    master   agent    executor framework framework-master master-agent
offer_out                stale    stale    -        stale     stale            stale
accept_sent              never    dropped  -        never     never            dropped
resources_sent           never    dropped  -        runs      runs             gone
task_sent                never    dropped  -        runs      runs             gone
task_received            runs     runs     failed   runs      runs             runs
fetching                 runs     failed   -        runs      runs             runs
starting_sent            runs     runs     failed   runs      runs             runs
starting_unacknowledged  runs     runs     failed   runs      runs             runs
running_unacknowledged   runs     runs     failed   runs      runs             runs
running                  runs     runs     failed   runs      runs             runs
kill_sent                runs     killed   failed   runs      runs             runs
kill_passed_on           runs     killed   failed   killed    killed           runs
terminating              killed   killed   failed   killed    killed           killed
end_sent                 killed   killed   -        killed    killed           killed
end_unacknowledged       killed   killed   -        killed    killed           killed
end_acknowledged         killed   killed   -        over      over             killed
"""
"""What becomes of the task:

========  ======================================================================================
stale     nothing was launched; an ACCEPT of the old offer drops its task
never     nothing was launched, and nobody knows the task
dropped   the framework hears TASK_DROPPED; the command never ran
gone      the framework heard TASK_UNREACHABLE; then nobody knows the task; it never ran
runs      it ran once, runs on, and ends as TASK_KILLED when the framework wants that
failed    TASK_FAILED
killed    TASK_KILLED, perhaps told twice
over      the end was told and acknowledged before; nothing follows
========  ======================================================================================
"""


def cells() -> Iterator[tuple[str, str, str]]:
    """(point, victim, outcome) of everything that can happen."""
    head, *rows = TABLE.strip().splitlines()
    for row in rows:
        point, *outcomes = row.split()
        for victim, outcome in zip(head.split()[1:], outcomes, strict=True):
            if outcome != "-":
                yield point, victim, outcome


@contextmanager
def slow_file() -> Iterator[tuple[str, threading.Event]]:
    """URL of a file that comes when the event is set."""
    gate = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gate.wait(120)
            with suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file", gate
    finally:
        gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
