"""A master's engine with simulated agents around it, in one event loop."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Final

from kubedcos.clock import Clock
from kubedcos.embedded.master import api_agent
from kubedcos.embedded.master.agents import RegistrationRefused
from kubedcos.embedded.master.channels import CALL_TIMEOUT, Channel
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.options import MasterOptions
from kubedcos.embedded.master.state import AgentRecord
from kubedcos.embedded.protocol import AgentCall, AgentReply, MasterCall
from kubedcos.embedded.simulation.agent import SimulatedAgent
from kubedcos.embedded.simulation.behaviour import Behaviour, behaviour_of
from kubedcos.embedded.simulation.task import SimulatedTask, Timer
from kubedcos.mesos.messages import AgentInfo, TaskInfo

_log = logging.getLogger(__name__)

AT_ONCE: Final = 100
"""Agents that register before others get their turn: frameworks, readers, pings."""
BACK_OFF: Final = 1.0
"""Seconds within which an agent that lost its session registers again."""


class SimulatedCluster:
    """Agents and the engine of the master that they belong to.

    Args:
        options: of the master.
        clock: source of time; `later` is the running event loop's.
        chance: everything that is not determined by calls and time: identifiers, orders, waits.
        usual: how tasks go that do not say.

    Attributes:
        agents: in the order in which they were added.
        engine: of the master that leads, or led last.
        leading: whether a master leads.
    """

    def __init__(
        self,
        options: MasterOptions,
        clock: Clock,
        chance: random.Random,
        usual: Behaviour | None = None,
    ) -> None:
        self.clock = clock
        self.chance = chance
        self.leading = True
        self._options = options
        self._delays: dict[SimulatedAgent, float] = {}
        self._busy_until: dict[SimulatedAgent, float] = {}
        self.agents: list[SimulatedAgent] = []
        self._usual = usual or Behaviour()
        self._by_address: dict[tuple[str, int], SimulatedAgent] = {}
        self._returning: set[SimulatedAgent] = set()
        self.engine = self._new_engine()

    def _new_engine(self) -> Engine:
        return Engine(self._options, self.clock, chance=self.chance, channel=self._channel)

    def add(self, info: AgentInfo, address: str) -> SimulatedAgent:
        """One more agent, which does not register yet; `address` and port are its own."""
        agent = SimulatedAgent(info, address, self)
        self.agents.append(agent)
        self._by_address[address, info.port] = agent
        return agent

    async def register(self, agents: Iterable[SimulatedAgent] | None = None) -> None:
        """Register agents, all by default; returns when their sessions stand."""
        waiting: list[asyncio.Future[AgentReply]] = []
        for number, agent in enumerate(self.agents if agents is None else agents, 1):
            waiting.append(self._register(agent))
            if number % AT_ONCE == 0:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)

    def behaviour(self, task: TaskInfo) -> Behaviour:
        """How a task goes."""
        return behaviour_of(task, self._usual)

    def launched(self, agent: SimulatedAgent, task: SimulatedTask) -> None:
        """A task has come; for those who want to watch."""

    def later(self, seconds: float, do: Callable[[], None]) -> Timer:
        """Do something after a while."""
        return asyncio.get_running_loop().call_later(seconds, do)

    def send(self, agent: SimulatedAgent, call: AgentCall) -> None:
        """A call of an agent on its way to the master, where calls arrive in their order."""
        loop = asyncio.get_running_loop()
        arrival = loop.time() + self._delays.get(agent, 0.0)
        if (busy := self._busy_until.get(agent)) is not None:
            arrival = max(arrival, busy)
        if arrival <= loop.time():
            loop.call_soon(self._deliver, agent, agent.session, call)
            return
        self._busy_until[agent] = arrival
        loop.call_at(arrival, self._deliver, agent, agent.session, call)

    def slow(self, agent: SimulatedAgent, seconds: float) -> None:
        """From now on everything between the agent and the master takes so long, each way."""
        self._delays[agent] = seconds

    def delay(self, agent: SimulatedAgent) -> float:
        """Seconds that a call of the master takes to the agent."""
        return self._delays.get(agent, 0.0)

    async def end_master(self) -> None:
        """The leading master ends; nobody leads, agents and frameworks lose their sessions."""
        self.leading = False
        await self.engine.close()

    def elect_another(self) -> None:
        """Another master leads: it knows the registry and nothing else, and agents find it."""
        registry = self.engine.store
        self.engine = self._new_engine()
        self.engine.store = registry
        self.leading = True
        self.engine.elect(registry.load())
        for agent in self.agents:
            if agent.reachable:
                self._return(agent)

    def cut(self, agent: SimulatedAgent) -> None:
        """Nothing passes between the agent and the master; neither is told."""
        agent.reachable = False

    def heal(self, agent: SimulatedAgent) -> None:
        """The network is well again; the agent notices and registers anew."""
        agent.reachable = True
        self._return(agent)

    def stop(self, agent: SimulatedAgent) -> None:
        """The agent's process ends: its connection breaks, its tasks run on."""
        agent.reachable = False
        if agent.id is not None:
            self.engine.agent_disconnected(agent.id.value, agent.session)

    def _deliver(self, agent: SimulatedAgent, session: str, call: AgentCall) -> None:
        if not agent.reachable or not self.leading:
            return
        record = self.engine.state.agents.of_session(session)
        if record is None:
            self._return(agent)
        else:
            api_agent.take(self.engine, record, call)

    def _return(self, agent: SimulatedAgent) -> None:
        """Register again, after a short random wait as agents have it."""
        if agent in self._returning:
            return
        self._returning.add(agent)

        def again() -> None:
            self._returning.discard(agent)
            if agent.reachable and self.leading:
                self._register(agent)

        self.later(self.chance.uniform(0, BACK_OFF), again)

    def _register(self, agent: SimulatedAgent) -> asyncio.Future[AgentReply]:
        future = api_agent.admit(self.engine, agent.registration())
        future.add_done_callback(lambda done: self._registered(agent, done))
        return future

    def _registered(self, agent: SimulatedAgent, done: asyncio.Future[AgentReply]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, RegistrationRefused) and error.final:
            agent.reachable = False
            return
        if error is not None:
            _log.warning("agent %s may not register: %s", agent.info.hostname, error)
            return
        agent.registered(done.result())
        assert agent.id is not None
        channel = self.engine.channels.get(agent.id.value)
        if isinstance(channel, SimulatedChannel):
            channel.deliver()

    def _channel(self, record: AgentRecord, on_failure: Callable[[], None]) -> Channel:
        agent = self._by_address[record.address, record.info.port]
        return SimulatedChannel(self, agent, record.session, on_failure)

    def lost_session(self, agent: SimulatedAgent) -> None:
        """The master holds the agent for disconnected."""
        self._return(agent)


