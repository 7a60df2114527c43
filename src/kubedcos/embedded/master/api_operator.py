"""`/api/v1`, the operator API: the reads, and the few writes that this engine has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master import frameworks, operator_views, removal
from kubedcos.embedded.master.accept import operate
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.metrics import snapshot
from kubedcos.embedded.master.responses import (
    BadRequest,
    accepts_json,
    empty,
    json_answer,
    not_acceptable,
    require_json,
    text,
)
from kubedcos.embedded.master.views import BUILD
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json
from kubedcos.mesos.messages import AgentID, DurationInfo, FrameworkID, Message, Resource
from kubedcos.mesos.operations import NotApplicable


class GetMetrics(Message, frozen=True):
    """Body of GET_METRICS."""

    timeout: DurationInfo | None = None


class ListFiles(Message, frozen=True):
    """Body of LIST_FILES."""

    path: str


class ReadFile(Message, frozen=True):
    """Body of READ_FILE."""

    path: str
    offset: int
    length: int | None = None


class Teardown(Message, frozen=True):
    """Body of TEARDOWN."""

    framework_id: FrameworkID


class MarkAgentGone(Message, frozen=True):
    """Body of MARK_AGENT_GONE."""

    agent_id: AgentID


class UnreserveResources(Message, frozen=True):
    """Body of UNRESERVE_RESOURCES."""

    agent_id: AgentID
    resources: tuple[Resource, ...] = ()


class DestroyVolumes(Message, frozen=True):
    """Body of DESTROY_VOLUMES."""

    agent_id: AgentID
    volumes: tuple[Resource, ...] = ()


class OperatorCall(Message, frozen=True):
    """What this engine reads of an operator's call."""

    type: str | None = None
    get_metrics: GetMetrics | None = None
    list_files: ListFiles | None = None
    read_file: ReadFile | None = None
    teardown: Teardown | None = None
    mark_agent_gone: MarkAgentGone | None = None
    unreserve_resources: UnreserveResources | None = None
    destroy_volumes: DestroyVolumes | None = None


UNSUPPORTED: Final = frozenset(
    {
        *("SET_LOGGING_LEVEL", "GET_LOGGING_LEVEL", "GET_OPERATIONS", "GET_WEIGHTS"),
        *("UPDATE_WEIGHTS", "GET_QUOTA", "UPDATE_QUOTA", "SET_QUOTA", "REMOVE_QUOTA"),
        *("RESERVE_RESOURCES", "CREATE_VOLUMES", "GROW_VOLUME", "SHRINK_VOLUME"),
        *("GET_MAINTENANCE_SCHEDULE", "GET_MAINTENANCE_STATUS", "UPDATE_MAINTENANCE_SCHEDULE"),
        *("START_MAINTENANCE", "STOP_MAINTENANCE", "DRAIN_AGENT", "DEACTIVATE_AGENT"),
        *("REACTIVATE_AGENT", "SUBSCRIBE"),
    }
)
NEEDS_BODY: Final = frozenset(
    {
        *("GET_METRICS", "LIST_FILES", "READ_FILE", "TEARDOWN", "MARK_AGENT_GONE"),
        *("UNRESERVE_RESOURCES", "DESTROY_VOLUMES"),
    }
)


def metrics_of(engine: Engine) -> dict[str, float]:
    """Metrics as of now."""
    uptime = engine.clock.time() - engine.state.start_time
    return snapshot(engine.state, elected=engine.elected, recovered=engine.elected, uptime=uptime)


def _metrics(engine: Engine) -> Any:
    pairs = metrics_of(engine).items()
    return {"metrics": [{"name": name, "value": value} for name, value in pairs]}


def _flags(engine: Engine) -> Any:
    shown = engine.options.flags.shown()
    return {"flags": [{"name": name, "value": value} for name, value in shown.items()]}


