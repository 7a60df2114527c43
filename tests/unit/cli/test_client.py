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
from kubedcos.cli import contexts
from kubedcos.cli.client import Client, Unreachable
from kubedcos.cli.contexts import Context
from kubedcos.errors import ExitCode, InvalidInput, KubedcosError, Refused
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
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", f"{document}/v1/clusters")
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
    leader = start(lambda: (200, [{"name": "k1"}]))
    other = start(standby)
    first = start(lambda: standby(leader))
    assert client(authority, first, other, leader).get_all("clusters") == [{"name": "k1"}]
    assert [len(server.asked) for server in servers] == [1, 0, 1]


def test_the_token_goes_to_nobody_that_the_context_does_not_name(
    authority: Authority, start: Start, servers: list[Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_client, "TAKEOVER_SECONDS", 0.1)
    stranger = start(lambda: (200, []))
    first = start(lambda: standby(stranger))
    with pytest.raises(Unreachable, match="stands by"):
        client(authority, first).get_all("clusters")
    assert servers[0].asked == []


def test_during_a_takeover_it_asks_again(authority: Authority, start: Start) -> None:
    answers = [standby(), standby(), (200, [{"name": "k1"}])]
    only = start(lambda: answers.pop(0))
    dead = "https://127.0.0.1:9"
    assert client(authority, dead, only).get_all("clusters") == [{"name": "k1"}]


def test_what_the_one_that_leads_refuses_is_refused(authority: Authority, start: Start) -> None:
    refuses = start(lambda: (409, {"error": "other options", "exit_code": 3}))
    other = start(lambda: (200, []))
    with pytest.raises(Refused, match="other options"):
        client(authority, refuses, other).get_all("clusters")
    busy = start(lambda: (503, {"error": "framework removed", "exit_code": 1}))
    with pytest.raises(KubedcosError, match="framework removed"):
        client(authority, busy, other).get_all("clusters")


def test_with_nobody_there_it_does_not_wait(authority: Authority) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no framework scheduler of context test answers"):
        client(authority, "https://127.0.0.1:9").get_all("clusters")
    assert time.monotonic() - began < command_client.TAKEOVER_SECONDS / 2


def test_a_redirection_takes_the_token_nowhere(
    authority: Authority, start: Start, servers: list[Scheduler]
) -> None:
    stranger = start(lambda: (200, []))
    redirects = start(lambda: (302, stranger))
    with pytest.raises(KubedcosError, match="answered 302"):
        client(authority, redirects).get_all("clusters")
    assert servers[0].asked == []


@pytest.mark.parametrize(
    "answer",
    [b"<html>welcome</html>", b'[{"name": "k1"', b"", b"\xff\xfe\x00", b"null", b"{}", b"[1]"],
)
def test_who_answers_nonsense_is_no_scheduler(
    authority: Authority, start: Start, answer: bytes
) -> None:
    talks = start(lambda: (200, answer))
    with pytest.raises(KubedcosError, match="no framework scheduler of this version"):
        client(authority, talks).get_all("clusters")


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"<html>Oops</html>"),
        (502, []),
        (500, {"oops": 1}),
        (422, {"error": "x", "exit_code": 2, "problems": [{"nonsense": 1}]}),
        (400, {"error": "x", "exit_code": [3]}),
    ],
)
def test_a_refusal_in_other_words_is_shown_with_its_code(
    authority: Authority, start: Start, answer: Answer
) -> None:
    refuses = start(lambda: answer)
    with pytest.raises(KubedcosError, match=f"answered {answer[0]}: "):
        client(authority, refuses).get_all("clusters")


def test_a_token_that_is_not_known_is_wrong_input(authority: Authority, start: Start) -> None:
    refuses = start(lambda: (401, {"error": "no token of an operator", "exit_code": 2}))
    with pytest.raises(KubedcosError, match="does not know this context's token") as caught:
        client(authority, refuses).get_all("clusters")
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("key", "value", "seen"),
    [
        ("ca_pem", "", "empty text"),  # with none, any authority of this machine would do
        ("ca_pem", 5, "a value of the type int"),
        ("token", "two\nlines", "other text"),
        ("token", "t→ken", "other text"),
        ("token", None, "a value of the type NoneType"),
    ],
)
def test_a_context_with_a_wrong_value_is_refused_without_showing_it(
    tmp_path: Path, key: str, value: object, seen: str
) -> None:
    file = tmp_path / "lab.json"
    document = {"url": "https://127.0.0.1:9", "ca_pem": "x", "token": "t", key: value}
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidInput) as caught:
        contexts.read(file)
    assert str(caught.value).startswith(f"{file}: {key}: found {seen}; wanted ")
