"""Reservations and volumes by operators."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from kubedcos.embedded.master.accept import operate
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls
from kubedcos.embedded.master.responses import empty, text
from kubedcos.mesos.messages import AgentID, Message, Resource
from kubedcos.mesos.operations import NotApplicable


class UnreserveResources(Message, frozen=True):
    """Body of UNRESERVE_RESOURCES."""

    agent_id: AgentID
    resources: tuple[Resource, ...] = ()


class DestroyVolumes(Message, frozen=True):
    """Body of DESTROY_VOLUMES."""

    agent_id: AgentID
    volumes: tuple[Resource, ...] = ()


def _unreserve(engine: Engine, _caller: Caller, body: UnreserveResources) -> Response:
    return _operate(engine, body.agent_id.value, "UNRESERVE", body.resources)


def _destroy(engine: Engine, _caller: Caller, body: DestroyVolumes) -> Response:
    return _operate(engine, body.agent_id.value, "DESTROY", body.volumes)


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


CALLS: Final[OperatorCalls] = {
    "UNRESERVE_RESOURCES": OperatorCall(_unreserve, UnreserveResources),
    "DESTROY_VOLUMES": OperatorCall(_destroy, DestroyVolumes),
}
