"""Bad bodies, types, headers, methods: scheduler-malformed.json and operator-malformed.json."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from .engine import Cluster
from .recordings import book

# What the embedded engine does not have, and says so: protobuf, some operator calls.
PROTOBUF = ("protobuf",)
UNSUPPORTED = (
    *("SET_LOGGING_LEVEL", "UPDATE_WEIGHTS", "RESERVE_RESOURCES", "CREATE_VOLUMES"),
    *("GROW_VOLUME", "SHRINK_VOLUME", "START_MAINTENANCE", "STOP_MAINTENANCE", "DRAIN_AGENT"),
    *("DEACTIVATE_AGENT", "REACTIVATE_AGENT", "UPDATE_QUOTA", "SET_QUOTA", "REMOVE_QUOTA"),
)


def exchanges(name: str) -> list[Any]:
    return [
        pytest.param(entry, id=f"{position}-{entry['note']}")
        for position, entry in enumerate(book(name))
        if not any(word in entry["note"] for word in ("gzip", "path /", "jsonp"))
    ]


def replay(cluster: Cluster, entry: dict[str, Any]) -> None:
    value = entry.get("request")
    if isinstance(value, str) and value.startswith("base64:"):
        body: bytes | None = base64.b64decode(value.removeprefix("base64:"))
    elif isinstance(value, str):
        body = value.encode()
    else:
        body = json.dumps(value).encode() if value is not None else None
    answer = cluster.master.request(
        entry["method"], entry["path"], body, entry.get("request_headers") or {}
    )
    text = f"{entry['note']} {json.dumps(value)}"
    if cluster.embedded and any(word in text for word in PROTOBUF):
        assert answer.status in {400, 406, 415}
        return
    if cluster.embedded and any(word in str(value) for word in UNSUPPORTED):
        assert answer.status in {400, 406, 501}
        return
    assert answer.status == entry["status"]
    if isinstance(entry["body"], str):
        assert answer.text == entry["body"]
    for header in ("Allow", "Content-Type"):
        assert answer.headers.get(header.lower()) == entry["headers"].get(header)


@pytest.mark.parametrize("entry", exchanges("scheduler-malformed.json"))
@pytest.mark.contract(
    endpoints="/api/v1/scheduler", calls="ACCEPT TEARDOWN", recordings="scheduler-malformed.json"
)
def test_scheduler_api(cluster: Cluster, entry: dict[str, Any]) -> None:
    replay(cluster, entry)


@pytest.mark.parametrize("entry", exchanges("operator-malformed.json"))
@pytest.mark.contract(
    endpoints="/api/v1", operator="LIST_FILES READ_FILE", recordings="operator-malformed.json"
)
@pytest.mark.contract(
    operator="MARK_AGENT_GONE TEARDOWN GET_METRICS", recordings="operator-malformed.json"
)
@pytest.mark.contract(
    operator="UNRESERVE_RESOURCES DESTROY_VOLUMES", recordings="operator-malformed.json"
)
def test_operator_api(cluster: Cluster, entry: dict[str, Any]) -> None:
    replay(cluster, entry)
