"""Reservations and volumes by operators, over both APIs."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master.authorization import require_call
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operating import operate
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls
from kubedcos.embedded.master.responses import BadRequest, empty, text
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json
from kubedcos.mesos.messages import (
    AgentID,
    Message,
    Operation,
    OperationGrowVolume,
    OperationReserve,
    OperationResources,
    OperationShrinkVolume,
    OperationVolumes,
    Resource,
    Scalar,
)
from kubedcos.mesos.operations import NotApplicable


class ReserveResources(Message, frozen=True):
    """Body of RESERVE_RESOURCES; `source` is what they are reserved as now."""

    agent_id: AgentID
    source: tuple[Resource, ...] = ()
    resources: tuple[Resource, ...] = ()


class UnreserveResources(Message, frozen=True):
    """Body of UNRESERVE_RESOURCES."""

    agent_id: AgentID
    resources: tuple[Resource, ...] = ()


class Volumes(Message, frozen=True):
    """Body of CREATE_VOLUMES and DESTROY_VOLUMES."""

    agent_id: AgentID
    volumes: tuple[Resource, ...] = ()


class GrowVolume(Message, frozen=True):
    """Body of GROW_VOLUME."""

    volume: Resource
    addition: Resource
    agent_id: AgentID | None = None


class ShrinkVolume(Message, frozen=True):
    """Body of SHRINK_VOLUME."""

    volume: Resource
    subtract: Scalar
    agent_id: AgentID | None = None


def _operate(engine: Engine, caller: Caller, agent_id: str, operation: Operation) -> Response:
    agent = engine.state.agents.get(agent_id)
    if agent is None:
        return text(400, "No agent found with specified ID")
    try:
        effects = operate(
            engine.state,
            agent,
            operation,
            principal=caller.principal,
            now=engine.clock.time(),
            allocation_interval=engine.options.allocation_interval,
        )
    except NotApplicable as error:
        return text(409, str(error))
    except ValueError as error:
        return text(400, str(error))
    engine.perform(effects)
    return empty(202)


def _reserve(engine: Engine, caller: Caller, body: ReserveResources) -> Response:
    part = OperationReserve(body.source, body.resources)
    return _operate(engine, caller, body.agent_id.value, Operation("RESERVE", reserve=part))


def _unreserve(engine: Engine, caller: Caller, body: UnreserveResources) -> Response:
    operation = Operation("UNRESERVE", unreserve=OperationResources(body.resources))
    return _operate(engine, caller, body.agent_id.value, operation)


def _create(engine: Engine, caller: Caller, body: Volumes) -> Response:
    operation = Operation("CREATE", create=OperationVolumes(body.volumes))
    return _operate(engine, caller, body.agent_id.value, operation)


def _destroy(engine: Engine, caller: Caller, body: Volumes) -> Response:
    operation = Operation("DESTROY", destroy=OperationVolumes(body.volumes))
    return _operate(engine, caller, body.agent_id.value, operation)


def _default_agent(body: GrowVolume | ShrinkVolume) -> str:
    if body.agent_id is None:
        wanted = "Expecting 'agent_id' to be present; only agent default resources are supported"
        refusal = f"Failed to validate master::Call: {wanted} right now"
        raise BadRequest(text(400, refusal))
    return body.agent_id.value


def _grow(engine: Engine, caller: Caller, body: GrowVolume) -> Response:
    part = OperationGrowVolume(body.volume, body.addition)
    operation = Operation("GROW_VOLUME", grow_volume=part)
    return _operate(engine, caller, _default_agent(body), operation)


def _shrink(engine: Engine, caller: Caller, body: ShrinkVolume) -> Response:
    part = OperationShrinkVolume(body.volume, body.subtract)
    operation = Operation("SHRINK_VOLUME", shrink_volume=part)
    return _operate(engine, caller, _default_agent(body), operation)


CALLS: Final[OperatorCalls] = {
    "RESERVE_RESOURCES": OperatorCall(_reserve, ReserveResources),
    "UNRESERVE_RESOURCES": OperatorCall(_unreserve, UnreserveResources),
    "CREATE_VOLUMES": OperatorCall(_create, Volumes),
    "DESTROY_VOLUMES": OperatorCall(_destroy, Volumes),
    "GROW_VOLUME": OperatorCall(_grow, GrowVolume),
    "SHRINK_VOLUME": OperatorCall(_shrink, ShrinkVolume),
}


def _form(body: bytes) -> dict[str, str]:
    """A form in the body of a request; of a name given twice the last one counts."""
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return dict(pairs)


def _listed(values: dict[str, str], name: str, words: str) -> tuple[Resource, ...]:
    given = values.get(name)
    if given is None:
        missing = f"Missing '{name}' query parameter in the request body"
        raise BadRequest(text(400, missing))
    refusal = f"{words} '{name}' query parameter in the request body: "
    try:
        listed = parse_json(given.encode())
        if isinstance(listed, list):
            return tuple(from_json(value, Resource) for value in listed)
    except NotConvertible as error:
        raise BadRequest(text(400, f"{refusal}{error}")) from None
    raise BadRequest(text(400, f"{refusal}unexpected JSON type"))


def _agent_id(values: dict[str, str]) -> AgentID:
    if "slaveId" not in values:
        missing = "Missing 'slaveId' query parameter in the request body"
        raise BadRequest(text(400, missing))
    return AgentID(values["slaveId"])


def reserve(engine: Engine, _request: Request, body: bytes, caller: Caller) -> Response:
    """`/reserve`."""
    values = _form(body)
    agent_id = _agent_id(values)
    resources = _listed(values, "resources", "Error parsing")
    source = _listed(values, "source", "Error parsing") if "source" in values else ()
    wanted = ReserveResources(agent_id, source, resources)
    require_call(caller.approver, engine.state, "RESERVE_RESOURCES", wanted)
    return _reserve(engine, caller, wanted)


def unreserve(engine: Engine, _request: Request, body: bytes, caller: Caller) -> Response:
    """`/unreserve`."""
    values = _form(body)
    agent_id = _agent_id(values)
    resources = _listed(values, "resources", "Error in parsing")
    wanted = UnreserveResources(agent_id, resources)
    require_call(caller.approver, engine.state, "UNRESERVE_RESOURCES", wanted)
    return _unreserve(engine, caller, wanted)


def create_volumes(engine: Engine, _request: Request, body: bytes, caller: Caller) -> Response:
    """`/create-volumes`."""
    values = _form(body)
    agent_id = _agent_id(values)
    wanted = Volumes(agent_id, _listed(values, "volumes", "Error in parsing"))
    require_call(caller.approver, engine.state, "CREATE_VOLUMES", wanted)
    return _create(engine, caller, wanted)


def destroy_volumes(engine: Engine, _request: Request, body: bytes, caller: Caller) -> Response:
    """`/destroy-volumes`."""
    values = _form(body)
    agent_id = _agent_id(values)
    volumes = _listed(values, "volumes", "Error in parsing")
    wanted = Volumes(agent_id, volumes)
    require_call(caller.approver, engine.state, "DESTROY_VOLUMES", wanted)
    return _destroy(engine, caller, wanted)
