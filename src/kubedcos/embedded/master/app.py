"""The HTTP edge of the master: paths, methods, credentials, redirects, streams."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from kubedcos.embedded.approvals import Approver
from kubedcos.embedded.master import api_agent, api_operator, api_scheduler
from kubedcos.embedded.master.endpoints import ENDPOINTS, READONLY, READWRITE
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operator_calls import Caller
from kubedcos.embedded.master.responses import (
    JSON,
    BadRequest,
    compressed,
    empty,
    not_allowed,
    principal_of,
    text,
)
from kubedcos.embedded.master.streams import Stream
from kubedcos.embedded.protocol import LINK_INTERVAL, LINK_PATH, MASTER_PATH

_SLASHES: Final = re.compile(r"/{2,}")
_SCHEDULER: Final = "mesos-master-scheduler"
_AGENT: Final = "mesos-master-agent"


class MasterApp:
    """ASGI application of one master."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the server calls this."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path = _SLASHES.sub("/", request.url.path)
        body = await request.body()
        try:
            answer = self._answer(request, path, body)
            if isinstance(answer, Awaitable):
                answer = await answer
        except BadRequest as error:
            answer = error.response
        if isinstance(answer, Stream):
            await self._stream(answer, receive, send)
        elif answer is None:
            await self._link(request, receive, send)
        else:
            await compressed(request, answer)(scope, receive, send)

    def _answer(
        self, request: Request, path: str, body: bytes
    ) -> Response | Awaitable[Response] | Stream | None:
        """The answer; `None` for the link of an agent, which is a stream of its own kind."""
        if path in {MASTER_PATH, LINK_PATH}:
            return self._agent(request, path, body)
        local = path.removeprefix("/master") if path.startswith("/master/") else path
        if _within(local, "/api/v1/scheduler"):
            return self._scheduler(request, local, body)
        if _within(local, "/api/v1"):
            return self._operator(request, local, body)
        return self._older(request, local, body)

    def _require_leader(self, request: Request, path: str) -> None:
        engine = self._engine
        if engine.elected:
            return
        leader = engine.leader
        if leader is None:
            raise BadRequest(text(503, "No leader elected"))
        if leader.id == engine.state.info.id:
            raise BadRequest(text(503, "Master has not finished recovery"))
        query = f"?{request.url.query}" if request.url.query else ""
        location = f"//{leader.hostname}:{leader.port}{path}{query}"
        raise BadRequest(empty(307, {"Location": location}))

    def _scheduler(self, request: Request, path: str, body: bytes) -> Response | Stream:
        options = self._engine.options
        principal = principal_of(
            request,
            options.credentials,
            _SCHEDULER,
            required=options.authenticate_frameworks,
        )
        self._require_leader(request, f"/master{path}")
        if request.method != "POST":
            return not_allowed(request.method, "POST")
        return api_scheduler.handle(self._engine, request, body, principal)

    def _operator(self, request: Request, path: str, body: bytes) -> Response | Stream:
        options = self._engine.options
        principal = principal_of(
            request, options.credentials, READWRITE, required=options.authenticate_readwrite
        )
        self._require_leader(request, f"/master{path}")
        if request.method != "POST":
            return not_allowed(request.method, "POST")
        return api_operator.handle(self._engine, request, body, self._caller(principal))

    def _agent(
        self, request: Request, path: str, body: bytes
    ) -> Response | Awaitable[Response] | None:
        options = self._engine.options
        principal_of(request, options.credentials, _AGENT, required=options.authenticate_agents)
        self._require_leader(request, path)
        if path == LINK_PATH:
            api_agent.by_session(self._engine, request)
            return None
        if request.method != "POST":
            return not_allowed(request.method, "POST")
        return api_agent.handle(self._engine, request, body)

    def _older(self, request: Request, path: str, body: bytes) -> Response:
        endpoint = ENDPOINTS.get("/quota" if _within(path, "/quota") else path)
        if endpoint is None:
            return text(404, "404 Not Found.")
        options = self._engine.options
        required = {
            READONLY: options.authenticate_readonly,
            READWRITE: options.authenticate_readwrite,
        }
        principal = None
        if endpoint.realm is not None:
            principal = principal_of(
                request,
                options.credentials,
                endpoint.realm,
                required=required[endpoint.realm],
            )
        if endpoint.leader:
            self._require_leader(request, f"/master{path}")
        if endpoint.methods and request.method not in endpoint.methods:
            return not_allowed(request.method, *endpoint.methods)
        return endpoint.answer(self._engine, request, body, self._caller(principal))

    def _caller(self, principal: str | None) -> Caller:
        return Caller(principal, Approver(self._engine.options.acls, principal))

    async def _stream(self, stream: Stream, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", JSON.encode())]
        if stream.announced:
            headers.insert(0, (b"mesos-stream-id", stream.id.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def feed() -> None:
            async for record in stream.records():
                await send({"type": "http.response.body", "body": record, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await _until_gone(asyncio.ensure_future(feed()), receive)
        finally:
            self._engine.stream_ended(stream.id)

    async def _link(self, request: Request, receive: Receive, send: Send) -> None:
        agent = api_agent.by_session(self._engine, request)
        session = agent.session
        channel = self._engine.channels[agent.id]
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def feed() -> None:
            while not channel.ended.is_set():
                await send({"type": "http.response.body", "body": b"\n", "more_body": True})
                try:
                    async with asyncio.timeout(LINK_INTERVAL):
                        await channel.ended.wait()
                except TimeoutError:
                    continue
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        try:
            await _until_gone(asyncio.ensure_future(feed()), receive)
        finally:
            self._engine.agent_disconnected(agent.id, session)


def _within(path: str, endpoint: str) -> bool:
    return path == endpoint or path.startswith(endpoint + "/")


async def _until_gone(feeding: asyncio.Future[None], receive: Receive) -> None:
    """Wait until everything is sent or the client has gone, whichever is first."""

    async def gone() -> None:
        message: Message = {}
        while message.get("type") != "http.disconnect":
            message = await receive()

    watching = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({feeding, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (feeding, watching):
            task.cancel()
        await asyncio.gather(feeding, watching, return_exceptions=True)
