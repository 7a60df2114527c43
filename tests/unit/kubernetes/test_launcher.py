"""The launcher of a task: sums, keys, what it asks the scheduler for, and what it waits for."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import wait_until

from kubedcos.kubernetes import launcher
from kubedcos.kubernetes.launcher import kubedcos_task, supervise_node
from kubedcos.kubernetes.payload import PRIVATE, SANDBOX_PROOF
from kubedcos.kubernetes.pki import Authority, Profile, request_public_key

from .agent_programs import run


def test_both_sides_mean_the_same_places() -> None:
    assert kubedcos_task.PRIVATE == supervise_node.PRIVATE == PRIVATE
    assert kubedcos_task.PROOF == SANDBOX_PROOF


@pytest.mark.parametrize(
    "name", ["kubedcos_task.py", "supervise.py", "balance.py", "node_cgroups.py"]
)
def test_programs_need_nothing_but_the_standard_library(name: str) -> None:
    lines = launcher.source(name).decode().splitlines()
    modules = {
        line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))
    }
    assert modules <= set(sys.stdlib_module_names)


def test_a_nodes_supervisor_runs_from_what_travels_to_the_task(tmp_path: Path) -> None:
    """Where nothing of this package is installed, as on an agent."""
    for path, text in launcher.runnable("node", "supervise_node.py", "node_cgroups.py").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    spec = tmp_path / "node.json"
    spec.write_text(json.dumps({"data": "/proc/self/no-such-folder"}))
    ran = subprocess.run(
        ["/usr/bin/python3", "-I", tmp_path / "node", spec],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ModuleNotFoundError" not in ran.stderr
    assert "No such file or directory: '/proc/self/no-such-folder'" in ran.stderr


def test_a_program_with_another_sum_is_refused_with_both_sums(tmp_path: Path) -> None:
    path = tmp_path / "etcd"
    path.write_bytes(b"right")
    right = hashlib.sha256(b"right").hexdigest()
    kubedcos_task.verify({str(path): right})
    path.write_bytes(b"wrong")
    with pytest.raises(kubedcos_task.Failure) as caught:
        kubedcos_task.verify({str(path): right})
    assert right in str(caught.value)
    assert hashlib.sha256(b"wrong").hexdigest() in str(caught.value)


def test_a_missing_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(kubedcos_task.Failure, match="No such file"):
        kubedcos_task.verify({str(tmp_path / "none"): "0"})


def test_keys_stay_where_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "PRIVATE", str(tmp_path))
    csr = kubedcos_task.create_key("server")
    request_public_key(csr.encode(), "test")
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in csr


def test_files_of_the_reply_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "PRIVATE", str(tmp_path))
    kubedcos_task.write_files([{"path": "a/b.key", "text": "secret"}])
    assert (tmp_path / "a/b.key").read_text() == "secret"
    assert (tmp_path / "a/b.key").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An HTTPS server that answers as it is told."""
    authority = Authority.create("api", time.time())
    profile = Profile("api", addresses=("127.0.0.1",), server=True)
    pair = authority.issue_pair(profile, time.time())
    told: dict[str, Any] = {"status": [200], "bodies": [], "ca": authority.certificate_pem.decode()}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told["bodies"].append(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            status = told["status"].pop(0) if len(told["status"]) > 1 else told["status"][0]
            body = json.dumps({"argv": ["x"], "path": self.path}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = tmp_path / "api.pem"
    file.write_bytes(pair.certificate_pem + pair.key_pem)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    told["url"] = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_material_comes_from_whichever_scheduler_leads(scheduler: dict[str, Any]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"https://127.0.0.1:{unused.getsockname()[1]}"
        reply = kubedcos_task.ask([dead, scheduler["url"]], scheduler["ca"], "t__1", b"{}")
    assert reply["path"] == "/v1/tasks/t__1/material"
    assert scheduler["bodies"] == [b"{}"]


def test_a_refusal_is_final_and_says_why(scheduler: dict[str, Any]) -> None:
    scheduler["status"] = [409]
    with pytest.raises(kubedcos_task.Failure, match=r"refused.*409"):
        kubedcos_task.ask([scheduler["url"]], scheduler["ca"], "t", b"{}")
    assert len(scheduler["bodies"]) == 1


def test_not_now_is_asked_again(scheduler: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task.time, "sleep", lambda _: None)
    scheduler["status"] = [503, 404, 200]
    kubedcos_task.ask([scheduler["url"]], scheduler["ca"], "t", b"{}")
    assert len(scheduler["bodies"]) == 3


def test_a_scheduler_of_another_authority_gets_nothing(
    scheduler: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubedcos_task, "REQUEST_DEADLINE", 0.5)
    other = Authority.create("other", time.time()).certificate_pem.decode()
    with pytest.raises(kubedcos_task.Failure, match=r"no scheduler answered.*CERTIFICATE_VERIFY"):
        kubedcos_task.ask([scheduler["url"]], other, "t", b"{}")
    assert scheduler["bodies"] == []


def test_waiting_ends_when_the_place_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        port = later.getsockname()[1]
        waiting = threading.Thread(target=kubedcos_task.wait_for, args=([["127.0.0.1", port]],))
        waiting.start()
        said: list[str] = []

        def told() -> bool:
            said.append(capsys.readouterr().err)
            return f"waiting for 127.0.0.1:{port}" in "".join(said)

        wait_until(told)
        later.listen()
        waiting.join(60)
        assert not waiting.is_alive()


def test_waiting_for_nothing_fails_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "WAIT_DEADLINE", 0.0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(kubedcos_task.Failure, match=f"127.0.0.1:{port} cannot be reached"):
            kubedcos_task.wait_for([["127.0.0.1", port]])


def test_one_place_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "WAIT_DEADLINE", 0.0)
    kubedcos_task.wait_for_one([])
    with socket.socket() as unused, socket.socket() as open_one:
        for line in (unused, open_one):
            line.bind(("127.0.0.1", 0))
        open_one.listen()
        places = [["127.0.0.1", line.getsockname()[1]] for line in (unused, open_one)]
        kubedcos_task.wait_for_one(places)
        with pytest.raises(kubedcos_task.Failure, match="cannot be reached"):
            kubedcos_task.wait_for_one([places[0], ["nowhere.invalid", 1]])


def test_the_scheduler_is_told_what_volumes_hold(tmp_path: Path) -> None:
    (tmp_path / "data/etcd/member/wal/deeper").mkdir(parents=True)
    (tmp_path / "data/lost+found").mkdir()
    (tmp_path / "data/file").touch()
    found = kubedcos_task.facts(str(tmp_path), {"data": "data", "none": "none"})["volumes"]
    assert found["data"] == ["etcd", "etcd/member", "etcd/member/wal", "lost+found"]
    assert found["none"] == []


def test_a_task_without_its_environment_says_what_is_missing() -> None:
    done = run("kubedcos_task.py")
    assert done.returncode == 1
    assert "'KUBEDCOS_TASK' is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage() -> None:
    assert run("kubedcos_task.py", "start").returncode == 2
