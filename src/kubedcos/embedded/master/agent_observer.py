"""Pings of agents, and the loss of those that do not answer: what Mesos calls slave observers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kubedcos.embedded.master import removal
from kubedcos.embedded.protocol import MasterCall, Ping

if TYPE_CHECKING:
    from kubedcos.embedded.master.effects import Effects
    from kubedcos.embedded.master.engine import Engine
    from kubedcos.embedded.master.state import AgentRecord

_log = logging.getLogger(__name__)


class AgentObserver:
    """Pings each agent as long as it is registered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._observed: set[str] = set()
        self._next_removal = 0.0

    def observe(self, agent_id: str) -> None:
        """Begin to ping an agent, if it is not pinged yet."""
        if agent_id not in self._observed:
            self._observed.add(agent_id)
            self._engine.spawn(self._observe(agent_id))

    async def _observe(self, agent_id: str) -> None:
        try:
            await self._ping(agent_id)
        finally:
            self._observed.discard(agent_id)

    async def _ping(self, agent_id: str) -> None:
        """Ping an agent until it is gone; too many misses make it unreachable."""
        state, channels = self._engine.state, self._engine.channels
        clock, options = self._engine.clock, self._engine.options
        while True:
            started = clock.monotonic()
            agent, channel = state.agents.get(agent_id), channels.get(agent_id)
            if agent is None or channel is None:
                return
            ping = MasterCall(type="PING", ping=Ping(connected=agent.connected))
            answered = await channel.ping(ping, options.agent_ping_timeout)
            rest = options.agent_ping_timeout - (clock.monotonic() - started)
            if rest > 0:
                await clock.sleep(rest)
            agent = state.agents.get(agent_id)
            if agent is None:
                return
            agent.missed_pings = 0 if answered else agent.missed_pings + 1
            lost = agent.missed_pings >= options.max_agent_ping_timeouts
            if lost and clock.monotonic() >= self._next_removal:
                self._next_removal = clock.monotonic() + options.removal_interval
                if await self._lose(agent):
                    return

    async def _lose(self, agent: AgentRecord) -> bool:
        """Give up an agent; False when it came back at the last moment."""
        engine = self._engine

        def decide() -> tuple[bool, Effects]:
            if engine.state.agents.get(agent.id) is not agent:
                return False, []
            _log.warning("agent %s is unreachable", agent.named())
            now = engine.clock.time()
            return True, removal.unreachable(engine.state, engine.framework_rules, agent, now=now)

        return await engine.registrar.submit(decide)
