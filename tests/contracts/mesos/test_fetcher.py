"""The fetcher, seen by tasks that look at what came: fetcher.jsonl."""

from __future__ import annotations

import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from .client import Framework, launch, task
from .engine import Cluster
from .recordings import differences, status_differences, status_of

Json = dict[str, Any]
STORY = "fetcher.jsonl"


def archives() -> dict[str, bytes]:
    """What the web server has, by path."""
    packed, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("inside/a.txt")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"a\n"))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("z.txt", "z\n")
    return {
        "/run.sh": b"#!/bin/sh\nexit 0\n",
        "/a.tar.gz": packed.getvalue(),
        "/a.zip": zipped.getvalue(),
        "/plain": b"plain\n",
        "/bad.tar.gz": b"no archive\n",
    }


class Web:
    """A web server that remembers what it was asked."""

    def __init__(self, host: str) -> None:
        self.asked: list[str] = []
        files, asked = archives(), self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(f"{self.command} {self.path}")
                body = files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body or b"")

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://{host}:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web(cluster: Cluster) -> Iterator[Web]:
    """At the agents' own address: if they are elsewhere, they might not reach it."""
    agents = cluster.master.get("/slaves").json["slaves"]
    hosts = {agent["pid"].partition("@")[2].rpartition(":")[0] for agent in agents}
    try:
        [host] = hosts
        made = Web(host)
    except (ValueError, OSError):
        pytest.skip(f"the agents are not on the tests' own machine: {', '.join(sorted(hosts))}")
    yield made
    made.server.shutdown()
    made.server.server_close()


def uris(web: Web, *listed: Json | str) -> list[Json]:
    entries = [{"value": entry} if isinstance(entry, str) else entry for entry in listed]
    return [
        entry | {"value": web.url + entry["value"]} if entry["value"].startswith("/") else entry
        for entry in entries
    ]


def fetching(offer: Json, name: str, command: str, wanted: list[Json]) -> Json:
    info = {"value": command, "shell": True, "uris": wanted}
    return task(offer, name, "") | {"command": info}


@pytest.mark.contract(behaviour="fetcher", recordings="fetcher.jsonl")
def test_what_comes_and_under_which_name(framework: Framework, web: Web) -> None:
    offer = framework.offers()[0]
    tasks = (
        fetching(offer, "exe", "./run.sh", uris(web, {"value": "/run.sh", "executable": True})),
        fetching(
            offer,
            "extract",
            "test -e inside/a.txt && test -e z.txt && test -e a.tar.gz && test -e a.zip",
            uris(web, "/a.tar.gz", "/a.zip"),
        ),
        fetching(
            offer,
            "noextract",
            "test -e a.tar.gz && ! test -e inside && test -e sub/renamed && ! test -e plain",
            uris(
                web,
                {"value": "/a.tar.gz", "extract": False},
                {"value": "/plain", "output_file": "sub/renamed"},
            ),
        ),
        fetching(
            offer,
            "file",
            "test -s hostname && test -s other",
            [{"value": "/etc/hostname"}, {"value": "file:///etc/hostname", "output_file": "other"}],
        ),
    )
    framework.accept([offer], [launch(*tasks)])
    for name in ("exe", "extract", "noextract", "file"):
        ours = framework.status(name, "TASK_FINISHED")
        assert not status_differences(ours, status_of(STORY, name, "TASK_FINISHED"))


BAD: dict[str, list[Json | str]] = {
    "missing": ["/plain", "/missing"],
    "badtar": ["/bad.tar.gz"],
    "relative": ["no/such/file"],
    "scheme": ["nosuch://host/x"],
    "outabs": [{"value": "/plain", "output_file": "/etc/x"}],
    "quote": ["/plain' x"],
}


@pytest.mark.contract(behaviour="fetcher", recordings="fetcher.jsonl")
def test_what_cannot_be_fetched_fails_the_task(framework: Framework, web: Web) -> None:
    offer = framework.offers()[0]
    tasks = [fetching(offer, name, "true", uris(web, *listed)) for name, listed in BAD.items()]
    framework.accept([offer], [launch(*tasks)])
    for name in BAD:
        ours, theirs = framework.status(name), status_of(STORY, name, "TASK_FAILED")
        start = "Failed to launch container: Failed to fetch all URIs for container '"
        if theirs["message"].startswith(start):
            assert ours["message"].startswith(start)
            assert ours["message"].endswith("': exited with status 1")
            ours, theirs = ours | {"message": ""}, theirs | {"message": ""}
        assert not status_differences(ours, theirs)


@pytest.mark.contract(behaviour="fetcher", recordings="fetcher.jsonl")
def test_a_cached_file_is_asked_for_once(framework: Framework, web: Web) -> None:
    offer = framework.offers()[0]
    wanted = uris(web, {"value": "/plain", "cache": True})
    framework.accept([offer], [launch(fetching(offer, "cache-1", "test -e plain", wanted))])
    framework.status("cache-1", "TASK_FINISHED")
    assert web.asked == ["HEAD /plain", "GET /plain"]
    offer = next(
        later
        for later in iter(lambda: framework.offers()[0], None)
        if later["agent_id"] == offer["agent_id"]
    )
    framework.accept([offer], [launch(fetching(offer, "cache-2", "test -e plain", wanted))])
    framework.status("cache-2", "TASK_FINISHED")
    assert web.asked == ["HEAD /plain", "GET /plain"]


@pytest.mark.contract(behaviour="fetcher-escape")
def test_a_file_cannot_be_put_outside_the_sandbox(
    framework: Framework, web: Web, embedded_cluster: Cluster
) -> None:
    """Mesos lets ``..`` in `output_file` leave the sandbox; that is not compared but refused."""
    del embedded_cluster
    offer = framework.offers()[0]
    wanted = uris(web, {"value": "/plain", "output_file": "../x"})
    framework.accept([offer], [launch(fetching(offer, "outup", "true", wanted))])
    ours, theirs = framework.status("outup"), status_of(STORY, "outabs", "TASK_FAILED")
    assert ours["message"].startswith("Failed to launch container: ")
    assert differences(ours, theirs) == []
