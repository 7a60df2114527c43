"""The HTTP route at which tasks ask for their key material, for whoever serves the API."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from kubedcos.kubernetes.delivery import LARGEST_REQUEST, Answer, Delivery, refused


def router(find: Callable[[str], Delivery | None]) -> APIRouter:
    """``POST /v1/tasks/{task_id}/material``; needs no login, the delivery checks the caller.

    Args:
        find: the delivery of the cluster that has this task id, or None.
    """
    routes = APIRouter()

    @routes.post("/v1/tasks/{task_id}/material")
    async def material(task_id: str, request: Request) -> JSONResponse:
        delivery = find(task_id)
        answer = (
            refused(404, "no such task")
            if delivery is None
            else await _answer(delivery, task_id, request)
        )
        return JSONResponse(
            dict(answer.body), status_code=answer.status, headers={"Cache-Control": "no-store"}
        )

    return routes


async def _answer(delivery: Delivery, task_id: str, request: Request) -> Answer:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REQUEST:
            return refused(413, f"more than {LARGEST_REQUEST} bytes")
    source = request.client.host if request.client else ""
    return await delivery.handle(task_id, bytes(body), source)
