"""Commands that look and steer, against a scheduler that plays its part."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from kubedcos.api import identity

pytestmark = pytest.mark.long

STEP = {
    "name": "etcd-0:[server]",
    "status": "COMPLETE",
    "pod": "etcd-0",
    "tasks": [],
    "started_at": None,
    "finished_at": None,
    "reason": "",
}
CLUSTER: dict[str, Any] = {
    "name": "k1",
    "version": "1.36.3",
    "stage": "running",
    "status": "COMPLETE",
    "doing": "everything is complete",
    "error": None,
    "master": "m1:5050",
    "framework_id": "F-1",
    "connected": True,
    "plans": [
        {
            "name": "deploy",
            "status": "COMPLETE",
            "phases": [
                {"name": "etcd", "strategy": "serial", "status": "COMPLETE", "steps": [STEP]}
            ],
        }
    ],
    "pods": [{"name": "etcd-0", "tasks": [{"name": "server", "state": "TASK_RUNNING"}]}],
}


@dataclass
class Started:
    """A command that goes on until it is interrupted."""

    process: subprocess.Popen[str]

    def lines(self, count: int) -> list[str]:
        """The next lines of its output."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline().removesuffix("\n") for _ in range(count)]

    def interrupted(self) -> tuple[int, str]:
        """Its exit status after ^C, and all that it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate()
        return self.process.returncode, said


@dataclass
class Played:
    """Answers by method and path, how many of them do not come, and what was asked."""

    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    lost: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, list[str]], Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[Started]:
        with subprocess.Popen(
            [sys.executable, "-m", "kubedcos.cli.main", *words],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            # A line that never comes ends the test all the same.
            late = threading.Timer(60, process.kill)
            late.start()
            try:
                yield Started(process)
            finally:
                late.cancel()
                process.kill()

    def cli(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kubedcos.cli.main", *words],
            env={**os.environ, **self.environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    found = Played()
    found.answers["GET", "/v1/clusters"] = 200, [CLUSTER]

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            found.asked.append((self.command, parts.path, parse_qs(parts.query), body))
            found.headers = {name: unquote(value) for name, value in self.headers.items()}
            if found.lost.get((self.command, parts.path), 0):
                found.lost[self.command, parts.path] -= 1
                self.close_connection = True
                return
            missing = (404, {"error": f"nothing at {parts.path}", "exit_code": 2})
            code, answer = found.answers.get((self.command, parts.path), missing)
            if callable(answer):
                answer = answer(parse_qs(parts.query))
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            pass

    shown = identity.ensure(tmp_path / "api", ["127.0.0.1"], time.time())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(shown.certificate, shown.key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    contexts = tmp_path / "cli/contexts"
    contexts.mkdir(parents=True)
    url = f"https://127.0.0.1:{server.server_address[1]}"
    document = {"url": url, "ca_pem": shown.ca_pem, "token": "t0k3n-of-the-test"}
    (contexts / "test.json").write_text(json.dumps(document))
    found.environment = {"KUBEDCOS_CONFIG": str(tmp_path / "cli")}
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("words", "path", "query"),
    [
        (("plan", "pause", "deploy", "etcd"), "interrupt", {"phase": ["etcd"]}),
        (("plan", "resume", "deploy"), "continue", {}),
        (
            ("plan", "restart", "deploy", "etcd", "etcd-0"),
            "restart",
            {"phase": ["etcd"], "step": ["etcd-0"]},
        ),
        (("plan", "force-restart", "deploy", "--yes"), "restart", {}),
        (("plan", "complete", "deploy", "-y"), "forceComplete", {}),
        (("plan", "start", "deploy"), "start", {}),
        (("plan", "stop", "deploy", "-y"), "stop", {}),
    ],
)
def test_verbs_of_plans(
    played: Played, words: tuple[str, ...], path: str, query: dict[str, list[str]]
) -> None:
    where = f"/v1/clusters/k1/plans/deploy/{path}"
    played.answers["POST", where] = 200, {"message": f"Received cmd: {path}: did it"}
    done = played.cli(*words, "-m", "Größe ändern")
    assert (done.returncode, done.stdout) == (0, "did it\n"), done.stderr
    assert played.asked[-1] == ("POST", where, query, None)
    assert played.headers["Kubedcos-Why"] == "Größe ändern"
    assert "@" in played.headers["Kubedcos-User"]


def test_what_is_far_reaching_asks_first(played: Played) -> None:
    played.answers["GET", "/v1/clusters/k1"] = 200, CLUSTER
    for words in (
        ("plan", "restart", "deploy"),
        ("plan", "stop", "deploy"),
        ("plan", "complete", "deploy", "etcd"),
        ("pod", "replace", "etcd-0"),
        ("cluster", "delete", "k1"),
    ):
        done = played.cli(*words, stdin="n\n")
        assert (done.returncode, done.stdout) == (1, ""), words
        assert "left as it was; --yes answers beforehand" in done.stderr
    unasked = played.cli("cluster", "delete", "k1").stderr
    assert "[y/N]: \nkubedcos: left as it was" in unasked
    assert {method for method, *_ in played.asked} == {"GET"}


def test_verbs_of_pods(played: Played) -> None:
    answer = 200, {"pod": "etcd-0", "tasks": ["etcd-0-server"]}
    for verb in ("restart", "replace", "pause", "resume"):
        played.answers["POST", f"/v1/clusters/k1/pod/etcd-0/{verb}"] = answer
    assert played.cli("pod", "pause", "etcd-0", "-t", "server", "--force").returncode == 0
    assert played.asked[-1][2:] == ({"force": ["true"]}, ["server"])
    shown = played.cli("pod", "restart", "etcd-0", "-o", "json")
    assert json.loads(shown.stdout) == answer[1]
    assert played.asked[-1][2:] == ({}, None)
    assert "etcd-0-server" in played.cli("pod", "replace", "etcd-0", "--yes").stdout
    assert played.asked[-1][2:] == ({}, None)
    # What is taken back does no harm: nobody is asked.
    assert "etcd-0-server" in played.cli("pod", "replace", "etcd-0", "--cancel").stdout
    assert played.asked[-1][2:] == ({"cancel": ["true"]}, None)
    assert played.cli("pod", "resume", "etcd-0").returncode == 0


def test_a_refusal_has_its_own_code_and_sentence(played: Played) -> None:
    refusal = {"error": "two of three etcd members would be down", "exit_code": 3}
    played.answers["POST", "/v1/clusters/k1/pod/etcd-0/restart"] = 409, refusal
    done = played.cli("pod", "restart", "etcd-0")
    assert (done.returncode, done.stdout) == (3, "")
    assert "two of three" in done.stderr


def test_status_is_a_table_or_data_and_waits(played: Played) -> None:
    shown = played.cli("status")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[0].startswith("NAME")
    assert "1/1" in shown.stdout
    assert json.loads(played.cli("status", "-o", "json").stdout)[0]["stage"] == "running"
    assert played.cli("status", "--wait", "10s").returncode == 0

    staging = {**CLUSTER, "stage": "staging", "status": "IN_PROGRESS"}
    played.answers["GET", "/v1/clusters"] = 200, [staging]
    late = played.cli("status", "--wait", "0.1s")
    assert (late.returncode, "k1" in late.stdout) == (4, True)
    broken = {**CLUSTER, "stage": "broken", "error": "removed by Mesos"}
    played.answers["GET", "/v1/clusters"] = 200, [broken]
    assert played.cli("status", "--wait", "60s").returncode == 1
    wrong = played.cli("status", "--wait", "soon")
    assert wrong.returncode == 2
    assert "'--wait': 'soon' is no duration such as 90s, 10m or 1h30m" in wrong.stderr


LOGS = "/v1/clusters/k1/pods/etcd-0/logs"


def play_logs(played: Played, task_id: str = "t__1", **said: str) -> None:
    """Let the task have said this on its streams; `play_logs` again lets it say more."""

    def answer(query: dict[str, list[str]]) -> dict[str, Any]:
        offset, file = int(query["offset"][0]), query.get("file", ["stdout"])[0]
        text = said.get(file, "")
        common = {"task": "server", "task_id": task_id, "hostname": "a1", "file": file}
        start = max(offset, 0)
        return {**common, "offset": start, "data": text[start:], "next_offset": len(text)}

    played.answers["GET", LOGS] = 200, answer


def numbered(word: str) -> str:
    return "".join(f"{word} {number}\n" for number in range(10))


def test_a_log_is_printed_from_its_last_lines_on(played: Played) -> None:
    play_logs(played, stderr=numbered("line"))
    assert played.cli("logs", "etcd-0", "--tail", "2").stdout == "line 8\nline 9\n"
    assert played.cli("logs", "etcd-0", "server", "--tail", "-1").stdout == numbered("line")
    assert played.asked[-1][2]["task"] == ["server"]


def test_both_streams_of_a_log_are_shown_under_headings(played: Played) -> None:
    play_logs(played, stdout=numbered("out"), stderr=numbered("err"))
    shown = played.cli("logs", "etcd-0", "--tail", "1").stdout
    assert shown == "==> stdout <==\nout 9\n\n==> stderr <==\nerr 9\n"
    assert played.cli("logs", "etcd-0", "--stdout", "--tail", "1").stdout == "out 9\n"
    assert played.cli("logs", "etcd-0", "--stderr", "--tail", "1").stdout == "err 9\n"
    assert played.cli("logs", "etcd-0", "--stdout", "--stderr", "--tail", "1").stdout == shown


def test_a_task_that_has_said_nothing(played: Played) -> None:
    play_logs(played)
    done = played.cli("logs", "etcd-0")
    assert (done.returncode, done.stdout) == (0, "")
    assert "etcd-0 has said nothing on stdout or stderr so far" in done.stderr


def test_both_streams_are_followed_and_the_task_that_comes_next(played: Played) -> None:
    play_logs(played, stderr="err 1\n")
    with played.started("logs", "etcd-0", "-f") as following:
        assert following.lines(1) == ["err 1"]
        play_logs(played, stdout="out 1\n", stderr="err 1\n")
        assert following.lines(3) == ["", "==> stdout <==", "out 1"]
        play_logs(played, task_id="t__2", stdout="", stderr="err 2\n")
        assert following.lines(3) == ["", "==> stderr <==", "err 2"]
        assert following.interrupted() == (0, "-- t__2 on a1 --\n\n")


def test_the_doctor_writes_an_archive_without_the_token(played: Played, tmp_path: Path) -> None:
    support = {"version": "1", "log": ["INFO: Bearer t0k3n-of-the-test"], "clusters": []}
    played.answers["GET", "/v1/support"] = 200, support
    played.answers["GET", "/v1/metrics/prometheus"] = 200, "kubedcos_build_info 1"
    path = tmp_path / "support.tar.gz"
    done = played.cli("doctor", "--file", str(path))
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stderr
    unpacked = subprocess.run(
        ["tar", "--extract", "--to-stdout", "--file", str(path)], capture_output=True, check=True
    )
    assert b"t0k3n-of-the-test" not in unpacked.stdout
    assert b"[redacted]" in unpacked.stdout


def test_the_doctor_names_what_no_agent_is_good_for(played: Played) -> None:
    plan = {**CLUSTER["plans"][0], "status": "PENDING"}
    complete = {**CLUSTER["plans"][0], "name": "recovery"}
    cluster = {**CLUSTER, "status": "PENDING", "plans": [plan, complete]}
    played.answers["GET", "/v1/clusters"] = 200, [cluster]
    group = {"steps": ["etcd-0:[server]"], "reason": "needs 3 cpus; best offer: 2.1", "agents": 4}
    not_offered = {"steps": ["kube-node-0:[kubelet]"], "reason": "needs an offer", "agents": 0}
    said = {"name": "deploy", "status": "PENDING", "waiting": [group, not_offered]}
    played.answers["GET", "/v1/clusters/k1/plans/deploy/why"] = 200, said
    done = played.cli("doctor", "--json")
    assert done.returncode == 1
    assert [found for found in json.loads(done.stdout) if not found["ok"]] == [
        {
            "id": "plan-waits",
            "ok": False,
            "subject": "k1: deploy/etcd-0:[server]",
            "seen": "needs 3 cpus; best offer: 2.1",
            "fix": "kubedcos plan show deploy --why --cluster k1",
        }
    ]


def test_the_only_cluster_is_shown_without_its_name(played: Played) -> None:
    played.answers["GET", "/v1/clusters/k1"] = 200, {**CLUSTER, "pods": []}
    done = played.cli("cluster", "show")
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["name", "k1"]), done.stderr


def test_completion_offers_names(played: Played) -> None:
    played.answers["GET", "/v1/clusters/k1/pods"] = 200, [{"name": "etcd-0"}, {"name": "kube-0"}]
    played.environment |= {
        "_KUBEDCOS_COMPLETE": "complete_bash",
        "COMP_WORDS": "kubedcos pod show et",
        "COMP_CWORD": "3",
    }
    assert played.cli().stdout.split() == ["etcd-0"]


def test_who_watches_goes_on_after_a_restart_of_the_scheduler(played: Played) -> None:
    with played.started("status", "--watch") as watching:
        assert watching.lines(2)[1].startswith("k1")
        played.lost["GET", "/v1/clusters"] = 2
        played.answers["GET", "/v1/clusters"] = 200, [{**CLUSTER, "doing": "something else"}]
        assert watching.lines(2)[1].endswith("something else")
        code, said = watching.interrupted()
    assert code == 4
    assert said.count("no framework scheduler of context") == 1
    played.lost["GET", "/v1/clusters"] = 1
    assert played.cli("status", "--watch").returncode == 1


def test_who_waits_bears_that_the_only_scheduler_restarts(played: Played, tmp_path: Path) -> None:
    options = tmp_path / "k1.yml"
    options.write_text("name: k1\n")
    complete = {**CLUSTER, "error": None}
    played.answers["POST", "/v1/clusters"] = 201, {"changed": True, "cluster": CLUSTER}
    played.answers["GET", "/v1/clusters/k1"] = 200, complete
    played.lost["GET", "/v1/clusters/k1"] = 2
    made = played.cli("cluster", "create", str(options), "--wait", "1m")
    assert (made.returncode, made.stdout) == (0, "cluster k1 created\n"), made.stderr
    # The same sentence is said once.
    assert made.stderr.count("no framework scheduler of context") == 1

    played.answers["DELETE", "/v1/clusters/k1"] = 202, {}
    played.answers["GET", "/v1/clusters"] = 200, []
    played.answers["GET", "/v1/leftovers"] = 200, []
    played.lost["GET", "/v1/clusters"] = 2
    gone = played.cli("cluster", "delete", "k1", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert gone.stderr.endswith("cluster k1 is gone\n")

    # Whoever does not wait, or has waited long enough, is told.
    played.lost["GET", "/v1/clusters/k1"] = 1
    assert played.cli("cluster", "show", "k1").returncode == 1
    played.lost["GET", "/v1/clusters/k1"] = 1000
    late = played.cli("cluster", "create", str(options), "--wait", "0.1")
    assert (late.returncode, late.stdout) == (1, "")
    assert "no framework scheduler of context" in late.stderr
