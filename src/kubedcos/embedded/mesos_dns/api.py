"""The HTTP API of Mesos-DNS over the current records.

Shapes, texts and status codes as recorded. One difference is deliberate: `/v1/config` does not
show the Mesos secret.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kubedcos.embedded.mesos_dns.config import GO_NAMES, Config
from kubedcos.embedded.mesos_dns.records import Records

PROJECT_URL = "https://github.com/AVENTER-UG/mesos-dns"  # part of the recorded answer


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is served at a moment; `serial` is the zone's SOA serial."""

    records: Records
    serial: int


class Indented(JSONResponse):
    """JSON as Mesos-DNS writes it: indented by one space."""

    def render(self, content: Any) -> bytes:
        """Encode with Go's indentation."""
        return json.dumps(content, indent=1).encode()


def application(config: Config, version: str, current: Callable[[], Snapshot]) -> ASGIApp:
    """ASGI application that answers for `current()`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        response = _respond(Request(scope), config, version, current())
        await response(scope, receive, send)

    return app


def _respond(request: Request, config: Config, version: str, snapshot: Snapshot) -> Response:
    path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
    path = path.partition("?")[0]
    clean = posixpath.normpath(path)
    clean = "/" + clean.lstrip("/")
    if path.endswith("/") and clean != "/":
        clean += "/"
    if clean != path:
        body = f'<a href="{clean}">Temporary Redirect</a>.\n\n'
        return Response(body, 307, {"location": clean}, media_type="text/html")
    parts = path.strip("/").split("/")
    answer = _route(parts, config, version, snapshot)
    if answer is None:
        return PlainTextResponse("404: Page Not Found", 404)
    if request.method != "GET":
        body = "" if request.method == "HEAD" else "405: Method Not Allowed"
        return PlainTextResponse(body, 405, {"allow": "GET"})
    accept = request.headers.get("accept", "*/*")
    if not any(kind in accept for kind in ("*/*", "application/json", "application/*")):
        return PlainTextResponse(
            "406: Not Acceptable\n\nAvailable representations: application/json", 406
        )
    return answer


def _route(parts: list[str], config: Config, version: str, snapshot: Snapshot) -> Response | None:
    match parts:
        case ["v1", "version"]:
            return Indented({"Service": "Mesos-DNS", "URL": PROJECT_URL, "Version": version})
        case ["v1", "config"]:
            return Indented(_config(config, snapshot.serial))
        case ["v1", "hosts", name] if name and "%2f" not in name.lower():
            return Indented(_hosts(unquote(name), snapshot.records))
        case ["v1", "hosts", name, "ports"] if name:
            return PlainTextResponse("To be implemented...", 501)
        case ["v1", "services", name] if name and "%2f" not in name.lower():
            return Indented(_services(unquote(name), snapshot.records))
        case ["v1", "enumerate"] if config.enumeration_on:
            return Indented(_enumerate(snapshot.records))
        case ["v1", "axfr"] if config.enumeration_on:
            return Indented(_axfr(config, snapshot))
    return None


def lookup_name(name: str) -> str:
    """The name that is looked up: lower case, absolute, without ``.*``."""
    name = name.lower().replace(".*", "")
    return name if name.endswith(".") else name + "."


def _hosts(name: str, records: Records) -> list[dict[str, str]]:
    owner = lookup_name(name)
    addresses = [*records.a.get(owner, ()), *records.aaaa.get(owner, ())]
    return [{"host": owner, "ip": ip} for ip in addresses] or [{"host": "", "ip": ""}]


def _services(name: str, records: Records) -> list[dict[str, str]]:
    rows = []
    by_name = {owner.lower(): values for owner, values in records.srv.items()}
    for value in by_name.get(lookup_name(name), ()):
        host, _, port = value.rpartition(":")
        for table in (records.a, records.aaaa):
            if table.get(host):
                ip = table[host][0]
                rows.append(
                    {"service": name, "host": host, "ip": ip, "port": str(int(port) & 0xFFFF)}
                )
    return rows or [{"service": "", "host": "", "ip": "", "port": ""}]


def _enumerate(records: Records) -> dict[str, Any]:
    frameworks = [
        {
            "tasks": [
                {
                    "name": task.name,
                    "id": task.id,
                    "records": [
                        {"name": name, "host": value, "rtype": kind}
                        for name, value, kind in task.rows
                    ]
                    or None,
                }
                for task in tasks
            ]
            or None,
            "name": framework,
        }
        for framework, tasks in records.frameworks
    ]
    return {"frameworks": frameworks or None}


def _axfr(config: Config, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "TTL": config.ttl,
        "Serial": snapshot.serial,
        "RefreshSeconds": config.refresh_seconds,
        "Mname": config.soa_mname,
        "Rname": config.soa_rname,
        "Domain": config.domain,
        "Records": {
            "As": snapshot.records.a,
            "AAAAs": snapshot.records.aaaa,
            "SRVs": snapshot.records.srv,
        },
    }


def _config(config: Config, serial: int) -> dict[str, Any]:
    document = {go: getattr(config, name) for name, go in GO_NAMES.items()}
    document["SOASerial"] = serial
    document["MesosCredentials"] = {"Principal": config.mesos_principal, "Secret": ""}
    return document
