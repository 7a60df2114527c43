"""Questions to the leading master by its operator API: which agents there are, and what is free."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2
import msgspec
from msgspec.structs import replace

from kubedcos.errors import KubedcosError
from kubedcos.mesos import messages as wire
from kubedcos.mesos.base_messages import Message
from kubedcos.mesos.detector import Detector, NoMaster
from kubedcos.mesos.leading_master import LeadingMaster, address, refusal
from kubedcos.mesos.resources import Resources, upgraded


class AgentsUnknown(KubedcosError):
    """The master does not say which agents there are."""


class _Agent(Message, frozen=True):
    """One agent of GET_AGENTS."""

    agent_info: wire.AgentInfo
    active: bool = True
    deactivated: bool = False
    total_resources: tuple[wire.Resource, ...] = ()
    allocated_resources: tuple[wire.Resource, ...] = ()


class _Agents(Message, frozen=True):
    agents: tuple[_Agent, ...] = ()


class _Master(Message, frozen=True):
    master_info: wire.MasterInfo


class _Answer(Message, frozen=True):
    get_agents: _Agents | None = None
    get_master: _Master | None = None


@dataclass(frozen=True, slots=True)
class AgentAmounts:
    """An agent with all that it has, and what of it no task uses."""

    info: wire.AgentInfo
    total: tuple[wire.Resource, ...]
    free: tuple[wire.Resource, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """The agents that take tasks, and the domain of the leading master."""

    agents: tuple[AgentAmounts, ...]
    domain: wire.DomainInfo | None = None


class Operator:
    """Asks masters.

    Args:
        detector: where they are.
        logins: principals with their secrets; the next is tried where one may not ask.
        tls: for masters that speak HTTPS; None for plain HTTP.
        transport: in place of the network, for tests.
        timeout_seconds: for each answer.
    """

    def __init__(
        self,
        detector: Detector,
        logins: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._leader = LeadingMaster(detector, logins, tls, transport, timeout_seconds)

    async def site(self) -> Site:
        """All agents that are registered, active and not being drained.

        Raises:
            AgentsUnknown: no master answers, or none lets this program ask.
        """
        agents = (await self._ask("GET_AGENTS")).get_agents
        master = (await self._ask("GET_MASTER")).get_master
        found = agents.agents if agents is not None else ()
        return Site(
            tuple(_amounts(agent) for agent in found if agent.active and not agent.deactivated),
            master.master_info.domain if master is not None else None,
        )

    async def _ask(self, call: str) -> _Answer:
        content = msgspec.json.encode({"type": call})
        try:
            reply = await self._leader.ask("POST", "/api/v1", content)
        except NoMaster as error:
            raise AgentsUnknown(f"{call}: {error}") from error
        if reply.status_code != 200:
            raise AgentsUnknown(f"{call}: {refusal(reply)}")
        try:
            return wire.decode(reply.content, _Answer)
        except msgspec.DecodeError as error:
            raise AgentsUnknown(f"{call}: the answer of {address(reply)}: {error}") from error


def _amounts(agent: _Agent) -> AgentAmounts:
    total = Resources(map(_told, agent.total_resources)).unallocated()
    free = total - Resources(map(_told, agent.allocated_resources)).unallocated()
    return AgentAmounts(agent.agent_info, tuple(total), tuple(free))


def _told(resource: wire.Resource) -> wire.Resource:
    """A resource as masters tell operators of it: reserved ones in the old form and the new one.

    That is Mesos' format ``ENDPOINT`` (``convertResourceFormat`` in its ``resources_utils``).
    """
    if resource.reservations:
        return replace(resource, role=None, reservation=None)
    return upgraded(resource)
