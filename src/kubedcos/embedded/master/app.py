"""The HTTP edge of the master: paths, methods, credentials, redirects, streams."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from kubedcos.embedded.flags import duration
from kubedcos.embedded.master import api_agent, api_operator, api_scheduler, role_views, views
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.responses import (
    JSON,
    BadRequest,
    empty,
    json_answer,
    not_allowed,
    principal_of,
    text,
)
from kubedcos.embedded.master.streams import Stream
from kubedcos.embedded.protocol import LINK_INTERVAL, LINK_PATH, MASTER_PATH

_SLASHES: Final = re.compile(r"/{2,}")
_READONLY: Final = "mesos-master-readonly"
_READWRITE: Final = "mesos-master-readwrite"
_SCHEDULER: Final = "mesos-master-scheduler"
_AGENT: Final = "mesos-master-agent"

View = Callable[[Engine, Request], Any]

_VIEWS: Final[dict[str, View]] = {
    "/state": lambda engine, _: views.state_view(engine.state, engine.options),
    "/state-summary": lambda engine, _: views.summary_view(engine.state, engine.options),
    "/slaves": lambda engine, request: views.slaves_view(engine.state, request.query_params),
    "/frameworks": lambda engine, request: views.frameworks_view(
        engine.state, request.query_params
    ),
    "/tasks": lambda engine, request: views.tasks_view(engine.state, request.query_params),
    "/roles": lambda engine, _: role_views.roles_view(engine.state),
}
"""Endpoints that only the leader answers."""


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
        except BadRequest as error:
            answer = error.response
        if isinstance(answer, Stream):
            await self._stream(answer, receive, send)
        elif answer is None:
            await self._link(request, receive, send)
        else:
            await answer(scope, receive, send)

    def _answer(self, request: Request, path: str, body: bytes) -> Response | Stream | None:
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
            return not_allowed(request.method)
        return api_scheduler.handle(self._engine, request, body, principal)

    def _operator(self, request: Request, path: str, body: bytes) -> Response:
        options = self._engine.options
        principal_of(
            request, options.credentials, _READWRITE, required=options.authenticate_readwrite
        )
        self._require_leader(request, f"/master{path}")
        if request.method != "POST":
            return not_allowed(request.method)
        return api_operator.handle(self._engine, request, body)

    def _agent(self, request: Request, path: str, body: bytes) -> Response | None:
        options = self._engine.options
        principal_of(request, options.credentials, _AGENT, required=options.authenticate_agents)
        self._require_leader(request, path)
        if path == LINK_PATH:
            api_agent.by_session(self._engine, request)
            return None
        if request.method != "POST":
            return not_allowed(request.method)
        return api_agent.handle(self._engine, request, body)

    def _older(self, request: Request, path: str, body: bytes) -> Response:
        if path == "/health":
            return empty(200)
        if path == "/version":
            return json_answer(dict(sorted(views.BUILD.items())), request)
        if path == "/redirect":
            return self._redirect()
        if path == "/teardown":
            return self._teardown(request, body)
        if path in {"/flags", "/metrics/snapshot", *_VIEWS} or path.startswith("/files/"):
            return self._read(request, path)
        if path == "/":
            return text(200, "The embedded Mesos master of kubedcos. It has no web interface.\n")
        return text(404, "404 Not Found.")

    def _redirect(self) -> Response:
        leader = self._engine.leader
        if leader is None:
            return text(503, "No leader elected")
        return empty(307, {"Location": f"//{leader.hostname}:{leader.port}"})

    def _read(self, request: Request, path: str) -> Response:
        options = self._engine.options
        principal_of(
            request, options.credentials, _READONLY, required=options.authenticate_readonly
        )
        if path in _VIEWS:
            self._require_leader(request, f"/master{path}")
            return json_answer(_VIEWS[path](self._engine, request), request)
        if path == "/flags":
            return json_answer({"flags": options.flags.shown()}, request)
        if path == "/metrics/snapshot":
            return self._metrics(request)
        if path == "/files/debug":
            return json_answer({}, request)
        if path not in {"/files/browse", "/files/read", "/files/download"}:
            return text(404, "404 Not Found.")
        if not request.query_params.get("path"):
            return text(400, "Expecting 'path=value' in query.\n")
        # The master has no files to show: it logs to stderr.
        if path == "/files/download":
            return text(404, "404 Not Found.")
        return Response(status_code=404, media_type="text/plain; charset=utf-8")

    def _metrics(self, request: Request) -> Response:
        timeout = request.query_params.get("timeout")
        if timeout is not None:
            try:
                duration(timeout)
            except ValueError:
                return text(400, f"Invalid timeout '{timeout}': Invalid duration '{timeout}'.\n")
        return json_answer(api_operator.metrics_of(self._engine), request)

    def _teardown(self, request: Request, body: bytes) -> Response:
        options = self._engine.options
        principal_of(
            request, options.credentials, _READWRITE, required=options.authenticate_readwrite
        )
        self._require_leader(request, "/master/teardown")
        if request.method != "POST":
            return not_allowed(request.method)
        values = parse_qs(body.decode("utf-8", "replace"))
        if "frameworkId" not in values:
            return text(400, "Missing 'frameworkId' query parameter in the request body")
        return api_operator.teardown(self._engine, values["frameworkId"][0])

    async def _stream(self, stream: Stream, receive: Receive, send: Send) -> None:
        headers = [
            (b"mesos-stream-id", stream.id.encode()),
            (b"content-type", JSON.encode()),
        ]
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
