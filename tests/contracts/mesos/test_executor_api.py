"""Strangers at an agent's executor API: executor-malformed.json."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from .client import Http
from .recordings import book

PATHS = ("/api/v1/executor",)


def exchanges() -> list[Any]:
    return [
        pytest.param(entry, id=f"{position}-{entry['note']}")
        for position, entry in enumerate(book("executor-malformed.json"))
        if entry["path"].startswith(PATHS)
    ]


@pytest.mark.parametrize("entry", exchanges())
@pytest.mark.contract(agent_endpoints="/api/v1/executor", recordings="executor-malformed.json")
def test_a_stranger_is_answered_as_recorded(agent: Http, entry: dict[str, Any]) -> None:
    value = entry.get("request")
    if isinstance(value, str) and value.startswith("base64:"):
        body: bytes | None = base64.b64decode(value.removeprefix("base64:"))
    elif isinstance(value, str):
        body = value.encode()
    else:
        body = json.dumps(value).encode() if value is not None else None
    headers = entry.get("request_headers") or {}
    answer = agent.request(entry["method"], entry["path"], body, headers)
    assert (answer.status, answer.text) == (entry["status"], entry["body"])
    for header in ("Allow", "Content-Type"):
        assert answer.headers.get(header.lower()) == entry["headers"].get(header)
