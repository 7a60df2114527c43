"""`/api/v1/scheduler`: checks in Mesos' order, then one decision per call."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.approvals import Approver
from kubedcos.embedded.master import (
    accept,
    frameworks,
    inverse_offers,
    operation_feedback,
    reconcile,
)
from kubedcos.embedded.master.counting import count_call
from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operation_rules import UNSUPPORTED_OPERATIONS
from kubedcos.embedded.master.responses import (
    BadRequest,
    accepts_json,
    empty,
    not_acceptable,
    require_json,
    text,
)
from kubedcos.embedded.master.state import FrameworkRecord
from kubedcos.embedded.master.streams import Stream
from kubedcos.embedded.master.task_groups import shutdown_executor
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json
from kubedcos.mesos.messages import Call

STREAM_HEADER: Final = "Mesos-Stream-Id"

_WITHOUT_BODY: Final = frozenset({"TEARDOWN", "REVIVE", "SUPPRESS", "UNKNOWN"})
_COUNTED: Final = {
    "REQUEST": "messages_resource_request",
    "RECONCILE_OPERATIONS": "messages_reconcile_operations",
    "ACKNOWLEDGE_OPERATION_STATUS": "messages_operation_status_update_acknowledgement",
    "MESSAGE": "messages_framework_to_executor",
    "DECLINE": "messages_decline_offers",
    "KILL": "messages_kill_task",
    "RECONCILE": "messages_reconcile_tasks",
    "ACKNOWLEDGE": "messages_status_update_acknowledgement",
    "TEARDOWN": "messages_unregister_framework",
}


def _refuse(status: int, message: str) -> BadRequest:
    return BadRequest(text(status, message))


def _invalid(message: str) -> BadRequest:
    return _refuse(400, f"Failed to validate scheduler::Call: {message}")


def read_call(request: Request, body: bytes) -> Call:
    """The call in a request.

    Raises:
        BadRequest: it is none, or wants what this engine does not have.
    """
    require_json(request)
    try:
        value = parse_json(body)
    except NotConvertible as error:
        raise _refuse(400, f"Failed to parse body into JSON: {error}") from None
    try:
        call = from_json(value, Call)
    except NotConvertible as error:
        raise _refuse(400, f"Failed to convert JSON into Call protobuf: {error}") from None
    _validate(call)
    _refuse_unsupported(call)
    return call


def _validate(call: Call) -> None:
    if call.type is None:
        raise _invalid("Expecting 'type' to be present")
    if call.type == "SUBSCRIBE":
        if call.subscribe is None:
            raise _invalid("Expecting 'subscribe' to be present")
        if call.framework_id != call.subscribe.framework_info.id:
            raise _invalid("'framework_id' differs from 'subscribe.framework_info.id'")
        return
    if call.framework_id is None:
        raise _invalid("Expecting 'framework_id' to be present")
    name = call.type.lower()
    if call.type not in _WITHOUT_BODY and getattr(call, name) is None:
        raise _invalid(f"Expecting '{name}' to be present")
    update = call.update_framework
    updating = call.type == "UPDATE_FRAMEWORK"
    if updating and update is not None and call.framework_id != update.framework_info.id:
        raise _invalid("'framework_id' differs from 'update_framework.framework_info.id'")
    if call.type == "ACKNOWLEDGE" and call.acknowledge is not None:
        _validate_uuid(call.acknowledge.uuid)
    status = call.acknowledge_operation_status
    if call.type == "ACKNOWLEDGE_OPERATION_STATUS" and status is not None:
        _validate_uuid(status.uuid)
        if status.agent_id is None:
            raise _invalid("Expecting 'agent_id' to be present")


def _validate_uuid(encoded: str) -> None:
    if len(base64.b64decode(encoded)) != 16:
        raise _invalid("Not a valid UUID")


def _refuse_unsupported(call: Call) -> None:
    if call.accept is not None and call.type == "ACCEPT":
        for operation in call.accept.operations:
            if operation.type in UNSUPPORTED_OPERATIONS:
                raise _invalid(f"The embedded engine does not support {operation.type}")


def handle(
    engine: Engine, request: Request, body: bytes, principal: str | None
) -> Response | Stream:
    """Answer a call; a successful SUBSCRIBE is answered by its stream.

    Raises:
        BadRequest: with the answer.
    """
    call = read_call(request, body)
    info = None
    if call.subscribe is not None and call.type == "SUBSCRIBE":
        info = call.subscribe.framework_info
    elif call.update_framework is not None and call.type == "UPDATE_FRAMEWORK":
        info = call.update_framework.framework_info
    if principal is not None and info is not None and info.principal not in (None, principal):
        raise _invalid(
            f"Authenticated principal '{principal}' does not match principal "
            f"'{info.principal}' set in `FrameworkInfo`"
        )
    if call.type == "SUBSCRIBE":
        return _subscribe(engine, request, call, principal)
    framework = _framework(engine, request, call, principal)
    count_call(engine.state, framework, call)
    if call.type == "UPDATE_FRAMEWORK" and call.update_framework is not None:
        try:
            effects = frameworks.update(
                engine.state,
                engine.framework_rules,
                framework,
                call.update_framework,
                acls=engine.options.acls,
            )
        except frameworks.Refusal as error:
            raise _refuse(error.status, str(error)) from None
        engine.perform(effects)
        return empty(200)
    if call.type == "UNKNOWN":
        return text(501, "501 Not Implemented.")
    if call.type == "RECONCILE_OPERATIONS" and not accepts_json(request):
        return not_acceptable()
    if call.type in _COUNTED:
        engine.state.count(_COUNTED[call.type])
    engine.perform(DECISIONS[call.type or ""](engine, framework, call))
    return empty(202)


def _subscribe(
    engine: Engine, request: Request, call: Call, principal: str | None
) -> Response | Stream:
    if not accepts_json(request):
        return not_acceptable()
    if STREAM_HEADER in request.headers:
        raise _refuse(400, f"Subscribe calls should not include the '{STREAM_HEADER}' header")
    assert call.subscribe is not None
    subscribe, info = call.subscribe, call.subscribe.framework_info
    if principal is not None and info.principal is None:
        # Who authenticates need not repeat the principal; from here on it is as if he had.
        subscribe = replace(subscribe, framework_info=replace(info, principal=principal))
    stream = engine.new_stream()
    effects = frameworks.subscribe(
        engine.state,
        engine.framework_rules,
        subscribe,
        stream_id=stream.id,
        principal=principal,
        now=engine.clock.time(),
        acls=engine.options.acls,
    )
    for framework in engine.state.frameworks.values():
        if framework.stream_id == stream.id:
            count_call(engine.state, framework, call)
    engine.perform(effects)
    return stream


def _framework(
    engine: Engine, request: Request, call: Call, principal: str | None
) -> FrameworkRecord:
    assert call.framework_id is not None
    framework = engine.state.frameworks.get(call.framework_id.value)
    if framework is None:
        raise _refuse(400, "Framework cannot be found")
    if principal is not None and framework.info.principal != principal:
        raise _refuse(
            400,
            f"Authenticated principal '{principal}' does not match principal "
            f"'{framework.info.principal or ''}' set in `FrameworkInfo`",
        )
    if not framework.connected:
        raise _refuse(403, "Framework is not subscribed")
    given = request.headers.get(STREAM_HEADER)
    if given is None:
        raise _refuse(400, f"All non-subscribe calls should include the '{STREAM_HEADER}' header")
    if given != framework.stream_id:
        raise _refuse(
            400,
            f"The stream ID '{given}' included in this request didn't match the stream ID "
            f"currently associated with framework ID {framework.id}",
        )
    return framework


Decision = Callable[[Engine, FrameworkRecord, Call], Effects]


def _accept(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.accept is not None
    return accept.accept(
        engine.state,
        framework,
        call.accept,
        now=engine.clock.time(),
        allocation_interval=engine.options.allocation_interval,
        approver=Approver(engine.options.acls, framework.info.principal),
    )


def _decline(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.decline is not None
    return accept.decline(
        engine.state,
        framework,
        call.decline,
        now=engine.clock.time(),
        allocation_interval=engine.options.allocation_interval,
    )


def _accept_inverse_offers(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.accept_inverse_offers is not None
    now = engine.clock.time()
    return inverse_offers.answer(
        engine.state, framework, call.accept_inverse_offers, "ACCEPT", now=now
    )


def _decline_inverse_offers(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.decline_inverse_offers is not None
    now = engine.clock.time()
    return inverse_offers.answer(
        engine.state, framework, call.decline_inverse_offers, "DECLINE", now=now
    )


def _revive(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    roles = call.revive.roles if call.revive is not None else ()
    return frameworks.revive(engine.state, framework, roles)


def _suppress(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    roles = call.suppress.roles if call.suppress is not None else ()
    return frameworks.suppress(engine.state, framework, roles)


def _teardown(engine: Engine, framework: FrameworkRecord, _call: Call) -> Effects:
    now = engine.clock.time()
    return frameworks.remove(engine.state, engine.framework_rules, framework, now=now)


def _kill(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.kill is not None
    return reconcile.kill(engine.state, framework, call.kill, now=engine.clock.time())


def _shutdown(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.shutdown is not None
    return shutdown_executor(engine.state, framework, call.shutdown)


def _acknowledge(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.acknowledge is not None
    return frameworks.acknowledge(engine.state, engine.framework_rules, framework, call.acknowledge)


def _reconcile(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.reconcile is not None
    return reconcile.reconcile(engine.state, framework, call.reconcile, now=engine.clock.time())


def _reconcile_operations(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.reconcile_operations is not None
    return operation_feedback.reconciled(engine.state, framework, call.reconcile_operations)


def _acknowledge_operation(engine: Engine, framework: FrameworkRecord, call: Call) -> Effects:
    assert call.acknowledge_operation_status is not None
    return operation_feedback.acknowledged(
        engine.state, framework, call.acknowledge_operation_status
    )


def without_effect(_engine: Engine, _framework: FrameworkRecord, _call: Call) -> Effects:
    """Accepted and without consequence, in Mesos too, as far as this engine's tasks go.

    The executors of command tasks and of task groups take no messages; the default allocator
    ignores requests.
    """
    return []


DECISIONS: Final[dict[str, Decision]] = {
    "ACCEPT": _accept,
    "ACCEPT_INVERSE_OFFERS": _accept_inverse_offers,
    "ACKNOWLEDGE": _acknowledge,
    "ACKNOWLEDGE_OPERATION_STATUS": _acknowledge_operation,
    "DECLINE": _decline,
    "DECLINE_INVERSE_OFFERS": _decline_inverse_offers,
    "KILL": _kill,
    "MESSAGE": without_effect,
    "RECONCILE": _reconcile,
    "RECONCILE_OPERATIONS": _reconcile_operations,
    "REQUEST": without_effect,
    "REVIVE": _revive,
    "SHUTDOWN": _shutdown,
    "SUPPRESS": _suppress,
    "TEARDOWN": _teardown,
}
"""Calls of a framework that is subscribed, besides UPDATE_FRAMEWORK."""
