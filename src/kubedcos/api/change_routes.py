"""HTTP routes for changes of clusters: update, scale, rollback, and the configurations so far."""

# No `from __future__ import annotations`: FastAPI reads annotations that name local variables.

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from kubedcos.api import configurations, updating
from kubedcos.api.bodies import json_object
from kubedcos.api.hosting import Clusters
from kubedcos.api.updating import Outcome, Terms
from kubedcos.config.pools import pod_name
from kubedcos.errors import InvalidInput, Problem
from kubedcos.scheduler.steering import Operator
from kubedcos.scheduler.views import moment
from kubedcos.state.records import ConfigurationRecord

DryRun = Annotated[bool, Query(description="Only say what would be done.")]
Expect = Annotated[
    int | None, Query(description="Configuration that the change was thought out against.")
]
Force = Annotated[bool, Query(description="Remove nodes although they cannot be drained.")]

WaitForCapacity = Annotated[
    bool, Query(description="Go on although not everything fits on the agents there are.")
]


def add_change_routes(app: APIRouter, clusters: Clusters, guard: Callable[..., Operator]) -> None:
    """Add the routes to those that operators use."""
    accepted: dict[int | str, dict[str, Any]] = {202: {"description": "It has begun."}}

    @app.put("/v1/clusters/{name}", responses=accepted)
    async def update_cluster(
        request: Request,
        name: str,
        by: Annotated[Operator, Depends(guard)],
        dry_run: DryRun = False,
        expect: Expect = None,
        force: Force = False,
        wait_for_capacity: WaitForCapacity = False,
    ) -> JSONResponse:
        """Give a running cluster other options."""
        document = await json_object(request)
        terms = Terms(dry_run, expect, force, by.who, by.why, wait_for_capacity)
        return _answer(
            clusters, name, await updating.update(clusters, name, document, terms), terms
        )

    @app.post("/v1/clusters/{name}/scale", responses=accepted)
    async def scale_cluster(
        request: Request,
        name: str,
        by: Annotated[Operator, Depends(guard)],
        dry_run: DryRun = False,
        expect: Expect = None,
        force: Force = False,
        wait_for_capacity: WaitForCapacity = False,
    ) -> JSONResponse:
        """Change the number of nodes, or remove nodes by name."""
        asked = _scale(await json_object(request))
        terms = Terms(dry_run, expect, force, by.who, by.why, wait_for_capacity)
        return _answer(
            clusters, name, await updating.scale(clusters, name, terms=terms, **asked), terms
        )

    @app.post("/v1/clusters/{name}/rollback", responses=accepted)
    async def roll_back_cluster(
        name: str,
        by: Annotated[Operator, Depends(guard)],
        to: Annotated[int | None, Query(description="Configuration; default: the former.")] = None,
        dry_run: DryRun = False,
        expect: Expect = None,
        force: Force = False,
        wait_for_capacity: WaitForCapacity = False,
    ) -> JSONResponse:
        """Give a cluster the options of an earlier configuration again."""
        terms = Terms(dry_run, expect, force, by.who, by.why, wait_for_capacity)
        return _answer(clusters, name, await updating.rollback(clusters, name, to, terms), terms)

    @app.get("/v1/clusters/{name}/configurations")
    async def list_configurations(name: str) -> list[dict[str, Any]]:
        """Configurations that the cluster has and had, the latest first."""
        clusters.get(name)
        known = configurations.load(clusters.store, name)
        target = known.target.number if known.target else 0
        return [_view(record, target) for record in reversed([*known.by_number.values()])]

    @app.get("/v1/clusters/{name}/configurations/{number}")
    async def show_configuration(name: str, number: int) -> dict[str, Any]:
        """One configuration with its options."""
        clusters.get(name)
        known = configurations.load(clusters.store, name)
        target = known.target.number if known.target else 0
        record = known.get(number)
        return {**_view(record, target), "options": json.loads(record.options)}

    @app.get("/v1/leftovers")
    async def list_leftovers() -> list[dict[str, Any]]:
        """What deleted clusters have left on agents that were lost."""
        return clusters.leftovers.view()

    @app.delete("/v1/leftovers/{id_}")
    async def forget_leftover(id_: str) -> dict[str, bool]:
        """Forget one whose agent will never return."""
        clusters.leftovers.forget(id_)
        return {"changed": True}


def _view(record: ConfigurationRecord, target: int) -> dict[str, Any]:
    return {
        "number": record.number,
        "target": record.number == target,
        "made_at": moment(record.made_at or None),
        "by": record.by or None,
        "why": record.why or None,
        "indices": {pod: list(numbers) for pod, numbers in record.indices.items()},
    }


def _answer(clusters: Clusters, name: str, outcome: Outcome, terms: Terms) -> JSONResponse:
    """202 when something was set going, 200 when there is nothing to do or nothing was to be."""
    view = {**outcome.view(), "dry_run": terms.dry_run, "cluster": clusters.get(name).snapshot()}
    return JSONResponse(view, 202 if outcome.changed and not terms.dry_run else 200)


def _scale(document: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `updating.scale`.

    Raises:
        InvalidInput: the body is not of the form ``{"nodes": 3, "pool": "…", "remove": ["…"]}``.
    """
    problems = [
        Problem(f"body: {key}", "an unknown key", "nodes, pool or remove", id="body-key")
        for key in sorted(set(document) - {"nodes", "pool", "remove"})
    ]
    count, pool = document.get("nodes"), document.get("pool", "")
    remove = document.get("remove", [])
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
        problems.append(Problem("body: nodes", repr(count), "a whole number, 0 or more"))
    if not isinstance(pool, str):
        problems.append(Problem("body: pool", repr(pool), "name of a pool; empty: the default"))
    if not isinstance(remove, list) or not all(isinstance(name, str) for name in remove):
        problems.append(Problem("body: remove", repr(remove), "a list of pod instances"))
    if count is None and not remove:
        problems.append(Problem("body", "neither nodes nor remove", "one of them, or both"))
    if problems:
        raise InvalidInput(problems)
    return {"pod": pod_name(pool), "count": count, "remove": remove}
