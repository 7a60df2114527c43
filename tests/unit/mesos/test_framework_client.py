"""The framework's client against a master that is made of bytes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import (
    Backoff,
    CallRefused,
    Connection,
    HttpConnector,
    SubscriptionEnded,
    SubscriptionLost,
)
from kubedcos.mesos.detector import ListDetector, NoMaster
from kubedcos.mesos.recordio import encode_record

SUBSCRIBE = wire.CallSubscribe(wire.FrameworkInfo("root", "k8s", roles=("k8s",)))
SUBSCRIBED = {
    "type": "SUBSCRIBED",
    "subscribed": {"framework_id": {"value": "F-1"}, "heartbeat_interval_seconds": 15.0},
}
HEARTBEAT = {"type": "HEARTBEAT"}


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: Any
    connection: int


@dataclass
class Master:
    """Answers each request with what `answers` says; remembers all requests."""

    answers: Callable[[Request, asyncio.StreamWriter], Awaitable[None]]
    requests: list[Request] = field(default_factory=list)
    address: str = ""
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while (request := await self._read(reader, number)) is not None:
                self.requests.append(request)
                await self.answers(request, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(first.split()[1], headers, json.loads(body), number)


@asynccontextmanager
async def serving(
    answers: Callable[[Request, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Master]:
    master = Master(answers)
    server = await asyncio.start_server(master.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    master.address = f"{host}:{port}"
    try:
        yield master
    finally:
        server.close()


def reply(writer: asyncio.StreamWriter, status: int, text: str = "", **headers: str) -> None:
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(text)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", text]).encode())


def begin(writer: asyncio.StreamWriter, *events: dict[str, Any]) -> None:
    """Begin a stream; cut at odd places, because chunks are not records."""
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: stream-1\r\n\r\n"
    writer.write(head.encode())
    data = b"".join(encode_record(json.dumps(event).encode()) for event in events)
    for at in range(0, len(data), 7):
        piece = data[at : at + 7]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))


def end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"0\r\n\r\n")


async def subscribing(request: Request, writer: asyncio.StreamWriter) -> None:
    if request.body["type"] == "SUBSCRIBE":
        begin(writer, SUBSCRIBED, HEARTBEAT)
    else:
        reply(writer, 202)


@asynccontextmanager
async def connected(
    master: Master, credentials: tuple[str, str] | None = None
) -> AsyncIterator[Connection]:
    connector = HttpConnector(ListDetector((master.address,)), credentials, timeout_seconds=5)
    connection = await connector.connect(SUBSCRIBE)
    try:
        yield connection
    finally:
        await connection.close()


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())


def test_events_come_whole_however_the_stream_is_cut() -> None:
    async def story() -> None:
        async with serving(subscribing) as master, connected(master) as connection:
            assert connection.subscribed.framework_id.value == "F-1"
            assert (await connection.next_event()).type == "HEARTBEAT"

    run(story)


def test_calls_go_over_a_second_connection_with_stream_and_framework_id() -> None:
    async def story() -> None:
        async with serving(subscribing) as master, connected(master) as connection:
            await connection.call(wire.Call(type="REVIVE"))
            await connection.call(wire.Call(type="SUPPRESS"))
            first, *calls = master.requests
            assert "mesos-stream-id" not in first.headers
            assert [call.headers["mesos-stream-id"] for call in calls] == ["stream-1"] * 2
            assert [call.body["framework_id"] for call in calls] == [{"value": "F-1"}] * 2
            assert {call.connection for call in calls} == {2}
            assert calls[0].headers["content-type"] == "application/json"

    run(story)


def test_the_leader_is_followed_with_credentials() -> None:
    async def story() -> None:
        async with serving(subscribing) as leader:

            async def elsewhere(_: Request, writer: asyncio.StreamWriter) -> None:
                location = f"//{leader.address}/master/api/v1/scheduler"
                reply(writer, 307, Location=location)

            async with serving(elsewhere) as other, connected(other, ("p", "secret")) as connection:
                await connection.call(wire.Call(type="REVIVE"))
            subscribe, call = leader.requests
            assert subscribe.path == call.path == "/master/api/v1/scheduler"
            basic = "Basic " + base64.b64encode(b"p:secret").decode()
            assert subscribe.headers["authorization"] == call.headers["authorization"] == basic

    run(story)


def test_redirects_without_end_are_given_up() -> None:
    async def story() -> None:
        async def again(request: Request, writer: asyncio.StreamWriter) -> None:
            reply(writer, 307, Location=f"//{request.headers['host']}/api/v1/scheduler")

        async with serving(again) as master:
            with pytest.raises(NoMaster, match="more than 2 redirects"):
                async with connected(master):
                    pass
            assert len(master.requests) == 3

    run(story)


def test_the_next_master_is_tried_and_reasons_are_collected() -> None:
    async def story() -> None:
        async def recovering(_: Request, writer: asyncio.StreamWriter) -> None:
            reply(writer, 503, "No leader elected")

        async with serving(recovering) as one, serving(subscribing) as two:
            detector = ListDetector((one.address, two.address))
            connection = await HttpConnector(detector).connect(SUBSCRIBE)
            await connection.close()
            with pytest.raises(NoMaster, match="503 No leader elected"):
                await HttpConnector(ListDetector((one.address,))).connect(SUBSCRIBE)

    run(story)


def test_a_refused_framework_hears_mesos_own_words() -> None:
    async def story() -> None:
        async def refusing(_: Request, writer: asyncio.StreamWriter) -> None:
            error = {"type": "ERROR", "error": {"message": "Framework has been removed"}}
            begin(writer, error)
            end(writer)

        async with serving(refusing) as master:
            with pytest.raises(SubscriptionEnded, match="has been removed") as caught:
                async with connected(master):
                    pass
            assert caught.value.removed
            assert not caught.value.taken_over

    run(story)


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (400, "Framework cannot be found", SubscriptionLost),
        (400, "The stream ID 'x' included in this request didn't match", SubscriptionLost),
        (403, "Framework is not subscribed", SubscriptionLost),
        (503, "", SubscriptionLost),
        (307, "", SubscriptionLost),
        (400, "Expecting 'type' to be present", CallRefused),
    ],
)
def test_what_a_refused_call_means(status: int, text: str, error: type[Exception]) -> None:
    async def story() -> None:
        async def refusing(request: Request, writer: asyncio.StreamWriter) -> None:
            if request.body["type"] == "SUBSCRIBE":
                begin(writer, SUBSCRIBED)
            else:
                reply(writer, status, text)

        async with serving(refusing) as master, connected(master) as connection:
            with pytest.raises(error, match=f"REVIVE: {status}"):
                await connection.call(wire.Call(type="REVIVE"))

    run(story)


def test_the_end_of_the_stream_is_noticed() -> None:
    async def story() -> None:
        async def ending(_: Request, writer: asyncio.StreamWriter) -> None:
            begin(writer, SUBSCRIBED)
            end(writer)

        async with serving(ending) as master, connected(master) as connection:
            with pytest.raises(SubscriptionLost, match="closed the stream"):
                await connection.next_event()

    run(story)


def test_silence_beyond_five_heartbeats_is_the_end() -> None:
    async def story() -> None:
        async def silent(_: Request, writer: asyncio.StreamWriter) -> None:
            subscribed = {"framework_id": {"value": "F-1"}, "heartbeat_interval_seconds": 0.02}
            begin(writer, {"type": "SUBSCRIBED", "subscribed": subscribed})

        async with serving(silent) as master, connected(master) as connection:
            with pytest.raises(SubscriptionLost, match="no event"):
                await connection.next_event()

    run(story)


def test_nobody_there() -> None:
    async def story() -> None:
        async with serving(subscribing) as master:
            address = master.address
        with pytest.raises(NoMaster, match=address):
            await HttpConnector(ListDetector((address,))).connect(SUBSCRIBE)

    run(story)


def test_waits_grow_to_a_limit_and_begin_again() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    assert [backoff.next() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    backoff.reset()
    assert backoff.next() == 1.0
    assert len({Backoff().next() for _ in range(20)}) > 1
