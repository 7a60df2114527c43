"""`/api/v1`, the operator API: reads a call and has it answered by the table that knows it."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master import (
    operator_agents,
    operator_draining,
    operator_maintenance,
    operator_quota,
    operator_reads,
    operator_resources,
)
from kubedcos.embedded.master.authorization import require_call
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operator_calls import Caller, OperatorCalls
from kubedcos.embedded.master.responses import (
    BadRequest,
    accepts_json,
    not_acceptable,
    require_json,
    text,
)
from kubedcos.embedded.master.streams import Stream
from kubedcos.embedded.operator_bodies import envelope
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json

CALLS: Final[OperatorCalls] = {
    **operator_reads.CALLS,
    **operator_resources.CALLS,
    **operator_agents.CALLS,
    **operator_quota.CALLS,
    **operator_draining.CALLS,
    **operator_maintenance.CALLS,
}
"""Everything that is answered."""

_ENVELOPE: Final = envelope({kind: call.body for kind, call in CALLS.items()})


def _read_call(request: Request, body: bytes) -> tuple[str, Any]:
    """Type and body of the call in a request.

    Raises:
        BadRequest: it is none, or not one that this engine has.
    """
    require_json(request)
    try:
        value = parse_json(body)
    except NotConvertible as error:
        answer = text(400, f"Failed to parse body into JSON: {error}")
        raise BadRequest(answer) from None
    try:
        call = from_json(value, _ENVELOPE)
    except NotConvertible as error:
        answer = text(400, f"Failed to convert JSON into Call protobuf: {error}")
        raise BadRequest(answer) from None
    prefix = "Failed to validate master::Call: "
    kind: str | None = getattr(call, "type")  # noqa: B009  the class is made at run time
    if kind == "UNKNOWN":
        raise BadRequest(text(501, "501 Not Implemented."))
    if kind is None or kind not in CALLS:
        raise BadRequest(text(400, prefix + "Expecting 'type' to be present"))
    needs = CALLS[kind]
    given = getattr(call, kind.lower()) if needs.body is not None else None
    if needs.body is not None and given is None and not needs.optional:
        raise BadRequest(text(400, f"{prefix}Expecting '{kind.lower()}' to be present"))
    return kind, given


def handle(engine: Engine, request: Request, body: bytes, caller: Caller) -> Response | Stream:
    """Answer an operator's call.

    Raises:
        BadRequest: with the answer.
    """
    kind, given = _read_call(request, body)
    if not accepts_json(request):
        return not_acceptable()
    require_call(caller.approver, engine.state, kind, given)
    return CALLS[kind].answer(engine, caller, given)
