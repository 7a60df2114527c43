"""The agent's HTTP server: Mesos' endpoints, and the master's private one."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kubedcos.embedded import file_answers
from kubedcos.embedded.agent import executor_api, operator_api, views, visible
from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.link import MasterLink
from kubedcos.embedded.agent.operator_api import Shown
from kubedcos.embedded.approvals import Approver
from kubedcos.embedded.credentials import principal_of
from kubedcos.embedded.host_statistics import system_statistics
from kubedcos.embedded.master.views import BUILD
from kubedcos.embedded.protocol import AGENT_PATH, SESSION_HEADER, decode_master_call
from kubedcos.embedded.verbosity import Verbosity
from kubedcos.errors import KubedcosError

log = logging.getLogger("kubedcos.embedded.agent")

Handler = Callable[[Request], Awaitable[Response]]
GZIP_ABOVE: Final = 1024
_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]


def text(status: int, body: str, headers: dict[str, str] | None = None) -> Response:
    """A plain text answer."""
    return PlainTextResponse(body, status, headers)


class AgentHttp:
    """The endpoints of one agent."""

    def __init__(self, agent: Agent, link: MasterLink, start_time: float) -> None:
        self.agent = agent
        self.link = link
        self.start_time = start_time
        self.shown = Shown(agent, link, start_time, Verbosity(logging.getLogger("kubedcos")))

    def routes(self) -> list[Route]:
        """Every path and who answers it."""
        reads: dict[str, Handler] = {
            "/state": self.state,
            "/flags": self.flags,
            "/containers": self.containers,
            "/monitor/statistics": self.statistics,
        }
        routes = [
            Route(AGENT_PATH, self.master_call, methods=["POST"]),
            Route("/health", self.health, methods=_METHODS),
            Route("/slave(1)/health", self.health, methods=_METHODS),
            Route("/version", self.version, methods=["GET", "POST"]),
            Route("/metrics/snapshot", self._readonly(self.metrics), methods=["GET", "POST"]),
        ]
        for path, handler in reads.items():
            for prefix in ("", "/slave(1)"):
                route = Route(prefix + path, self._readonly(handler), methods=["GET", "POST"])
                routes.append(route)
        for name in file_answers.NAMES:
            for suffix in ("", ".json"):
                handler = self._readonly(self.files(name))
                routes.append(Route(f"/files/{name}{suffix}", handler, methods=["GET", "POST"]))
        for prefix in ("/api/v1/executor", "/slave(1)/api/v1/executor"):
            routes.append(Route(prefix, self.executor, methods=_METHODS))
            routes.append(Route(prefix + "/{rest:path}", self.executor, methods=_METHODS))
        more: dict[str, Handler] = {
            "/logging/toggle": self.toggle,
            "/system/stats.json": self.system,
        }
        for path, handler in more.items():
            routes.append(Route(path, self._readonly(handler), methods=["GET", "POST"]))
        for prefix in ("/api/v1", "/slave(1)/api/v1"):
            routes.append(Route(prefix, self.operator, methods=_METHODS))
            routes.append(Route(prefix + "/{rest:path}", self.operator, methods=_METHODS))
        return routes

    def app(self) -> ASGIApp:
        """The ASGI application."""
        zip_middleware = Middleware(GZipMiddleware, minimum_size=GZIP_ABOVE + 1)
        app = Starlette(
            routes=self.routes(), middleware=[zip_middleware], exception_handlers={404: _not_found}
        )
        app.router.redirect_slashes = False
        return _single_slashes(app)

    def _readonly(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            approver = self._approver(request, "readonly")
            if approver is None:
                return _unauthorized("mesos-agent-readonly")
            request.state.approver = approver
            return await handler(request)

        return guarded

    def _approver(self, request: Request, realm: str) -> Approver | None:
        """What the caller may do; None for one who must say who he is and does not."""
        settings = self.agent.settings
        if not settings.flags.boolean(f"authenticate_http_{realm}"):
            return Approver(settings.acls)
        principal = principal_of(request.headers.get("authorization"), settings.http_credentials)
        return None if principal is None else Approver(settings.acls, principal)

    def _visible(self, request: Request, path: str, shown: Any) -> Response:
        approver: Approver = request.state.approver
        if approver.restricts:
            shown = visible.endpoint(path, shown, views.users(self.agent), approver)
        return _json(request, shown)

    async def health(self, _request: Request) -> Response:
        """The process is alive."""
        return Response()

    async def version(self, request: Request) -> Response:
        """Which Mesos this is like."""
        return _json(request, dict(sorted(BUILD.items())))

    async def flags(self, request: Request) -> Response:
        """All flags that are set."""
        if answer := _denied(request, "view_flags", None, get_only=True):
            return answer
        return _json(request, {"flags": self.agent.settings.flags.shown()})

    async def state(self, request: Request) -> Response:
        """Everything."""
        agent = self.agent
        address = f"{agent.settings.advertise_ip}:{agent.launcher.port}"
        master = self.link.master.host if self.link.master and self.link.registered else None
        view = views.state_view(
            agent, start_time=self.start_time, pid=f"slave(1)@{address}", master_hostname=master
        )
        return self._visible(request, "/state", view)

    async def containers(self, request: Request) -> Response:
        """Containers with their use of resources."""
        if answer := _denied(request, "get_endpoints", "/containers", get_only=True):
            return answer
        view = views.containers_view(self.agent, time.time())
        return self._visible(request, "/containers", view)

    async def statistics(self, request: Request) -> Response:
        """Use of resources by executor."""
        if answer := _denied(request, "get_endpoints", "/monitor/statistics", get_only=True):
            return answer
        return _json(request, views.statistics_view(self.agent, time.time()))

    async def metrics(self, request: Request) -> Response:
        """Counters and gauges."""
        if answer := _denied(request, "get_endpoints", "/metrics/snapshot"):
            return answer
        return _json(request, self.shown.metrics())

    def files(self, name: str) -> Handler:
        """One of the endpoints below ``/files``."""

        async def answer(request: Request) -> Response:
            query, approver = request.query_params, request.state.approver
            if name == "debug" and (denied := _denied(request, "get_endpoints", "/files/debug")):
                return denied
            path = query.get("path")
            if path and approver.restricts and name != "debug":
                users = views.users(self.agent)
                if not operator_api.may_read(path, users, approver):
                    return text(403, "")
            attached = views.files_of(self.agent)
            return file_answers.answer(attached, name, query, lambda value: _json(request, value))

        return answer

    async def toggle(self, request: Request) -> Response:
        """`/logging/toggle`."""
        if denied := _denied(request, "get_endpoints", "/logging/toggle"):
            return denied
        status, said = self.shown.verbosity.toggle(request.query_params)
        return text(status, said) if said else Response(status_code=status)

    async def system(self, request: Request) -> Response:
        """`/system/stats.json`."""
        return _json(request, system_statistics())

    async def operator(self, request: Request) -> Response:
        """The v1 operator API."""
        approver = self._approver(request, "readwrite")
        if approver is None:
            return _unauthorized("mesos-agent-readwrite")
        if request.method != "POST":
            return _not_allowed(request.method, "POST")
        body = await request.body()
        answer = operator_api.answer(self.shown, request.headers, body, approver)
        if answer.json is not None:
            return _json(request, answer.json)
        plain = answer.text or answer.status != HTTPStatus.OK
        return text(answer.status, answer.text) if plain else Response()

    async def executor(self, request: Request) -> Response:
        """The executor API, of which there is only what Mesos says to strangers."""
        if request.method != "POST":
            return _not_allowed(request.method, "POST")
        answer = executor_api.answer(self.agent, request.headers, await request.body())
        return text(*answer)

    async def master_call(self, request: Request) -> Response:
        """What the master wants; see `protocol`."""
        try:
            call = decode_master_call(await request.body())
        except msgspec.DecodeError as error:
            return text(400, str(error))
        try:
            known = await self.link.take(request.headers.get(SESSION_HEADER), call)
        except KubedcosError as error:
            log.exception("Carrying out %s", call.type)
            return text(500, str(error))
        return Response(status_code=202) if known else text(409, "unknown session")


def _json(request: Request, value: Any) -> Response:
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    jsonp = request.query_params.get("jsonp")
    if jsonp:
        return Response(f"{jsonp}({body})", headers={"Content-Type": "text/javascript"})
    return Response(body, media_type="application/json")


def _not_allowed(method: str, allowed: str) -> Response:
    body = f"405 Method Not Allowed. Expecting one of {{ '{allowed}' }}, but received '{method}'."
    return text(405, body, {"Allow": allowed})


def _denied(
    request: Request, action: str, name: str | None, *, get_only: bool = False
) -> Response | None:
    """The refusal, if the ACLs demand one; some endpoints then take no other method than GET."""
    approver: Approver = request.state.approver
    if get_only and approver.restricts and request.method != "GET":
        return _not_allowed(request.method, "GET")
    return None if approver.may(action, name) else text(403, "403 Forbidden.")


def _unauthorized(realm: str) -> Response:
    return text(401, "401 Unauthorized.", {"WWW-Authenticate": f'Basic realm="{realm}"'})


async def _not_found(_request: Request, _error: Exception) -> Response:
    return text(404, "404 Not Found.")


def _single_slashes(app: ASGIApp) -> ASGIApp:
    """Mesos takes ``//state`` for ``/state``."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            while "//" in scope["path"]:
                scope["path"] = scope["path"].replace("//", "/")
        await app(scope, receive, send)

    return wrapped