_Sent = tuple[MasterCall, Callable[[], None] | None]


class SimulatedChannel:
    """The conversation of one session, without a network: in order, never inside a decision."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        agent: SimulatedAgent,
        session: str,
        on_failure: Callable[[], None],
    ) -> None:
        self.ended = asyncio.Event()
        self._cluster = cluster
        self._agent = agent
        self._session = session
        self._on_failure = on_failure
        self._failing = False
        self._waiting: list[_Sent] = []
        self._closing = False

    def send(self, call: MasterCall, taken: Callable[[], None] | None = None) -> None:
        """Append a call; `taken` is called when the agent has taken it."""
        if not self._waiting:
            self._deliver_soon()
        self._waiting.append((call, taken))

    def end(self) -> None:
        """End the conversation after what was sent."""
        self._closing = True
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        delay = self._cluster.delay(self._agent)
        if delay:
            self._cluster.later(delay, self.deliver)
        else:
            asyncio.get_running_loop().call_soon(self.deliver)

    def deliver(self) -> None:
        """Bring what waits, as soon as the agent knows of the session."""
        if self._agent.session != self._session and not self._closing:
            return
        waiting, self._waiting = self._waiting, []
        if not self._agent.reachable:
            self._fail(waiting)
            return
        for call, taken in waiting:
            if self._agent.session == self._session:
                self._agent.take(call)
                if taken is not None:
                    taken()
        if self._closing:
            self.ended.set()

    def _fail(self, lost: list[_Sent]) -> None:
        """Calls that never arrive: the master notices when it waited for an answer in vain."""
        if self._closing:
            self.ended.set()
        elif lost and not self._failing:
            self._failing = True
            self._cluster.later(CALL_TIMEOUT, self._on_failure)

    async def ping(self, call: MasterCall, deadline: float) -> bool:
        """A ping past the queue; nobody answers within the deadline while the network is cut."""
        if not self._agent.reachable:
            await self._cluster.clock.sleep(deadline)
            return False
        if call.ping is not None and not call.ping.connected:
            self._cluster.lost_session(self._agent)
        return True
