"""The HTTPS API: operators show a bearer token, tasks their own proof; errors are sentences."""

from __future__ import annotations

import hmac
import json
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from kubedcos import __version__
from kubedcos.api.hosting import Clusters, Unknown
from kubedcos.errors import ExitCode, InvalidInput, KubedcosError, Problem
from kubedcos.kubernetes import delivery_route
from kubedcos.mesos.client import SubscriptionEnded

MOST_BODY_BYTES = 1 << 20
_HTTP_CODES = {ExitCode.USAGE: 422, ExitCode.REFUSED: 409, ExitCode.INCOMPLETE: 503}


def build(clusters: Clusters, token: str) -> FastAPI:
    """The application.

    Args:
        clusters: what it is about.
        token: what operators have to show.
    """
    app = FastAPI(
        title="kubedcos", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_exception_handler(KubedcosError, _sentence)

    def operator(request: Request) -> None:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown.encode(), token.encode()):
            raise HTTPException(401, "a bearer token of an operator is needed")

    _add_open_routes(app, clusters)
    _add_operator_routes(app, clusters, Depends(operator))
    return app


def _add_open_routes(app: FastAPI, clusters: Clusters) -> None:
    """What needs no operator."""

    @app.get("/v1/health")
    async def health() -> dict[str, Any]:
        return {"version": __version__, "healthy": not clusters.broken.is_set()}

    app.include_router(delivery_route.router(clusters.delivery_of))


def _add_operator_routes(app: FastAPI, clusters: Clusters, guard: Any) -> None:
    """What operators ask."""
    guards = [guard]

    @app.get("/v1/clusters", dependencies=guards)
    async def list_clusters() -> list[dict[str, Any]]:
        return [hosted.snapshot() for hosted in clusters.all()]

    @app.post("/v1/clusters", dependencies=guards)
    async def create_cluster(request: Request) -> JSONResponse:
        document = await _document(request)
        hosted, is_new = await clusters.create(document, "options")
        return JSONResponse(
            {"changed": is_new, "cluster": hosted.snapshot()}, 201 if is_new else 200
        )

    @app.get("/v1/clusters/{name}", dependencies=guards)
    async def show_cluster(name: str) -> dict[str, Any]:
        return clusters.get(name).snapshot()

    @app.delete("/v1/clusters/{name}", dependencies=guards)
    async def delete_cluster(name: str) -> JSONResponse:
        return JSONResponse({"changed": True, "cluster": clusters.delete(name).snapshot()}, 202)

    @app.get("/v1/clusters/{name}/plans", dependencies=guards)
    async def list_plans(name: str) -> list[dict[str, Any]]:
        return clusters.get(name).scheduler.plan_list()

    @app.get("/v1/clusters/{name}/plans/{plan}", dependencies=guards)
    async def show_plan(name: str, plan: str) -> dict[str, Any]:
        scheduler = clusters.get(name).scheduler
        try:
            return scheduler.plan_show(plan)
        except KeyError:
            known = [found["name"] for found in scheduler.plan_list()]
            raise _unknown("plan", plan, known) from None

    @app.get("/v1/clusters/{name}/pods", dependencies=guards)
    async def list_pods(name: str) -> list[dict[str, Any]]:
        return clusters.get(name).scheduler.pod_list()

    @app.get("/v1/clusters/{name}/pods/{pod}", dependencies=guards)
    async def show_pod(name: str, pod: str) -> dict[str, Any]:
        scheduler = clusters.get(name).scheduler
        try:
            return scheduler.pod_show(pod)
        except KeyError:
            known = [found["name"] for found in scheduler.pod_list()]
            raise _unknown("pod", pod, known) from None

    @app.get("/v1/clusters/{name}/kubeconfig", dependencies=guards)
    async def kubeconfig(name: str) -> PlainTextResponse:
        text = clusters.get(name).workload.kubernetes.kubeconfig()
        return PlainTextResponse(text, headers={"Cache-Control": "no-store"})


def _unknown(kind: str, name: str, known: list[str]) -> Unknown:
    wanted = "one of: " + ", ".join(known)
    return Unknown([Problem(kind, repr(name), wanted, id=f"{kind}-unknown")])


async def _document(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object.

    Raises:
        InvalidInput: it is none.
    """
    try:
        document = json.loads(await _body(request))
    except ValueError as error:
        problem = Problem("body", str(error), "a JSON object", id="body-json")
        raise InvalidInput([problem]) from error
    if not isinstance(document, dict):
        problem = Problem("body", type(document).__name__, "a JSON object", id="body-json")
        raise InvalidInput([problem])
    return document


async def _body(request: Request) -> bytes:
    """The request's body, bounded."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise HTTPException(413, f"a body has at most {MOST_BODY_BYTES} bytes")
    return bytes(body)


async def _sentence(_: Request, error: Exception) -> JSONResponse:
    """An error of ours as its text, its problems and the exit code for the command line."""
    assert isinstance(error, KubedcosError)
    code = 404 if isinstance(error, Unknown) else _HTTP_CODES.get(error.exit_code, 500)
    if isinstance(error, SubscriptionEnded):
        code = 503
    document: dict[str, Any] = {"error": str(error), "exit_code": int(error.exit_code)}
    if isinstance(error, InvalidInput):
        document["problems"] = [
            {
                "where": problem.where,
                "seen": problem.seen,
                "wanted": problem.wanted,
                "id": problem.id,
                "fix": problem.fix,
            }
            for problem in error.problems
        ]
    return JSONResponse(document, code)
