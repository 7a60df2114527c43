"""What a decision of the master wants done to the outside world; decisions return lists of it."""

from __future__ import annotations

from dataclasses import dataclass

from kubedcos.embedded.master.state import AgentRecord
from kubedcos.embedded.protocol import MasterCall
from kubedcos.mesos.messages import Event


@dataclass(frozen=True, slots=True)
class ToFramework:
    """Send an event down the framework's stream; nothing happens when it has none."""

    framework_id: str
    event: Event


@dataclass(frozen=True, slots=True)
class CloseStream:
    """End a subscription after everything sent before."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class ToStream:
    """Send an event to one stream, whoever it belongs to by now."""

    stream_id: str
    event: Event


@dataclass(frozen=True, slots=True)
class ToAgent:
    """Send a call to an agent, after everything sent to it before.

    Attributes:
        operation: uuid of the operation that is carried out when the agent has taken the call.
    """

    agent_id: str
    call: MasterCall
    operation: str | None = None


@dataclass(frozen=True, slots=True)
class OpenChannel:
    """Begin the conversation of an agent's new session; an older one of the agent ends."""

    agent: AgentRecord


@dataclass(frozen=True, slots=True)
class DropAgent:
    """End the conversation with an agent after everything sent before."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class SaveRegistry:
    """Store the registry before anything else of this decision becomes visible."""


@dataclass(frozen=True, slots=True)
class Allocate:
    """Make offers now instead of at the next interval.

    Attributes:
        agent_id: whose resources are to be offered; `None`: all agents'.
    """

    agent_id: str | None = None


Effect = (
    ToFramework
    | CloseStream
    | ToStream
    | ToAgent
    | OpenChannel
    | DropAgent
    | SaveRegistry
    | Allocate
)
Effects = list[Effect]
