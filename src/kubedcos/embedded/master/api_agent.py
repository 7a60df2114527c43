"""The private endpoint of agents: registration, updates, and the link that tells who is alive."""

from __future__ import annotations

import logging

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master import agents, removal
from kubedcos.embedded.master.engine import Engine, new_session
from kubedcos.embedded.master.responses import BadRequest, text
from kubedcos.embedded.master.state import AgentRecord
from kubedcos.embedded.protocol import (
    SESSION_HEADER,
    AgentCall,
    AgentReply,
    decode_agent_call,
    encode,
)

_log = logging.getLogger(__name__)


def _reply(reply: AgentReply) -> Response:
    return Response(encode(reply), headers={"Content-Type": "application/json"})


def by_session(engine: Engine, request: Request) -> AgentRecord:
    """The agent whose session the request names.

    Raises:
        BadRequest: 409, no such session.
    """
    agent = engine.state.agents.of_session(request.headers.get(SESSION_HEADER, ""))
    if agent is None:
        raise BadRequest(text(409, "Unknown session: register again"))
    return agent


def handle(engine: Engine, request: Request, body: bytes) -> Response:
    """Answer a call of an agent.

    Raises:
        BadRequest: with the answer.
    """
    try:
        call = decode_agent_call(body)
    except msgspec.DecodeError as error:
        raise BadRequest(text(400, f"Not an agent call: {error}")) from None
    if call.type in {"REGISTER", "REREGISTER"}:
        return _register(engine, call)
    agent = by_session(engine, request)
    now = engine.clock.time()
    if call.type == "STATUS_UPDATE" and call.status_update is not None:
        engine.perform(agents.status_update(engine.state, call.status_update))
    elif call.type == "UNREGISTER":
        _log.info("agent %s unregistered", agent.named())
        engine.perform(removal.unregister(engine.state, engine.framework_rules, agent, now=now))
    else:
        raise BadRequest(text(400, f"{call.type} without its body"))
    return _reply(AgentReply())


def _register(engine: Engine, call: AgentCall) -> Response:
    session, now = new_session(), engine.clock.time()
    rules = (engine.agent_rules, engine.framework_rules)
    try:
        if call.register is not None:
            reply, effects = agents.register(
                engine.state, *rules, call.register, session=session, now=now
            )
        elif call.reregister is not None:
            reply, effects = agents.reregister(
                engine.state, *rules, call.reregister, session=session, now=now
            )
        else:
            raise BadRequest(text(400, f"{call.type} without its body"))
    except agents.RegistrationRefused as error:
        _log.warning("registration refused: %s", error)
        raise BadRequest(text(410 if error.gone else 403, str(error))) from None
    assert reply.agent_id is not None
    agent = engine.state.agents[reply.agent_id.value]
    _log.info("agent %s %s", agent.named(), "registered" if call.register else "re-registered")
    # The channel comes first: the effects may already hold calls for the agent.
    engine.open_channel(agent)
    engine.perform(effects)
    return _reply(reply)
