"""The HTTPS API: operators show a bearer token, tasks their own proof; errors are sentences."""

# No `from __future__ import annotations`: FastAPI reads annotations that name local variables.

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from kubedcos import __version__
from kubedcos.api import inspection, metrics, refusals, sdk
from kubedcos.api.access import Access
from kubedcos.api.bodies import json_object
from kubedcos.api.change_routes import add_change_routes
from kubedcos.api.hosted import Unknown
from kubedcos.api.hosting import Clusters
from kubedcos.api.refusals import MOST_BODY_BYTES, RESPONSES
from kubedcos.api.support import House
from kubedcos.errors import Problem
from kubedcos.kubernetes import delivery_route
from kubedcos.scheduler import life
from kubedcos.scheduler.steering import Operator

__all__ = ["MOST_BODY_BYTES", "build"]

MOST_LOST_WAIT: Final = 7 * 24 * 3600.0
"""Longest time in seconds for which a deletion may wait for lost agents."""
OPENAPI_PATH: Final = "/v1/openapi.json"
_DESCRIPTION: Final = (
    "The framework scheduler of kubedcos. Operators show a bearer token; the headers"
    " `Kubedcos-User` and `Kubedcos-Why` (percent-encoded UTF-8) name who asks and why, and are"
    " kept with every action."
)


def build(
    clusters: Clusters, token: str, scrape_token: str = "", house: House | None = None
) -> FastAPI:
    """The application.

    Args:
        clusters: what it is about.
        token: what operators have to show.
        scrape_token: what a collector of metrics has to show; empty: an operator's token.
        house: what a supporter is shown of the service itself.
    """
    app = FastAPI(
        title="kubedcos",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=lambda route: f"{route.name}:{route.path_format}",
    )
    access = Access(token, scrape_token)
    refusals.install(app)
    requests = metrics.Requests()
    app.add_middleware(metrics.Measured, requests=requests)
    _add_open_routes(app, clusters, access)
    guard = access.operator()
    guarded = APIRouter(dependencies=[Depends(guard)], responses=RESPONSES)
    _add_cluster_routes(guarded, clusters, guard)
    _add_placement_routes(guarded, clusters)
    add_change_routes(guarded, clusters, guard)
    inspection.add(guarded, clusters, house or House())
    _add_document(guarded, app)
    app.include_router(guarded)
    for router in sdk.routers(clusters, access):
        app.include_router(router)
    app.include_router(metrics.router(clusters, access, requests))
    return app


def _add_open_routes(app: FastAPI, clusters: Clusters, access: Access) -> None:
    """What needs no operator."""

    @app.get("/v1/health", responses=_HEALTH_CODES)
    async def health(
        request: Request,
        verbose: bool = False,
        cluster: Annotated[str, Query(max_length=200)] = "",
    ) -> JSONResponse:
        """The life stage of one cluster or of the worst; operators may see all of them."""
        found = clusters.health()
        asked = [found[cluster]] if cluster in found else list(found.values())
        worst = life.broken("a scheduler could not go on") if clusters.broken.is_set() else None
        worst = worst or life.worst(asked)
        body: dict[str, Any] = {
            "version": __version__,
            "healthy": worst.stage is not life.Life.BROKEN,
            "stage": str(worst.stage),
            # Who does not lead serves nothing of this; see `front`.
            "role": "leader",
        }
        if verbose and access.known(request):
            body["clusters"] = {
                name: {"stage": str(each.stage), "code": each.code, "doing": each.sentence}
                for name, each in found.items()
            }
        return JSONResponse(body, worst.code, headers={"Cache-Control": "no-store"})

    app.include_router(delivery_route.router(clusters.delivery_of))


_HEALTH_CODES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"description": "staging or deleting"},
    203: {"description": "recovering"},
    207: {"description": "waits for an operator"},
    208: {"description": "waits before the next attempt"},
    318: {"description": "starting or reconciling"},
    500: {"description": "broken"},
    503: {"description": "standby, or without a connection to Mesos"},
}


