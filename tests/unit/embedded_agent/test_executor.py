"""The executor as a process: what it writes into its journal, and how it is talked to."""

import contextlib
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.processes import alive
from tests.waiting import wait_until

from kubedcos.embedded.agent.executor import run
from kubedcos.embedded.agent.executor.journal import JournalReader, JournalWriter

Record = dict[str, Any]


class Executor:
    """One executor process and a connection to it."""

    def __init__(self, directory: Path, *, connects: bool = True, **launch: Any) -> None:
        self.directory = directory
        self.journal = JournalReader(directory / "journal")
        self.records: list[Record] = []
        description = {
            "task_id": "t",
            "container_id": "c",
            "journal": str(directory / "journal"),
            "sandbox": str(directory),
            "environment": {"PATH": "/usr/bin:/bin", "FROM_AGENT": "yes"},
            "reports_killing": True,
        }
        (directory / "launch.json").write_text(json.dumps(description | launch))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "s"))
        listener.listen()
        with listener, (directory / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", run.__file__),
                    *(str(directory / "launch.json"), str(listener.fileno())),
                ],
                pass_fds=[listener.fileno()],
                stderr=err,
                start_new_session=True,
            )
        self.connection = self.connect() if connects else socket.socket(socket.AF_UNIX)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.directory / "s"))
        return connection

    def tell(self, **message: Any) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def until(self, wanted: Callable[[Record], bool], seconds: float = 60.0) -> Record:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.records += self.journal.read()
            for record in self.records:
                if wanted(record):
                    return record
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)
        raise AssertionError(f"not seen within {seconds} s: {self.records}")

    def until_state(self, state: str) -> Record:
        record = self.until(lambda r: r.get("status", {}).get("state") == f"TASK_{state}")
        return dict(record["status"])

    def statuses(self) -> list[Record]:
        self.records += self.journal.read()
        return [record["status"] for record in self.records if "status" in record]

    def states(self) -> list[str]:
        return [status["state"].removeprefix("TASK_") for status in self.statuses()]


Start = Callable[..., Executor]


@pytest.fixture
def start(short_directory: Path) -> Iterator[Start]:
    started: list[Executor] = []

    def begin(shell: str, **launch: Any) -> Executor:
        executor = Executor(short_directory, **({"command": {"value": shell}} | launch))
        started.append(executor)
        return executor

    yield begin
    for executor in started:
        executor.connection.close()
        with contextlib.suppress(ProcessLookupError):
            executor.process.terminate()
        try:
            executor.process.wait(60)
        finally:
            executor.process.kill()


def test_from_start_to_end(start: Start) -> None:
    executor = start("echo $FROM_AGENT > seen; exit 3")
    last = executor.until_state("FAILED")
    assert last["message"] == "Command exited with status 3"
    assert executor.process.wait(60) == 0
    assert executor.states() == ["STARTING", "RUNNING", "FAILED"]
    assert (executor.directory / "seen").read_text() == "yes\n"
    uuids = {status["uuid"] for status in executor.statuses()}
    assert len(uuids) == 3


def test_the_command_is_replaced_by_its_arguments_without_a_shell(start: Start) -> None:
    executor = start(
        "", command={"value": "/bin/sh", "shell": False, "arguments": ["x", "-c", "exit 5"]}
    )
    assert executor.until_state("FAILED")["message"] == "Command exited with status 5"


def test_a_program_that_is_not_there_fails(start: Start) -> None:
    executor = start("", command={"value": "/no/such/program", "shell": False})
    assert executor.until_state("FAILED")["message"] == "Command exited with status 1"
    assert "No such file" in (executor.directory / "stderr").read_text()


def test_kill_reaches_the_whole_tree_also_a_new_session(start: Start) -> None:
    executor = start("setsid sleep 600 & echo $! > child; wait")
    executor.until_state("RUNNING")
    child = executor.directory / "child"
    wait_until(lambda: child.exists() and child.read_text())
    pid = int(child.read_text())
    executor.tell(kill=None)
    assert executor.until_state("KILLED")["message"] == "Command terminated with signal Terminated"
    assert executor.states() == ["STARTING", "RUNNING", "KILLING", "KILLED"]
    wait_until(lambda: not alive(pid))


def test_who_ignores_term_is_killed_after_the_grace_period(start: Start) -> None:
    executor = start("trap '' TERM; touch ready; while true; do sleep 1; done", kill_grace=0.3)
    wait_until((executor.directory / "ready").exists)
    executor.tell(kill=None)
    assert executor.until_state("KILLED")["message"] == "Command terminated with signal Killed"


def test_health_checks_kill_in_the_end(start: Start) -> None:
    check = {"delay_seconds": 0, "interval_seconds": 0.05, "grace_period_seconds": 0}
    executor = start(
        "sleep 600",
        health_check=check
        | {"type": "COMMAND", "command": {"value": "exit 1"}, "consecutive_failures": 2},
    )
    assert executor.until_state("KILLED")["healthy"] is False
    unhealthy = [s for s in executor.statuses() if s.get("reason")]
    assert [s["healthy"] for s in unhealthy] == [False, False]


