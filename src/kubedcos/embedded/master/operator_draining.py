"""DRAIN_AGENT, DEACTIVATE_AGENT and REACTIVATE_AGENT of `/api/v1`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.responses import Response

from kubedcos.embedded.master import draining
from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls
from kubedcos.embedded.master.responses import empty, text
from kubedcos.embedded.protocol import DrainConfig
from kubedcos.mesos.messages import AgentID, DurationInfo, Message


class Duration(Message, frozen=True):
    """`google.protobuf.Duration`; Mesos reads it in this form only, not as ``"3s"``."""

    seconds: int = 0
    nanos: int = 0


class DrainAgent(Message, frozen=True):
    """Body of DRAIN_AGENT."""

    agent_id: AgentID
    max_grace_period: Duration | None = None
    mark_gone: bool = False


class OneAgent(Message, frozen=True):
    """Body of DEACTIVATE_AGENT and REACTIVATE_AGENT."""

    agent_id: AgentID


def _decided(engine: Engine, decide: Callable[[], Effects]) -> Response:
    try:
        engine.perform(decide())
    except draining.DrainRefused as error:
        return text(400, str(error))
    return empty(200)


def _drain(engine: Engine, _caller: Caller, body: DrainAgent) -> Response:
    grace = body.max_grace_period
    period = None if grace is None else DurationInfo(grace.seconds * 10**9 + grace.nanos)
    config = DrainConfig(period, body.mark_gone)
    now = engine.clock.time()
    return _decided(
        engine, lambda: draining.drain(engine.state, body.agent_id.value, config, now=now)
    )


def _deactivate(engine: Engine, _caller: Caller, body: OneAgent) -> Response:
    return _decided(engine, lambda: draining.deactivate(engine.state, body.agent_id.value))


def _reactivate(engine: Engine, _caller: Caller, body: OneAgent) -> Response:
    agent_id = body.agent_id.value
    answer = _decided(engine, lambda: draining.reactivate(engine.state, agent_id))
    if answer.status_code == 200 and agent_id not in engine.state.agents:
        # It is reactivated all the same, for the time when it comes back.
        return text(409, "Agent removed while processing the call")
    return answer


CALLS: Final[OperatorCalls] = {
    "DRAIN_AGENT": OperatorCall(_drain, DrainAgent),
    "DEACTIVATE_AGENT": OperatorCall(_deactivate, OneAgent),
    "REACTIVATE_AGENT": OperatorCall(_reactivate, OneAgent),
}