def _add_cluster_routes(app: APIRouter, clusters: Clusters, guard: Callable[..., Operator]) -> None:
    """Clusters, their plans and their pods, as this project shows them."""

    @app.get("/v1/clusters")
    async def list_clusters() -> list[dict[str, Any]]:
        """All clusters."""
        return [hosted.snapshot() for hosted in clusters.all()]

    @app.post(
        "/v1/clusters",
        responses={201: {"description": "It was made."}},
        openapi_extra={"requestBody": _OPTIONS_BODY},
    )
    async def create_cluster(
        request: Request,
        by: Annotated[Operator, Depends(guard)],
        wait_for_capacity: bool = False,
    ) -> JSONResponse:
        """Make a cluster with these options; one that has them stays as it is."""
        document = await json_object(request)
        hosted, is_new = await clusters.create(
            document, "options", wait_for_capacity=wait_for_capacity
        )
        if is_new:
            hosted.scheduler.note_action(by, "cluster create", "made")
        return JSONResponse(
            {"changed": is_new, "cluster": hosted.snapshot()}, 201 if is_new else 200
        )

    @app.get("/v1/clusters/{name}")
    async def show_cluster(name: str) -> dict[str, Any]:
        """One cluster."""
        return clusters.get(name).snapshot()

    @app.delete(
        "/v1/clusters/{name}", status_code=202, responses={202: {"description": "It has begun."}}
    )
    async def delete_cluster(
        name: str,
        by: Annotated[Operator, Depends(guard)],
        lost_wait: Annotated[
            float | None,
            Query(ge=0, le=MOST_LOST_WAIT, description="Seconds to wait for lost agents."),
        ] = None,
    ) -> JSONResponse:
        """Take a cluster down; what is on lost agents is collected when they return."""
        hosted = clusters.get(name)
        if hosted.deleting is None:
            hosted.scheduler.note_action(by, "cluster delete", "begun")
        view = clusters.delete(name, lost_wait).snapshot()
        return JSONResponse({"changed": True, "cluster": view}, 202)

    @app.get("/v1/clusters/{name}/plans")
    async def list_plans(name: str) -> list[dict[str, Any]]:
        """Plans with their progress."""
        return clusters.get(name).scheduler.plan_list()

    @app.get("/v1/clusters/{name}/plans/{plan}")
    async def show_plan(name: str, plan: str) -> dict[str, Any]:
        """One plan as a tree."""
        return sdk.plan_view(clusters.get(name), plan)

    @app.get("/v1/clusters/{name}/pods")
    async def list_pods(name: str) -> list[dict[str, Any]]:
        """Pod instances."""
        return clusters.get(name).scheduler.pod_list()

    @app.get("/v1/clusters/{name}/pods/{pod}")
    async def show_pod(name: str, pod: str) -> dict[str, Any]:
        """One pod instance."""
        return sdk.pod_view(clusters.get(name), pod)

    @app.get(
        "/v1/clusters/{name}/kubeconfig",
        response_model=None,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def kubeconfig(name: str) -> PlainTextResponse:
        """A kubeconfig with a certificate of its own. It is a secret."""
        text = clusters.get(name).workload.kubernetes.kubeconfig()
        return PlainTextResponse(text, headers={"Cache-Control": "no-store"})


_OPTIONS_BODY: Final = {
    "required": True,
    "description": "Options of the cluster; `kubedcos cluster schema` prints their schema.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}},
            }
        }
    },
}


def _add_document(router: APIRouter, app: FastAPI) -> None:
    @router.get(OPENAPI_PATH, include_in_schema=False)
    async def document() -> Response:
        """This API as an OpenAPI document."""
        return JSONResponse(app.openapi())


def _add_placement_routes(app: APIRouter, clusters: Clusters) -> None:
    """Where things would go, and why they do not."""

    @app.post("/v1/check", openapi_extra={"requestBody": _OPTIONS_BODY})
    async def check_cluster(request: Request) -> dict[str, Any]:
        """Whether a cluster with these options fits on what Mesos has free."""
        return await clusters.check(await json_object(request), "options")

    @app.get("/v1/clusters/{name}/plans/{plan}/why")
    async def explain_plan(name: str, plan: str) -> dict[str, Any]:
        """What the waiting steps of a plan wait for, agent by agent."""
        scheduler = clusters.get(name).scheduler
        try:
            return scheduler.plan_why(plan)
        except KeyError:
            known = [found["name"] for found in scheduler.plan_list()]
            wanted = "one of: " + ", ".join(known)
            raise Unknown([Problem("plan", repr(plan), wanted, id="plan-unknown")]) from None
