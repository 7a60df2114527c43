"""What ACLs permit of maintenance and drains, at either form of a call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from kubedcos.clock import SystemClock
from kubedcos.embedded.master.app import MasterApp
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.options import read_options
from kubedcos.embedded.master.registry import Registry

MACHINE = {"hostname": "h", "ip": "10.0.0.1"}
WINDOW = {"machine_ids": [MACHINE], "unavailability": {"start": {"nanoseconds": 5}}}
SCHEDULE = {"windows": [WINDOW]}
AGENT = {"agent_id": {"value": "no-such"}}
DRAIN_ONLY = json.dumps(
    {
        "permissive": False,
        "drain_agents": [{"principals": {"type": "ANY"}, "agents": {"type": "ANY"}}],
    }
)


def answers(acls: str, *requests: tuple[str, str, Any]) -> list[tuple[int, str]]:
    """What a leader with this ACL file says, one after the other."""

    async def run() -> list[tuple[int, str]]:
        flags = ["--ip=127.0.0.1", "--hostname=h", "--registry=in_memory", f"--acls={acls}"]
        engine = Engine(read_options(flags, {}), SystemClock())
        engine.elect(Registry())
        transport = httpx2.ASGITransport(app=MasterApp(engine))
        headers = {"content-type": "application/json"}
        found = []
        async with httpx2.AsyncClient(transport=transport, base_url="http://m") as client:
            for method, path, body in requests:
                content = json.dumps(body) if body is not None else b""
                answer = await client.request(method, path, content=content, headers=headers)
                found.append((answer.status_code, answer.text))
        await engine.close()
        return found

    return asyncio.run(run())


def call(kind: str, body: Any) -> tuple[str, str, Any]:
    return ("POST", "/api/v1", {"type": kind, kind.lower(): body})


def test_what_is_denied_is_denied_at_both_places() -> None:
    denied = answers(
        '{"permissive": false}',
        call("UPDATE_MAINTENANCE_SCHEDULE", {"schedule": SCHEDULE}),
        call("UPDATE_MAINTENANCE_SCHEDULE", {"schedule": {}}),
        ("POST", "/maintenance/schedule", SCHEDULE),
        call("DRAIN_AGENT", AGENT),
        call("DEACTIVATE_AGENT", AGENT),
        call("REACTIVATE_AGENT", AGENT),
    )
    assert denied == [(403, "403 Forbidden.")] * len(denied)


def test_what_is_wrong_is_told_first() -> None:
    [start, down, stop, up, schedule] = answers(
        '{"permissive": false}',
        call("START_MAINTENANCE", {"machines": [MACHINE]}),
        ("POST", "/machine/down", [MACHINE]),
        call("STOP_MAINTENANCE", {"machines": []}),
        ("POST", "/machine/up", []),
        ("POST", "/maintenance/schedule", {"windows": [WINDOW | {"machine_ids": []}]}),
    )
    assert [status for status, _ in (start, down, stop, up, schedule)] == [400] * 5
    assert start[1].endswith("is not part of a maintenance schedule")


def test_machines_are_brought_down_and_up_by_those_who_may() -> None:
    entry = [{"principals": {"type": "ANY"}, "machines": {"type": "ANY"}}]
    scheduling = {"permissive": False, "update_maintenance_schedules": entry}
    requests = (
        call("UPDATE_MAINTENANCE_SCHEDULE", {"schedule": SCHEDULE}),
        call("START_MAINTENANCE", {"machines": [MACHINE]}),
        ("POST", "/machine/down", [MACHINE]),
        ("GET", "/maintenance/schedule", None),
        ("GET", "/maintenance/status", None),
    )
    assert answers(json.dumps(scheduling), *requests) == [
        (200, ""),
        (403, "403 Forbidden."),
        (403, "403 Forbidden."),
        (200, "{}"),
        (200, "{}"),
    ]
    both = scheduling | {"start_maintenances": entry, "get_maintenance_statuses": entry}
    found = answers(json.dumps(both), *requests[:2], ("POST", "/machine/up", [MACHINE]))
    assert found == [(200, ""), (200, ""), (403, "403 Forbidden.")]


@pytest.mark.parametrize(
    ("gone", "answer"), [(False, (400, "Unknown agent")), (True, (403, "403 Forbidden."))]
)
def test_a_drain_to_be_gone_needs_both_permissions(gone: bool, answer: tuple[int, str]) -> None:
    assert answers(DRAIN_ONLY, call("DRAIN_AGENT", AGENT | {"mark_gone": gone})) == [answer]
