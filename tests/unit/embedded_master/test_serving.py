"""The HTTP server: bodies without end, connections that ask for nothing, and many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from tests.waiting import until

from kubedcos.embedded import serving

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LIMIT = 40
GET = b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells the size of a body; `/stream` answers without end."""
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"beat", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


class Serving:
    """A server on loopback, and connections to it that end with the test."""

    def __init__(self) -> None:
        self.server = serving.server(app, tls=None, limit=LIMIT)
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        self._task = asyncio.create_task(self.server.serve())
        await until(lambda: self.server.started)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        await self._stack.aclose()
        self.server.end()
        await self._task

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._stack.callback(writer.close)
        return reader, writer

    async def get(self) -> bytes:
        reader, writer = await self.connect()
        return await answer_to(reader, writer, GET)


async def answer_to(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes
) -> bytes:
    """Head and body of the answer; empty when the connection ends without one."""
    async with asyncio.timeout(60):
        writer.write(data)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return head + await reader.readexactly(size)


def served(story: Callable[[Serving], Awaitable[None]]) -> None:
    async def run() -> None:
        made = Serving()
        await made.start()
        try:
            await story(made)
        finally:
            await made.stop()

    asyncio.run(run())


def test_a_connection_may_be_idle_between_requests() -> None:
    async def story(made: Serving) -> None:
        reader, writer = await made.connect()
        for _ in range(3):
            assert (await answer_to(reader, writer, GET)).endswith(b"0 bytes")

    served(story)


@pytest.mark.parametrize(
    "opening", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
)
def test_connections_that_ask_for_nothing_give_way_to_others(opening: bytes) -> None:
    async def story(made: Serving) -> None:
        slow = []
        for _ in range(8 * LIMIT):
            reader, writer = await made.connect()
            writer.write(opening)
            slow.append(reader)
        assert (await made.get()).endswith(b"0 bytes")
        open_now = sum(not reader.at_eof() for reader in slow[-LIMIT:])
        assert len(made.server.server_state.connections) <= LIMIT
        assert open_now <= LIMIT

    served(story)


def test_streams_do_not_give_way_and_are_not_more_than_the_limit() -> None:
    async def story(made: Serving) -> None:
        streams = []
        for _ in range(LIMIT - 2):
            reader, writer = await made.connect()
            writer.write(b"GET /stream HTTP/1.1\r\nHost: m\r\n\r\n")
            assert b"beat" in await reader.readuntil(b"beat")
            streams.append(reader)
        for _ in range(3 * LIMIT):
            await made.connect()
        assert (await made.get()).endswith(b"0 bytes")
        assert not any(reader.at_eof() for reader in streams)
        for _ in range(2):
            reader, writer = await made.connect()
            writer.write(b"GET /stream HTTP/1.1\r\nHost: m\r\n\r\n")
            await reader.readuntil(b"beat")
        assert await made.get() == b""

    served(story)


def test_a_body_that_is_too_long_is_kept_nowhere_and_answered() -> None:
    async def story(made: Serving) -> None:
        piece = b"x" * (1 << 20)
        pieces = serving.MAX_BODY // len(piece) + 2
        reader, writer = await made.connect()
        size = len(piece) * pieces
        writer.write(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(pieces - 1):
            writer.write(piece)
            await writer.drain()
        answer = await answer_to(reader, writer, piece)
        assert answer.startswith(b"HTTP/1.1 413")
        assert str(serving.MAX_BODY).encode() in answer
        assert (await answer_to(reader, writer, GET)).endswith(b"0 bytes")

    served(story)


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
def test_what_is_no_http_gets_400_and_hurts_nobody(request_line: bytes) -> None:
    async def story(made: Serving) -> None:
        reader, writer = await made.connect()
        writer.write(request_line)
        async with asyncio.timeout(60):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400")
        assert (await made.get()).endswith(b"0 bytes")

    served(story)


def test_a_request_that_breaks_off_is_no_request() -> None:
    async def story(made: Serving) -> None:
        _, writer = await made.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 1000\r\n\r\nhalf")
        writer.close()
        assert (await made.get()).endswith(b"0 bytes")

    served(story)
