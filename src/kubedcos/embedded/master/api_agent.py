"""The private endpoint of agents: registration, updates, and the link that tells who is alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master import agent_rules, agents, removal
from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.responses import BadRequest, text
from kubedcos.embedded.master.state import AgentRecord
from kubedcos.embedded.master.task_groups import exited_executor
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


def handle(engine: Engine, request: Request, body: bytes) -> Awaitable[Response] | Response:
    """Answer a call of an agent; a registration's answer comes when it is stored.

    Raises:
        BadRequest: with the answer.
    """
    try:
        call = decode_agent_call(body)
    except msgspec.DecodeError as error:
        raise BadRequest(text(400, f"Not an agent call: {error}")) from None
    if call.type in {"REGISTER", "REREGISTER"}:
        return _register(engine, call)
    take(engine, by_session(engine, request), call)
    return _reply(AgentReply())


async def _register(engine: Engine, call: AgentCall) -> Response:
    try:
        return _reply(await admit(engine, call))
    except agents.RegistrationRefused as error:
        raise BadRequest(text(410 if error.final else 403, str(error))) from None


def admit(engine: Engine, call: AgentCall) -> asyncio.Future[AgentReply]:
    """REGISTER or REREGISTER: the reply, or `RegistrationRefused`, once it is stored.

    Raises:
        BadRequest: the call has no body.
    """
    rules = (engine.agent_rules, engine.framework_rules)
    if (call.register or call.reregister) is None:
        raise BadRequest(text(400, f"{call.type} without its body"))

    def decide() -> tuple[AgentReply, Effects]:
        session, now = engine.new_session(), engine.clock.time()
        try:
            _refuse_what_does_not_add_up(engine, call)
            if call.register is not None:
                reply, effects = agents.register(
                    engine.state, *rules, call.register, session=session, now=now
                )
            else:
                assert call.reregister is not None
                reply, effects = agents.reregister(
                    engine.state, *rules, call.reregister, session=session, now=now
                )
        except agents.RegistrationRefused as error:
            _log.warning("registration refused: %s", error)
            raise
        agent = engine.state.agents.of_session(session)
        assert agent is not None
        what = "registered" if call.register is not None else "re-registered"
        _log.info("agent %s %s", agent.named(), what)
        return reply, effects

    return engine.registrar.submit(decide)


def _refuse_what_does_not_add_up(engine: Engine, call: AgentCall) -> None:
    fault = None
    if call.register is not None:
        fault = agent_rules.registration_fault(call.register)
    elif call.reregister is not None:
        fault = agent_rules.return_fault(engine.state, call.reregister)
    if fault is not None:
        raise agents.RegistrationRefused(fault)


def take(engine: Engine, agent: AgentRecord, call: AgentCall) -> None:
    """A call of an agent that is registered.

    Raises:
        BadRequest: the call has no body.
    """
    now = engine.clock.time()
    if call.type == "STATUS_UPDATE" and call.status_update is not None:
        if fault := agent_rules.update_fault(engine.state, agent, call.status_update):
            raise BadRequest(text(400, fault))
        engine.perform(agents.status_update(engine.state, call.status_update))
    elif call.type == "EXITED_EXECUTOR" and call.exited_executor is not None:
        engine.perform(exited_executor(engine.state, agent, call.exited_executor))
    elif call.type == "UNREGISTER":
        _log.info("agent %s unregistered", agent.named())
        engine.perform(removal.unregister(engine.state, engine.framework_rules, agent, now=now))
    else:
        raise BadRequest(text(400, f"{call.type} without its body"))