def test_a_check_that_hangs_is_a_failure(start: Start) -> None:
    executor = start(
        "sleep 600",
        health_check={
            "type": "COMMAND",
            "command": {"value": "sleep 600"},
            "delay_seconds": 0,
            "timeout_seconds": 0.2,
            "grace_period_seconds": 0,
            "consecutive_failures": 1,
        },
    )
    assert executor.until_state("KILLED")["healthy"] is False


@pytest.fixture
def web_port() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/well" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_http_and_tcp(start: Start, web_port: int) -> None:
    executor = start(
        "sleep 600",
        health_check={
            "type": "HTTP",
            "http": {"port": web_port, "path": "/well"},
            "delay_seconds": 0,
        },
        check={"type": "HTTP", "http": {"port": web_port, "path": "/no"}, "delay_seconds": 0},
    )
    executor.until(lambda r: r.get("status", {}).get("healthy") is True)
    # What is said before the first answer has no code.
    executor.until(
        lambda r: "status_code" in r.get("status", {}).get("check_status", {}).get("http", {})
    )
    said = [status for status in executor.statuses() if "reason" in status]
    assert {status["healthy"] for status in said if "healthy" in status} == {True}
    checks = [status.get("check_status", {}).get("http") for status in said]
    assert {"status_code": 404} in checks
    assert {"status_code": 200} not in checks


def test_a_port_where_nobody_listens(start: Start) -> None:
    # Who has bound a port and does not listen keeps others from it.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        tcp = {"port": deaf.getsockname()[1]}
        executor = start("sleep 600", check={"type": "TCP", "tcp": tcp, "delay_seconds": 0})
        record = executor.until(
            lambda r: r.get("status", {}).get("reason") == "REASON_TASK_CHECK_STATUS_UPDATED"
        )
    assert record["status"]["check_status"] == {"type": "TCP", "tcp": {"succeeded": False}}


def test_it_outlives_the_agent_and_is_found_again(start: Start) -> None:
    executor = start("sleep 600")
    executor.until_state("RUNNING")
    descriptors = Path(f"/proc/{executor.process.pid}/fd")
    with_agent = len(list(descriptors.iterdir()))
    executor.connection.close()
    wait_until(lambda: len(list(descriptors.iterdir())) < with_agent)
    assert executor.states() == ["STARTING", "RUNNING"]
    executor.connection = executor.connect()
    executor.tell(kill=None)
    executor.until_state("KILLED")
    assert executor.states() == ["STARTING", "RUNNING", "KILLING", "KILLED"]


def test_without_checkpoint_it_ends_with_the_agent(start: Start) -> None:
    executor = start("sleep 600", checkpoint=False)
    executor.until_state("RUNNING")
    executor.connection.close()
    executor.until_state("KILLED")
    assert executor.process.wait(60) == 0


def test_an_agent_that_stays_away_is_not_awaited_for_ever(start: Start) -> None:
    executor = start("sleep 600", recovery_timeout=0.2)
    executor.until_state("RUNNING")
    executor.connection.close()
    executor.until_state("KILLED")
    assert executor.process.wait(60) == 0


@pytest.mark.parametrize("checkpoint", [True, False])
def test_an_agent_that_died_before_it_connected_is_not_awaited_for_ever(
    start: Start, checkpoint: bool
) -> None:
    executor = start("sleep 600", connects=False, recovery_timeout=0.2, checkpoint=checkpoint)
    executor.until_state("KILLED")
    assert executor.process.wait(60) == 0


def test_max_completion_time(start: Start) -> None:
    executor = start("sleep 600", max_completion_time=0.2)
    status = executor.until_state("FAILED")
    assert status["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED"


def test_it_is_small(start: Start) -> None:
    executor = start("sleep 600")
    executor.until_state("RUNNING")
    fields = Path(f"/proc/{executor.process.pid}/smaps_rollup").read_text()
    private = sum(
        int(line.split()[1]) for line in fields.splitlines() if line.startswith("Private_")
    )
    assert private < 15 * 1024


def test_a_torn_line_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    writer = JournalWriter(str(path))
    writer.append({"start": {"pid": 1}})
    with path.open("ab") as stream:
        stream.write(b'{"status"')
    reader = JournalReader(path)
    assert reader.read() == [{"start": {"pid": 1}}]
    assert reader.read() == []
    with path.open("ab") as stream:
        stream.write(b": 1}\n")
    assert reader.read() == [{"status": 1}]
    writer.close()


def test_no_journal_yet(tmp_path: Path) -> None:
    assert JournalReader(tmp_path / "journal").read() == []