READS: Final[dict[str, Callable[[Engine], Any]]] = {
    "GET_HEALTH": lambda _: {"healthy": True},
    "GET_FLAGS": _flags,
    "GET_VERSION": lambda _: {"version_info": BUILD},
    "GET_METRICS": _metrics,
    "GET_STATE": lambda engine: operator_views.whole_state(engine.state),
    "GET_AGENTS": lambda engine: operator_views.agents(engine.state),
    "GET_FRAMEWORKS": lambda engine: operator_views.frameworks(engine.state),
    "GET_TASKS": lambda engine: operator_views.tasks(engine.state),
    "GET_EXECUTORS": lambda _: operator_views.executors(),
    "GET_MASTER": lambda engine: operator_views.master(engine.state),
    "GET_ROLES": lambda engine: operator_views.roles(engine.state),
}


def read_call(request: Request, body: bytes) -> OperatorCall:
    """The call in a request.

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
        call = from_json(value, OperatorCall)
    except NotConvertible as error:
        answer = text(400, f"Failed to convert JSON into Call protobuf: {error}")
        raise BadRequest(answer) from None
    prefix = "Failed to validate master::Call: "
    kind = call.type
    if kind == "UNKNOWN":
        raise BadRequest(text(501, "501 Not Implemented."))
    if kind in UNSUPPORTED and not accepts_json(request):
        raise BadRequest(not_acceptable())
    if kind in UNSUPPORTED:
        words = f"501 Not Implemented. The embedded engine does not support {kind}."
        raise BadRequest(text(501, words))
    if kind is None or (kind not in READS and kind not in NEEDS_BODY):
        raise BadRequest(text(400, prefix + "Expecting 'type' to be present"))
    if kind in NEEDS_BODY and getattr(call, kind.lower()) is None:
        raise BadRequest(text(400, f"{prefix}Expecting '{kind.lower()}' to be present"))
    return call


def handle(engine: Engine, request: Request, body: bytes) -> Response:
    """Answer an operator's call.

    Raises:
        BadRequest: with the answer.
    """
    call = read_call(request, body)
    if not accepts_json(request):
        return not_acceptable()
    kind = call.type or ""
    if kind in READS:
        return json_answer({"type": kind, kind.lower(): READS[kind](engine)})
    if kind in {"LIST_FILES", "READ_FILE"}:
        return text(404, "")  # the master keeps no log file, and Mesos says no more than this
    if call.teardown is not None and kind == "TEARDOWN":
        return teardown(engine, call.teardown.framework_id.value)
    if call.mark_agent_gone is not None and kind == "MARK_AGENT_GONE":
        return _mark_gone(engine, call.mark_agent_gone.agent_id.value)
    if call.unreserve_resources is not None and kind == "UNRESERVE_RESOURCES":
        unreserve = call.unreserve_resources
        return _operate(engine, unreserve.agent_id.value, "UNRESERVE", unreserve.resources)
    assert call.destroy_volumes is not None
    volumes = call.destroy_volumes
    return _operate(engine, volumes.agent_id.value, "DESTROY", volumes.volumes)


def teardown(engine: Engine, framework_id: str) -> Response:
    """TEARDOWN by an operator."""
    framework = engine.state.frameworks.get(framework_id)
    if framework is None:
        return text(400, "No framework found with specified ID")
    now = engine.clock.time()
    engine.perform(frameworks.remove(engine.state, engine.framework_rules, framework, now=now))
    return empty(200)


def _mark_gone(engine: Engine, agent_id: str) -> Response:
    now = engine.clock.time()
    effects = removal.mark_gone(engine.state, engine.framework_rules, agent_id, now=now)
    if effects is None:
        return text(404, f"Agent '{agent_id}' not found")
    engine.perform(effects)
    return empty(200)


def _operate(engine: Engine, agent_id: str, kind: str, resources: tuple[Resource, ...]) -> Response:
    agent = engine.state.agents.get(agent_id)
    if agent is None:
        return text(400, "No agent found with specified ID")
    try:
        engine.perform(operate(engine.state, agent, kind, resources))
    except NotApplicable as error:
        return text(409, str(error))
    except ValueError as error:
        return text(400, str(error))
    return empty(202)
