"""What operators do to agents and to frameworks as a whole."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from kubedcos.embedded.master import frameworks, removal
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls
from kubedcos.embedded.master.responses import empty, text
from kubedcos.mesos.messages import AgentID, FrameworkID, Message


class Teardown(Message, frozen=True):
    """Body of TEARDOWN."""

    framework_id: FrameworkID


class MarkAgentGone(Message, frozen=True):
    """Body of MARK_AGENT_GONE."""

    agent_id: AgentID


def teardown(engine: Engine, framework_id: str) -> Response:
    """TEARDOWN by an operator, at either endpoint."""
    framework = engine.state.frameworks.get(framework_id)
    if framework is None:
        return text(400, "No framework found with specified ID")
    now = engine.clock.time()
    engine.perform(frameworks.remove(engine.state, engine.framework_rules, framework, now=now))
    return empty(200)


def _teardown(engine: Engine, _caller: Caller, body: Teardown) -> Response:
    return teardown(engine, body.framework_id.value)


def _mark_gone(engine: Engine, _caller: Caller, body: MarkAgentGone) -> Response:
    agent_id = body.agent_id.value
    now = engine.clock.time()
    effects = removal.mark_gone(engine.state, engine.framework_rules, agent_id, now=now)
    if effects is None:
        return text(404, f"Agent '{agent_id}' not found")
    engine.perform(effects)
    return empty(200)


CALLS: Final[OperatorCalls] = {
    "TEARDOWN": OperatorCall(_teardown, Teardown),
    "MARK_AGENT_GONE": OperatorCall(_mark_gone, MarkAgentGone),
}
