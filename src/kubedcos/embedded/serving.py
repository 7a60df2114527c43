"""The HTTP server of master and agent: TLS, and limits that keep it serving.

Mesos closes no connection that is idle, and clients rely on it. So this server keeps them too; only
when connections become scarce it gives up those that ask for nothing: idle ones, and requests that
do not arrive in full, the one that was served longest ago first. Streams and answers under way are
never given up.

A body of more than `MAX_BODY` bytes is read to its end, kept nowhere, and answered with 413; Mesos
would take it into memory, whatever its length.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from typing import Any, ClassVar, Final

import uvicorn
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from kubedcos.embedded.connect import legacy_fault
from kubedcos.embedded.tls import Tls
from kubedcos.serving import Server

MAX_BODY: Final = 32 << 20
_MOST: Final = 100_000


def raise_descriptor_limit() -> None:
    """As many descriptors as the administrator allows; programs started from here inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def look_for_garbage_rarely() -> None:
    """Tell Python's collector that there is next to nothing for it in a master.

    At the usual rate, looking for garbage in circles takes half of the time of an offer round for
    thousands of agents.
    """
    gc.set_threshold(50_000, 20, 20)


def connection_limit() -> int:
    """Three of four descriptors; the rest is for calls to others, files and ZooKeeper."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(max(soft * 3 // 4, 1), _MOST)


class _Connections:
    """All connections of one server, the one that was served longest ago first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[_Connection, None] = {}

    def admit(self, connection: _Connection) -> bool:
        """Take it in, at the cost of another one perhaps; False when there is no room."""
        if len(self._open) >= self._limit:
            idle = next((one for one in self._open if one.asks_nothing()), None)
            if idle is None:
                return False
            self.drop(idle)
            idle.transport.abort()
        self._open[connection] = None
        return True

    def served(self, connection: _Connection) -> None:
        """It got an answer."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def drop(self, connection: _Connection) -> None:
        """It is closed."""
        self._open.pop(connection, None)


class _Connection(H11Protocol):
    """One connection; see the module."""

    all: ClassVar[_Connections]
    tls: ClassVar[Tls | None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.all.admit(self):
            transport.abort()
        elif self.tls is not None and self.tls.require_client and self.tls.legacy:
            transport.pause_reading()
            self._checking = self.loop.create_task(self._check(transport, self.tls))

    async def _check(self, transport: asyncio.Transport, tls: Tls) -> None:
        if await legacy_fault(transport, tls) is not None:
            transport.abort()
        elif not transport.is_closing():
            transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.all.drop(self)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()
        self.all.served(self)

    def asks_nothing(self) -> bool:
        """Whether no request has arrived in full that waits for its answer."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body


def server(
    app: ASGIApp,
    *,
    tls: Tls | None,
    host: str = "127.0.0.1",
    port: int = 0,
    limit: int | None = None,
) -> Server:
    """A server for `app`.

    Args:
        app: takes bodies of any length; longer ones never reach it.
        tls: None for plain HTTP.
        host: address to listen on, unless the server is given a listening socket.
        port: likewise.
        limit: of connections; what descriptors allow if None.
    """
    connections = _Connections(connection_limit() if limit is None else limit)
    made: dict[str, Any] = {"all": connections, "tls": tls}
    config = uvicorn.Config(
        _bounded(app),
        host=host,
        port=port,
        http=type("Connection", (_Connection,), made),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        backlog=socket.SOMAXCONN,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls.server,
    )
    return Server(config)


def _bounded(app: ASGIApp) -> ASGIApp:
    """`app`, out of the reach of bodies that are too long."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        size = 0

        async def counting() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size <= MAX_BODY:
                return message
            while message["type"] == "http.request" and message.get("more_body", False):
                message = await receive()
            text = f"413 Payload Too Large. The embedded engine reads {MAX_BODY} bytes at most."
            raise HTTPException(413, text)

        try:
            await app(scope, counting, send)
        except HTTPException as error:
            answer = PlainTextResponse(error.detail, error.status_code)
            await answer(scope, receive, send)

    return wrapped
