"""Bad bodies, types, headers, methods at every API: *-malformed.json."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from .client import Http
from .engine import Cluster
from .recordings import book

# What the embedded engine does not have, and says so.
PROTOBUF = ("protobuf",)
# Pages for people, and what the recording could not hold.
NOT_COMPARED = ("path /", "path /help")


def exchanges(name: str) -> list[Any]:
    return [
        pytest.param(entry, id=f"{position}-{entry['note']}")
        for position, entry in enumerate(book(name))
        if entry["note"] not in NOT_COMPARED
    ]


def refused_by_us(cluster: Cluster, entry: dict[str, Any]) -> bool:
    """Whether the embedded engine does not have what this is about."""
    if not cluster.embedded:
        return False
    value = entry.get("request")
    text = f"{entry['note']} {json.dumps(value)}"
    return any(word in text for word in PROTOBUF)


def replay(cluster: Cluster, http: Http, entry: dict[str, Any]) -> None:
    value = entry.get("request")
    if isinstance(value, str) and value.startswith("base64:"):
        body: bytes | None = base64.b64decode(value.removeprefix("base64:"))
    elif isinstance(value, str):
        body = value.encode()
    else:
        body = json.dumps(value).encode() if value is not None else None
    answer = http.request(entry["method"], entry["path"], body, entry.get("request_headers") or {})
    if refused_by_us(cluster, entry):
        assert answer.status in {400, 406, 415}
        return
    assert answer.status == entry["status"]
    if isinstance(entry["body"], str) and entry["body"].startswith("base64:"):
        # GET_VERSION: the type, and in a field of its own the version; the build is another one.
        theirs = base64.b64decode(entry["body"].removeprefix("base64:"))
        version = http.get("/version").json["version"].encode()
        assert answer.body[:2] == theirs[:2]
        assert b"\x0a" + bytes([len(version)]) + version in answer.body
    elif isinstance(entry["body"], str) and entry["path"] in {"/api/v1", "/api/v1/scheduler"}:
        assert answer.text == entry["body"]
    for header in ("Allow", "Content-Type", "Content-Encoding"):
        assert answer.headers.get(header.lower()) == entry["headers"].get(header)


@pytest.mark.parametrize("entry", exchanges("scheduler-malformed.json"))
@pytest.mark.contract(
    endpoints="/api/v1/scheduler", calls="ACCEPT TEARDOWN", recordings="scheduler-malformed.json"
)
def test_scheduler_api(cluster: Cluster, entry: dict[str, Any]) -> None:
    replay(cluster, cluster.master, entry)


@pytest.mark.parametrize("entry", exchanges("operator-malformed.json"))
@pytest.mark.contract(
    endpoints="/api/v1", operator="LIST_FILES READ_FILE", recordings="operator-malformed.json"
)
@pytest.mark.contract(
    operator="MARK_AGENT_GONE TEARDOWN GET_METRICS", recordings="operator-malformed.json"
)
@pytest.mark.contract(
    operator="SET_LOGGING_LEVEL RESERVE_RESOURCES UNRESERVE_RESOURCES CREATE_VOLUMES",
    recordings="operator-malformed.json",
)
@pytest.mark.contract(
    operator="DESTROY_VOLUMES GROW_VOLUME SHRINK_VOLUME", recordings="operator-malformed.json"
)
def test_operator_api(cluster: Cluster, entry: dict[str, Any]) -> None:
    replay(cluster, cluster.master, entry)


@pytest.mark.parametrize("entry", exchanges("agent-malformed.json"))
@pytest.mark.contract(
    agent_endpoints="/api/v1",
    agent_calls="LIST_FILES READ_FILE SET_LOGGING_LEVEL WAIT_CONTAINER WAIT_NESTED_CONTAINER",
    recordings="agent-malformed.json",
)
@pytest.mark.contract(
    agent_calls="KILL_CONTAINER KILL_NESTED_CONTAINER GET_CONTAINERS PRUNE_IMAGES",
    recordings="agent-malformed.json",
)
def test_agent_api(cluster: Cluster, agent: Http, entry: dict[str, Any]) -> None:
    replay(cluster, agent, entry)
