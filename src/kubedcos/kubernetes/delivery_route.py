"""The HTTP route at which tasks ask for their key material, for whoever serves the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from kubedcos.kubernetes.delivery import LARGEST_REQUEST, Answer, Delivery, refused

_LONGEST: Final = 200
"""Characters of a task id that are logged; Mesos' own are shorter."""

_log = structlog.get_logger(__name__)


def router(find: Callable[[str], Delivery | None]) -> APIRouter:
    """``POST /v1/tasks/{task_id}/material``; needs no login, the delivery checks the caller.

    Args:
        find: the delivery of the cluster that has this task id, or None.
    """
    routes = APIRouter()

    @routes.post("/v1/tasks/{task_id}/material", responses=_REFUSALS)
    async def material(task_id: str, request: Request) -> JSONResponse:
        """Key material for a task that proves who it is; once."""
        delivery = find(task_id)
        if delivery is None:
            # Guessed, or of a task that has ended: its name may be anything.
            _log.warning("key material refused", reason="no such task", task_id=task_id[:_LONGEST])
            answer = refused(404, "no such task")
        else:
            answer = await _answer(delivery, task_id, request)
        return JSONResponse(
            dict(answer.body), status_code=answer.status, headers={"Cache-Control": "no-store"}
        )

    return routes


_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The request makes no sense."},
    403: {"description": "The proof is not the task's own."},
    404: {"description": "There is no such task."},
    409: {"description": "It was used already, or the task has ended."},
    410: {"description": "It is too old."},
    413: {"description": "The body is too large."},
    503: {"description": "It cannot be checked now; try again."},
}


async def _answer(delivery: Delivery, task_id: str, request: Request) -> Answer:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REQUEST:
            return refused(413, f"more than {LARGEST_REQUEST} bytes")
    source = request.client.host if request.client else ""
    return await delivery.handle(task_id, bytes(body), source)
