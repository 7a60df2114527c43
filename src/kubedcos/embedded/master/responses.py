"""HTTP answers in Mesos' manner, and what a request must satisfy before it is read."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.credentials import principal_of as credentials_owner
from kubedcos.embedded.protojson import encode_json

JSON: Final = "application/json"
GZIP_ABOVE: Final = 1024
"""Shorter bodies, in bytes, are never zipped."""
PROTOBUF: Final = "application/x-protobuf"


def empty(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body and without a type."""
    return Response(status_code=status, headers=headers)


def text(status: int, body: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in plain text."""
    return Response(body, status, headers, "text/plain; charset=utf-8")


def json_answer(value: Any, request: Request | None = None) -> Response:
    """An answer in JSON; wrapped in a function call when the query asks for `jsonp`."""
    body = encode_json(value)
    wrap = request.query_params.get("jsonp") if request is not None else None
    if wrap:
        return Response(
            f"{wrap}(".encode() + body + b")", headers={"Content-Type": "text/javascript"}
        )
    return Response(body, headers={"Content-Type": JSON})


def compressed(request: Request, answer: Response) -> Response:
    """The answer, zipped when the client takes that and the body is long enough for Mesos."""
    body = bytes(answer.body) if type(answer) is Response else b""
    encodings = request.headers.get("accept-encoding", "").split(",")
    takes = any(encoding.split(";")[0].strip() == "gzip" for encoding in encodings)
    if not takes or len(body) <= GZIP_ABOVE:
        return answer
    headers = dict(answer.headers) | {"Content-Encoding": "gzip"}
    del headers["content-length"]
    return Response(gzip.compress(body, compresslevel=6), answer.status_code, headers)


def not_allowed(method: str, *allowed: str) -> Response:
    """405, as Mesos words it."""
    listed = ", ".join(f"'{each}'" for each in allowed)
    body = f"405 Method Not Allowed. Expecting one of {{ {listed} }}, but received '{method}'."
    return text(405, body, {"Allow": ", ".join(allowed)})


def unauthorized(realm: str) -> Response:
    """401 with the realm that credentials are wanted for."""
    headers = {"WWW-Authenticate": f'Basic realm="{realm}"'}
    return text(401, "401 Unauthorized.", headers)


def forbidden() -> Response:
    """403 for want of permission."""
    return text(403, "403 Forbidden.")


class BadRequest(Exception):
    """The request ends with this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def principal_of(
    request: Request, credentials: Mapping[str, str], realm: str, *, required: bool
) -> str | None:
    """Who sent the request, by HTTP Basic; `None` when nobody has to say.

    Raises:
        BadRequest: 401.
    """
    if not required:
        return None
    principal = credentials_owner(request.headers.get("authorization"), credentials)
    if principal is None:
        raise BadRequest(unauthorized(realm))
    return principal


def require_json(request: Request) -> None:
    """The body must be declared as JSON, to the letter.

    Raises:
        BadRequest: 400 or 415.
    """
    content_type = request.headers.get("content-type")
    if content_type is None:
        raise BadRequest(text(400, "Expecting 'Content-Type' to be present"))
    if content_type == PROTOBUF:
        wanted = f"Expecting 'Content-Type' of {JSON}: the embedded engine has no {PROTOBUF}"
        raise BadRequest(text(415, wanted))
    if content_type != JSON:
        raise BadRequest(text(415, f"Expecting 'Content-Type' of {JSON} or {PROTOBUF}"))


def accepts_json(request: Request) -> bool:
    """Whether the client takes JSON; without an `Accept` it takes anything."""
    accept = request.headers.get("accept")
    if accept is None:
        return True
    kinds = [part.split(";")[0].strip() for part in accept.split(",")]
    return any(kind in {JSON, "*/*", "application/*"} for kind in kinds)


def not_acceptable() -> Response:
    """406, as Mesos words it."""
    return text(406, f"Expecting 'Accept' to allow '{PROTOBUF}' or '{JSON}'")
