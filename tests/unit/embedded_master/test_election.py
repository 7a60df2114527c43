"""Who leads, and what the others answer meanwhile: ha-and-operator.json."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from kubedcos.clock import SystemClock
from kubedcos.embedded.master.app import MasterApp
from kubedcos.embedded.master.election import Election
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.options import read_options
from kubedcos.embedded.protocol import MASTER_PATH
from kubedcos.mesos.messages import MasterInfo, decode
from kubedcos.mesos.zookeeper import zookeeper_address

BOOK: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "mesos" / "ha-and-operator.json").read_text()
)


async def request(
    app: MasterApp, method: str, path: str, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """One request straight into the application."""
    sent: list[Any] = []
    received = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {
        "type": "http",
        "method": method,
        "path": path.partition("?")[0],
        "raw_path": path.encode(),
        "query_string": path.partition("?")[2].encode(),
        "headers": [(b"host", b"h"), (b"content-type", b"application/json")],
        "scheme": "http",
        "server": ("h", 1),
    }

    async def receive() -> Any:
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:])


def standby(leader: MasterInfo | None) -> MasterApp:
    flags = ["--ip=127.0.0.1", "--hostname=h", "--registry=in_memory", "--zk=zk://z:1/mesos"]
    engine = Engine(read_options(flags, {}), SystemClock())
    engine.leader = leader
    return MasterApp(engine)


@pytest.mark.parametrize(
    "name",
    [
        "redirect_from_other",
        "state_from_other",
        "slaves_from_other",
        "subscribe_at_other",
        "operator_at_other",
        "operator_health_at_other",
    ],
)
@pytest.mark.contract(behaviour="election", recordings="ha-and-operator.json")
def test_a_standby_points_to_the_leader_as_recorded(name: str) -> None:
    entry = BOOK[name]
    leader = decode(BOOK["znodes_before"]["json.info_0000000004"]["data"], MasterInfo)
    status, headers, body = asyncio.run(request(standby(leader), entry["method"], entry["path"]))
    assert status == entry["status"]
    assert headers["location"] == entry["headers"]["Location"]
    assert body == b""


def test_a_redirect_keeps_the_query() -> None:
    leader = MasterInfo(id="l", ip=0, port=5050, hostname="lead")
    _, headers, _ = asyncio.run(request(standby(leader), "GET", "/slaves?slave_id=x"))
    assert headers["location"] == "//lead:5050/master/slaves?slave_id=x"
    _, headers, _ = asyncio.run(request(standby(leader), "POST", MASTER_PATH))
    assert headers["location"] == f"//lead:5050{MASTER_PATH}"


def test_without_a_leader_only_what_never_redirects_is_answered() -> None:
    app = standby(None)
    for path in ("/state", "/master/slaves", "/redirect", "/api/v1", "/api/v1/scheduler"):
        assert asyncio.run(request(app, "POST", path))[0] == 503, path
    for path in ("/health", "/version", "/flags", "/metrics/snapshot"):
        assert asyncio.run(request(app, "GET", path))[0] == 200, path
    body = json.loads(asyncio.run(request(app, "GET", "/metrics/snapshot"))[2])
    assert body["master/elected"] == 0.0


def judged(*session_states: str, timeout: float = 0.05) -> int:
    """How often the loss is told when the session goes through these states."""

    async def run() -> int:
        told, count = asyncio.Event(), 0

        def lost() -> None:
            nonlocal count
            count += 1
            told.set()

        own = MasterInfo(id="m", ip=0)
        address = zookeeper_address("zk://127.0.0.1:1/mesos")
        election = Election(address, own, timeout, lambda _: None, lost)
        for state in session_states:
            election._judge(state)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3 * timeout):
                await told.wait()
        return count

    return asyncio.run(run())


def test_a_short_break_is_forgiven_and_a_long_one_is_not() -> None:
    assert judged("CONNECTED", "SUSPENDED", "CONNECTED") == 0
    assert judged("CONNECTED", "SUSPENDED") == 1
    assert judged("CONNECTED", "LOST") == 1
