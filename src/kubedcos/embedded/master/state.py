"""What the master knows: agents, frameworks, tasks and offers. Plain records, changed by decisions.

Times are seconds since 1970-01-01 UTC, as Mesos shows them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from kubedcos.embedded.protocol import KillTask
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    AgentInfo,
    Capability,
    FrameworkInfo,
    MasterInfo,
    Offer,
    Task,
)
from kubedcos.mesos.resources import Resources

TaskKey = tuple[str, str]
"""Framework id and task id."""


@dataclass(slots=True)
class AgentRecord:
    """A registered agent.

    Attributes:
        address: where the master reaches it.
        total: resources with dynamic reservations and volumes applied.
        connected: whether its link stands; a disconnected agent gets no offers and no calls.
        missed_pings: pings in a row without an answer.
        kills: kills asked for, by task, for the case that they were lost.
    """

    id: str
    info: AgentInfo
    address: str
    version: str
    session: str
    total: Resources
    registered_time: float
    reregistered_time: float | None = None
    capabilities: tuple[Capability, ...] = ()
    connected: bool = True
    missed_pings: int = 0
    kills: dict[TaskKey, KillTask] = field(default_factory=dict)

    @property
    def pid(self) -> str:
        """Mesos' name of the process; Mesos-DNS cuts host and port out of it."""
        return f"slave(1)@{self.address}:{self.info.port}"

    @property
    def region(self) -> str | None:
        """Region of the agent's fault domain."""
        domain = self.info.domain
        return domain.fault_domain.region.name if domain and domain.fault_domain else None

    def named(self) -> str:
        """The agent as Mesos writes it in messages."""
        return f"{self.id} at {self.pid} ({self.info.hostname})"


@dataclass(slots=True)
class Filter:
    """Resources of an agent that a framework does not want for a role, until `expires`."""

    resources: Resources
    expires: float


@dataclass(slots=True)
class FrameworkRecord:
    """A framework, subscribed or not.

    Attributes:
        stream_id: of its subscription; `None` while disconnected.
        recovered: known from agents only, not subscribed at this master yet.
        failover_deadline: when a disconnected framework is removed.
        filters: by role and agent id.
    """

    id: str
    info: FrameworkInfo
    registered_time: float
    reregistered_time: float | None = None
    unregistered_time: float | None = None
    stream_id: str | None = None
    principal: str | None = None
    recovered: bool = False
    failover_deadline: float | None = None
    suppressed: set[str] = field(default_factory=set)
    filters: dict[tuple[str, str], list[Filter]] = field(default_factory=dict)
    completed_tasks: deque[Task] = field(default_factory=deque)
    unreachable_tasks: dict[str, Task] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Whether it has a subscription."""
        return self.stream_id is not None

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles that it subscribed for."""
        return self.info.roles if self.can("MULTI_ROLE") else (self.info.role or "*",)

    def can(self, capability: str) -> bool:
        """Whether the framework has the capability."""
        return any(capability == has.type for has in self.info.capabilities)


@dataclass(slots=True)
class OfferRecord:
    """An offer that is out; `resources` are marked as allocated to `role`."""

    offer: Offer
    role: str
    resources: Resources
    created: float

    @property
    def id(self) -> str:
        """Identifier of the offer."""
        return self.offer.id.value

    @property
    def framework_id(self) -> str:
        """Whom it was made to."""
        return self.offer.framework_id.value

    @property
    def agent_id(self) -> str:
        """Whose resources it holds."""
        return self.offer.agent_id.value


@dataclass(slots=True)
class MasterState:
    """Everything that the master decides upon.

    Attributes:
        recovered: agents of the registry that have not come back since this master was elected.
        unreachable: time of loss by agent id.
        gone: time by agent id; these may never come back.
        tasks: those that live and those whose end is not acknowledged.
        next_framework, next_agent, next_offer: numbers of the next identifiers.
    """

    info: MasterInfo
    start_time: float
    elected_time: float | None = None
    agents: dict[str, AgentRecord] = field(default_factory=dict)
    recovered: dict[str, AgentInfo] = field(default_factory=dict)
    unreachable: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    frameworks: dict[str, FrameworkRecord] = field(default_factory=dict)
    completed: dict[str, FrameworkRecord] = field(default_factory=dict)
    tasks: dict[TaskKey, Task] = field(default_factory=dict)
    offers: dict[str, OfferRecord] = field(default_factory=dict)
    next_framework: int = 0
    next_agent: int = 0
    next_offer: int = 0
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def region(self) -> str | None:
        """Region of the master."""
        domain = self.info.domain
        return domain.fault_domain.region.name if domain and domain.fault_domain else None

    def count(self, name: str) -> None:
        """Count an event for the metrics."""
        self.counters[name] = self.counters.get(name, 0) + 1

    def tasks_of(
        self, *, framework_id: str | None = None, agent_id: str | None = None
    ) -> Iterator[Task]:
        """Tasks of a framework, of an agent, or of both."""
        for task in list(self.tasks.values()):
            if framework_id in (None, task.framework_id.value) and agent_id in (
                None,
                task.agent_id.value,
            ):
                yield task

    def offers_of(
        self, *, framework_id: str | None = None, agent_id: str | None = None
    ) -> Iterator[OfferRecord]:
        """Offers to a framework, of an agent, or both."""
        for offer in list(self.offers.values()):
            if framework_id in (None, offer.framework_id) and agent_id in (None, offer.agent_id):
                yield offer

    def used(self, *, framework_id: str | None = None, agent_id: str | None = None) -> Resources:
        """Resources of tasks that run, marked with the roles that they are allocated to."""
        total = Resources()
        for task in self.tasks_of(framework_id=framework_id, agent_id=agent_id):
            if task.state not in TERMINAL_STATES:
                total += task.resources
        return total

    def offered(self, *, framework_id: str | None = None, agent_id: str | None = None) -> Resources:
        """Resources in offers."""
        total = Resources()
        for offer in self.offers_of(framework_id=framework_id, agent_id=agent_id):
            total += offer.resources
        return total

    def free(self, agent: AgentRecord) -> Resources:
        """Resources of an agent that are neither used nor offered."""
        taken = self.used(agent_id=agent.id) + self.offered(agent_id=agent.id)
        return agent.total - taken.unallocated()
