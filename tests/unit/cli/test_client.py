"""The command line finds the scheduler that leads, whichever of the context's it asks first."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedcos.cli import client as command_client
from kubedcos.cli.client import Client, Unreachable
from kubedcos.cli.contexts import Context
from kubedcos.errors import KubedcosError, Refused
from kubedcos.kubernetes.pki import Authority, Profile

TOKEN = "open-sesame"
Answer = tuple[int, Any]
Start = Callable[[Callable[[], Answer]], str]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test", time.time())


class Scheduler(http.server.ThreadingHTTPServer):
    """Answers each request with what `answer` says; notes what it was asked."""

    asked: list[str]
    answer: Callable[[], Answer]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Scheduler

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Authorization"])
        status, document = self.server.answer()
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def servers() -> list[Scheduler]:
    return []


@pytest.fixture
def start(authority: Authority, tmp_path: Path, servers: list[Scheduler]) -> Iterator[Start]:
    pair = authority.issue_pair(Profile("s", addresses=("127.0.0.1",), server=True), time.time())
    (tmp_path / "crt").write_bytes(pair.certificate_pem)
    (tmp_path / "key").write_bytes(pair.key_pem)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "crt", tmp_path / "key")

    def run(answer: Callable[[], Answer]) -> str:
        server = Scheduler(("127.0.0.1", 0), Handler)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.asked, server.answer = [], answer
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"https://127.0.0.1:{server.server_address[1]}"

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


def client(authority: Authority, *urls: str) -> Client:
    return Client(Context("test", urls, authority.certificate_pem.decode(), TOKEN), seconds=5)


def standby(leader: str | None = None) -> Answer:
    return 503, {"error": "this scheduler stands by", "exit_code": 4, "leader": leader}


def test_a_standby_leads_to_the_one_that_leads(
    authority: Authority, start: Start, servers: list[Scheduler]
) -> None:
    leader = start(lambda: (200, ["k1"]))
    other = start(standby)
    first = start(lambda: standby(leader))
    assert client(authority, first, other, leader).get("clusters") == ["k1"]
    assert [len(server.asked) for server in servers] == [1, 0, 1]


def test_the_token_goes_to_nobody_that_the_context_does_not_name(
    authority: Authority, start: Start, servers: list[Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_client, "TAKEOVER_SECONDS", 0.1)
    stranger = start(lambda: (200, []))
    first = start(lambda: standby(stranger))
    with pytest.raises(Unreachable, match="stands by"):
        client(authority, first).get("clusters")
    assert servers[0].asked == []


def test_during_a_takeover_it_asks_again(authority: Authority, start: Start) -> None:
    answers = [standby(), standby(), (200, ["k1"])]
    only = start(lambda: answers.pop(0))
    dead = "https://127.0.0.1:9"
    assert client(authority, dead, only).get("clusters") == ["k1"]


def test_what_the_one_that_leads_refuses_is_refused(authority: Authority, start: Start) -> None:
    refuses = start(lambda: (409, {"error": "other options", "exit_code": 3}))
    other = start(lambda: (200, []))
    with pytest.raises(Refused, match="other options"):
        client(authority, refuses, other).get("clusters")
    busy = start(lambda: (503, {"error": "framework removed", "exit_code": 1}))
    with pytest.raises(KubedcosError, match="framework removed"):
        client(authority, busy, other).get("clusters")


def test_with_nobody_there_it_does_not_wait(authority: Authority) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no framework scheduler of context test answers"):
        client(authority, "https://127.0.0.1:9").get("clusters")
    assert time.monotonic() - began < command_client.TAKEOVER_SECONDS / 2
