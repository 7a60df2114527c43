"""Every refusal of the API: a JSON object with a sentence, and an exit code for command lines."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kubedcos.api.hosted import Unknown
from kubedcos.config.changes import ChangeRefused
from kubedcos.config.problems import dotted
from kubedcos.errors import ExitCode, InvalidInput, KubedcosError, Problem
from kubedcos.mesos.client import SubscriptionEnded
from kubedcos.scheduler.steering import NoSuchElement

MOST_BODY_BYTES: Final = 1 << 20
_HTTP_CODES: Final = {ExitCode.USAGE: 422, ExitCode.REFUSED: 409, ExitCode.INCOMPLETE: 503}
_log = logging.getLogger(__name__)


class ProblemView(BaseModel):
    """One thing that is wrong with a request."""

    where: str
    seen: str
    wanted: str
    id: str
    fix: str = ""


class Refusal(BaseModel):
    """Why a request was refused; nothing was changed."""

    error: str
    exit_code: int
    problems: list[ProblemView] = []


def _described(sentence: str) -> dict[str, Any]:
    """A refusal in the document, by reference: FastAPI compiles a model anew for each mention."""
    schema = {"$ref": f"#/components/schemas/{Refusal.__name__}"}
    return {"description": sentence, "content": {"application/json": {"schema": schema}}}


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: _described("The body is no text."),
    401: _described("No token of an operator was shown."),
    404: _described("There is no such cluster, plan, pod or page."),
    409: _described("A safety rule forbids it."),
    413: _described("The body is too large."),
    422: _described("The request makes no sense."),
    500: _described("It failed; the text says why."),
    503: _described("Not now; try again."),
}


def install(app: FastAPI) -> None:
    """Have every error of `app` answered in this form."""
    app.add_exception_handler(KubedcosError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(Exception, _defect)
    app.add_middleware(BodyLimit)


class BodyLimit:
    """Refuses bodies that are too large, however they are read."""

    def __init__(self, app: ASGIApp, most: int = MOST_BODY_BYTES) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count what comes of its body."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, f"a body has at most {self._most} bytes")
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)


def problems(error: InvalidInput | ChangeRefused) -> list[dict[str, str]]:
    """Problems as plain data."""
    return [
        {
            "where": problem.where,
            "seen": problem.seen,
            "wanted": problem.wanted,
            "id": problem.id,
            "fix": problem.fix,
        }
        for problem in error.problems
    ]


async def _ours(_: Request, error: Exception) -> JSONResponse:
    """An error of ours as its text, its problems and the exit code for the command line."""
    assert isinstance(error, KubedcosError)
    code = _HTTP_CODES.get(error.exit_code, 500)
    if isinstance(error, Unknown | NoSuchElement):
        code = 404
    if isinstance(error, SubscriptionEnded):
        code = 503
    document: dict[str, Any] = {"error": str(error), "exit_code": int(error.exit_code)}
    if isinstance(error, InvalidInput | ChangeRefused):
        document["problems"] = problems(error)
    return JSONResponse(document, code)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    text = str(error.detail)
    if text == HTTPStatus(error.status_code).phrase:
        text = {
            404: "there is nothing at this path; /v1/openapi.json lists what there is",
            405: "this path does not take this method; /v1/openapi.json lists what there is",
        }.get(error.status_code, text)
    code = ExitCode.USAGE if error.status_code < 500 else ExitCode.FAILED
    return JSONResponse(
        {"error": text, "exit_code": int(code)}, error.status_code, headers=error.headers
    )


async def _unfit(request: Request, error: Exception) -> JSONResponse:
    """What FastAPI finds wrong with a query or a body, in our words."""
    assert isinstance(error, RequestValidationError)
    found = [
        Problem(
            dotted(detail["loc"]),
            repr(detail.get("input"))[:80],
            str(detail["msg"]),
            id="request-invalid",
        )
        for detail in error.errors()
    ]
    return await _ours(request, InvalidInput(found))


async def _defect(request: Request, error: Exception) -> JSONResponse:
    """An error that nobody foresaw: logged in full, told without details."""
    _log.error("defect: %s %s: %r", request.method, request.url.path, error, exc_info=error)
    sentence = "a defect of the scheduler; its log says more"
    return JSONResponse({"error": sentence, "exit_code": int(ExitCode.FAILED)}, 500)
