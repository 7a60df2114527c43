"""HTTP Basic on all sides: authentication.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from .client import Http, framework_info, subscribed
from .engine import Cluster, Process, start_agent, start_master
from .recordings import recorded

SECRETS = {"ops": "ops-secret", "kube": "kube-secret", "agent": "agent-secret"}


def credential(directory: Path, name: str, value: Any) -> str:
    path = directory / name
    path.write_text(json.dumps(value))
    path.chmod(0o600)
    return f"--{name.removesuffix('.json')}={path}"


@pytest.fixture(scope="module")
def closed(
    own_flags: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cluster, Path]]:
    """A cluster where everybody has to say who they are."""
    directory = tmp_path_factory.mktemp("closed")
    made = Cluster(f"127.0.0.1:{free_port()}", ("ops", SECRETS["ops"]))
    listed = [{"principal": name, "secret": secret} for name, secret in SECRETS.items()]
    try:
        start_master(
            made,
            directory,
            "--authenticate_agents",
            "--authenticate_http_frameworks",
            "--http_framework_authenticators=basic",
            "--authenticate_http_readonly",
            "--authenticate_http_readwrite",
            credential(directory, "credentials.json", {"credentials": listed}),
        )
        own = {"principal": "agent", "secret": SECRETS["agent"]}
        start_agent(made, directory, 0, credential(directory, "credential.json", own))
        made.wait_for_agents(1)
        yield made, directory
    finally:
        made.stop()


BOOK = recorded("authentication.json")
PLAIN = [name for name, entry in BOOK.items() if entry["status"] in {200, 307, 401}]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.contract(behaviour="authentication", recordings="authentication.json")
def test_who_gets_in_is_as_recorded(closed: tuple[Cluster, Path], name: str) -> None:
    entry = BOOK[name]
    principal = entry["auth"]
    secret = "wrong" if name.endswith("_wrong") else SECRETS.get(principal or "", "")
    master = Http(closed[0].address, (principal, secret) if principal else None)
    if name == "subscribe_ok":
        with subscribed(master, name) as framework:
            assert framework.id
        return
    if entry["method"] == "GET":
        answer = master.get(entry["path"])
    else:
        answer = master.call(entry["path"], {"type": "GET_HEALTH"})
    assert answer.status == entry["status"]
    if entry["status"] == 401:
        assert answer.text == entry["body"]
        assert answer.headers["www-authenticate"] == entry["headers"]["WWW-Authenticate"]


@pytest.mark.contract(behaviour="authentication", recordings="authentication.json")
def test_a_framework_cannot_speak_for_another_principal(closed: tuple[Cluster, Path]) -> None:
    master = Http(closed[0].address, ("kube", SECRETS["kube"]))
    info = framework_info("foreign", principal="ops")
    call = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
    answer = master.call("/api/v1/scheduler", call)
    entry = BOOK["subscribe_other_principal"]
    assert (answer.status, answer.text) == (entry["status"], entry["body"])


@pytest.mark.contract(behaviour="authentication")
def test_calls_of_another_principal_are_refused(closed: tuple[Cluster, Path]) -> None:
    owner = Http(closed[0].address, ("kube", SECRETS["kube"]))
    with subscribed(owner, "owned") as framework:
        framework.master = Http(closed[0].address, ("ops", SECRETS["ops"]))
        assert framework.call("REVIVE").status == 400
        framework.master = owner
        assert framework.call("REVIVE").status == 202


@pytest.mark.contract(behaviour="authentication")
def test_an_agent_with_a_wrong_secret_ends(closed: tuple[Cluster, Path], tmp_path: Path) -> None:
    cluster, _ = closed
    wrong = {"principal": "agent", "secret": "wrong"}
    before = len(cluster.processes)
    agent: Process = start_agent(
        cluster, tmp_path, 1, credential(tmp_path, "credential.json", wrong)
    )
    assert len(cluster.processes) == before + 1
    assert agent.process is not None
    assert agent.process.wait(30) == 1
