"""The module that waits for a phase, run as Ansible runs it, against a scheduler of this test."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubedcos.kubernetes.pki import Authority, Profile

Run = Callable[..., dict[str, Any]]
Answer = tuple[int, bytes]


def plan(status: str, *, reason: str = "") -> Answer:
    step = {"name": "etcd-0:[peer]", "status": status, "reason": reason}
    phase = {"name": "etcd", "status": status, "steps": [step]}
    return 200, json.dumps({"name": "deploy", "status": status, "phases": [phase]}).encode()


class Scheduler(ThreadingHTTPServer):
    """Gives one answer after the other, and the last one for ever."""

    answers: list[Answer]
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Scheduler

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Authorization"])
        answers = self.server.answers
        code, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(code)
        if code == 302:
            self.send_header("Location", body.decode())
        # One that is killed while it answers.
        promised = len(body) + (100 if body == b"{" else 0)
        self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test", time.time())


@pytest.fixture
def start(authority: Authority, tmp_path: Path) -> Iterator[Callable[..., Scheduler]]:
    pair = authority.issue_pair(Profile("s", addresses=("127.0.0.1",), server=True), time.time())
    (tmp_path / "crt").write_bytes(pair.certificate_pem)
    (tmp_path / "key").write_bytes(pair.key_pem)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    running: list[Scheduler] = []

    def run(*answers: Answer) -> Scheduler:
        server = Scheduler(("127.0.0.1", 0), Handler)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.answers, server.asked = list(answers), []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield run
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ask(run_module: Run, authority: Authority) -> Callable[..., dict[str, Any]]:
    def asked(*servers: Scheduler, **arguments: Any) -> dict[str, Any]:
        return run_module(
            "kubedcos_plan",
            **{
                "url": ",".join(f"https://127.0.0.1:{each.server_port}" for each in servers),
                "ca_pem": authority.certificate_pem.decode(),
                "token": "open-sesame",
                "cluster": "k1",
                "phase": "etcd",
                "timeout": 30,
                **arguments,
            },
        )

    return asked


def test_a_phase_is_waited_for_though_the_scheduler_restarts(
    ask: Callable[..., dict[str, Any]], start: Callable[..., Scheduler]
) -> None:
    standby = start((503, b'{"error": "stands by", "exit_code": 4}'))
    leads = start((200, b"{"), plan("STARTED"), plan("COMPLETE"))
    said = ask(standby, leads)
    assert (said["changed"], said["status"], said["incomplete"]) == (False, "COMPLETE", [])
    assert len(leads.asked) == 3


def test_a_phase_that_does_not_come_is_told_with_its_reason(
    ask: Callable[..., dict[str, Any]], start: Callable[..., Scheduler]
) -> None:
    said = ask(start(plan("PENDING", reason="needs 3 cpus")), timeout=0)
    assert said["failed"] is True
    assert said["msg"] == (
        "phase etcd of k1 was not complete after 0 s: etcd-0:[peer] is PENDING: needs 3 cpus"
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, b'{"error": "no token of an operator"}'), "401: no token of an operator"),
        ((404, b"<html>"), "404 Not Found"),
    ],
)
def test_a_refusal_is_told_at_once(
    ask: Callable[..., dict[str, Any]],
    start: Callable[..., Scheduler],
    answer: Answer,
    words: str,
) -> None:
    refuses = start(answer)
    assert ask(refuses)["msg"] == f"the scheduler refuses: {words}"
    assert len(refuses.asked) == 1


def test_a_phase_that_is_none_is_answered_with_those_there_are(
    ask: Callable[..., dict[str, Any]], start: Callable[..., Scheduler]
) -> None:
    said = ask(start(plan("COMPLETE")), phase="ectd")
    assert said["msg"] == "plan deploy has no phase ectd; wanted one of etcd"


def test_the_token_follows_no_redirection(
    ask: Callable[..., dict[str, Any]], start: Callable[..., Scheduler]
) -> None:
    stranger = start(plan("COMPLETE"))
    redirects = start((302, f"https://127.0.0.1:{stranger.server_port}/".encode()))
    assert "302" in ask(redirects, timeout=0)["msg"]
    assert stranger.asked == []


def test_a_certificate_that_is_none_is_told(
    ask: Callable[..., dict[str, Any]], start: Callable[..., Scheduler]
) -> None:
    assert ask(start(plan("COMPLETE")), ca_pem="x")["msg"].endswith("wanted a certificate in PEM")
