"""Bodies of requests: JSON objects, or refused."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from kubedcos.errors import InvalidInput, Problem


async def json_object(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object.

    Raises:
        InvalidInput: it is none.
    """
    try:
        document = json.loads(await request.body(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        problem = Problem("body", str(error), "a JSON object", id="body-json")
        raise InvalidInput([problem]) from error
    if not isinstance(document, dict):
        problem = Problem("body", type(document).__name__, "a JSON object", id="body-json")
        raise InvalidInput([problem])
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, if each of its keys is there once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} stands there twice")
    return found
