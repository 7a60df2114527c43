"""What the master knows: agents, frameworks, tasks and offers. Plain records, changed by decisions.

Agents, tasks and offers are in tables that keep indices and sums along (`tables`).
Times are seconds since 1970-01-01 UTC, as Mesos shows them.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from kubedcos.embedded.master.capacity import Capacity
from kubedcos.embedded.master.constraints import ALL_AGENTS, AgentFilter
from kubedcos.embedded.master.machines import Machine, MachineKey, Schedule
from kubedcos.embedded.master.quota import Quota
from kubedcos.embedded.master.tables import (
    AgentTable,
    ExecutorKey,
    ExecutorTable,
    Ledger,
    OfferTable,
    TaskKey,
    TaskTable,
)
from kubedcos.embedded.protocol import DrainConfig, KillTask
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    AgentInfo,
    Capability,
    ExecutorInfo,
    FrameworkInfo,
    InverseOffer,
    MasterInfo,
    Offer,
    Operation,
    OperationStatus,
    Task,
)
from kubedcos.mesos.resources import Resources


@dataclass(slots=True)
class AgentRecord:
    """A registered agent.

    Attributes:
        address: where the master reaches it.
        total: resources with dynamic reservations and volumes applied.
        connected: whether its link stands; a disconnected agent gets no offers and no calls.
        missed_pings: pings in a row without an answer.
        kills: kills asked for, by task, for the case that they were lost.
        deactivated: by an operator: its tasks go on, its resources are not offered.
        drain_started: when this master asked it to drain.
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
    deactivated: bool = False
    drain_started: float | None = None
    _free: tuple[tuple[Resources, Resources, Resources], Resources] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def active(self) -> bool:
        """Whether its resources are offered."""
        return self.connected and not self.deactivated

    @property
    def pid(self) -> str:
        """Mesos' name of the process; Mesos-DNS cuts host and port out of it."""
        return f"slave(1)@{self.address}:{self.info.port}"

    @property
    def region(self) -> str | None:
        """Region of the agent's fault domain."""
        domain = self.info.domain
        return domain.fault_domain.region.name if domain and domain.fault_domain else None

    def free(self, used: Resources, offered: Resources) -> Resources:
        """What of its resources is neither used nor offered; computed when one of them changed."""
        basis = (self.total, used, offered)
        known = self._free
        if known is None or any(was is not now for was, now in zip(known[0], basis, strict=True)):
            rest = self.total - used.unallocated() - offered.unallocated()
            self._free = known = (basis, rest)
        return known[1]

    def can(self, capability: str) -> bool:
        """Whether the agent has the capability."""
        return any(capability == has.type for has in self.capabilities)

    def named(self) -> str:
        """The agent as Mesos writes it in messages."""
        return f"{self.id} at {self.pid} ({self.info.hostname})"


@dataclass(slots=True)
class Filter:
    """Resources of an agent that a framework does not want for a role, until `expires`."""

    resources: Resources
    expires: float
    _asked: tuple[Resources, bool] | None = field(default=None, repr=False, compare=False)

    def covers(self, resources: Resources) -> bool:
        """Whether that much or more was refused; asking again of the same object costs nothing."""
        if self._asked is None or self._asked[0] is not resources:
            self._asked = (resources, self.resources.contains(resources))
        return self._asked[1]


@dataclass(slots=True)
class FrameworkRecord:
    """A framework, subscribed or not.

    Attributes:
        stream_id: of its subscription; `None` while disconnected.
        recovered: known from agents only, not subscribed at this master yet.
        failover_deadline: when a disconnected framework is removed.
        filters: by role and agent id.
        counters: of its metrics, by the end of their names.
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
    constraints: AgentFilter = ALL_AGENTS
    completed_tasks: deque[Task] = field(default_factory=deque)
    unreachable_tasks: dict[str, Task] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    _capabilities: tuple[FrameworkInfo, set[str | None]] | None = field(
        default=None, repr=False, compare=False
    )

    def count(self, name: str, by: int = 1) -> None:
        """Count something for its metrics."""
        self.counters[name] = self.counters.get(name, 0) + by

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
        known = self._capabilities
        if known is None or known[0] is not self.info:
            self._capabilities = known = (self.info, {has.type for has in self.info.capabilities})
        return capability in known[1]


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
class InverseOfferRecord:
    """An inverse offer that is out."""

    offer: InverseOffer
    agent_id: str
    created: float

    @property
    def id(self) -> str:
        """Identifier of the inverse offer."""
        return self.offer.id.value

    @property
    def framework_id(self) -> str:
        """Whom it was made to."""
        return self.offer.framework_id.value


@dataclass(slots=True)
class Drain:
    """How far an agent's drain is."""

    config: DrainConfig
    drained: bool = False


@dataclass(slots=True)
class InverseAnswers:
    """What frameworks said about the coming maintenance of one agent.

    Attributes:
        statuses: ACCEPT or DECLINE, and when, by framework id.
        filters: until when no inverse offer is wanted, by framework id.
    """

    statuses: dict[str, tuple[str, float]] = field(default_factory=dict)
    filters: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class OperationRecord:
    """An operation with an id whose end is not acknowledged.

    Attributes:
        uuid: the master's own name of it.
        info: as it was asked for.
        status: that the framework was told last; pending while the agent has not got it.
        pause, next_time: seconds between the last two times that it was told, and when it is
            told again.
    """

    uuid: str
    framework_id: str
    agent_id: str
    info: Operation
    status: OperationStatus
    pause: float = 0.0
    next_time: float | None = None


@dataclass(slots=True)
class MasterState:
    """Everything that the master decides upon.

    Attributes:
        recovered: agents of the registry that have not come back since this master was elected.
        unreachable: time of loss by agent id.
        gone: time by agent id; these may never come back.
        tasks: those that live and those whose end is not acknowledged.
        executors: of task groups; what they hold is in `tasks.used`, too.
        machines: those that have an agent or were ever scheduled for maintenance.
        inverse_answers: by agent id.
        drains: by agent id; of agents marked gone, too, as long as this master lives.
        deactivated: ids of agents.
        next_framework, next_agent, next_offer, next_uuid: numbers of the next identifiers.
        weights, quotas: by role, as set by flag or operator.
        capacity: sums over the agents; only its `follow` brings it up to date.
        turns: how often a framework was offered something, by role and framework id, and a role,
            by role and an empty text; this decides between equal shares.
    """

    info: MasterInfo
    start_time: float
    elected_time: float | None = None
    agents: AgentTable = field(default_factory=AgentTable)
    recovered: dict[str, AgentInfo] = field(default_factory=dict)
    unreachable: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    frameworks: dict[str, FrameworkRecord] = field(default_factory=dict)
    completed: dict[str, FrameworkRecord] = field(default_factory=dict)
    tasks: TaskTable = field(default_factory=TaskTable)
    offers: OfferTable = field(default_factory=OfferTable)
    executors: ExecutorTable = field(init=False)
    machines: dict[MachineKey, Machine] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    inverse_offers: dict[str, InverseOfferRecord] = field(default_factory=dict)
    inverse_answers: dict[str, InverseAnswers] = field(default_factory=dict)
    drains: dict[str, Drain] = field(default_factory=dict)
    deactivated: set[str] = field(default_factory=set)
    operations: dict[str, OperationRecord] = field(default_factory=dict)
    next_framework: int = 0
    next_agent: int = 0
    next_offer: int = 0
    next_uuid: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    quotas: dict[str, Quota] = field(default_factory=dict)
    capacity: Capacity = field(default_factory=Capacity)
    turns: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.executors = ExecutorTable(self.tasks.used)

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
        """Tasks of a framework, of an agent, or of both; the table may change meanwhile."""
        if agent_id is not None:
            found = list(self.tasks.by_agent.get(agent_id).values())
        elif framework_id is not None:
            found = list(self.tasks.by_framework.get(framework_id).values())
        else:
            found = list(self.tasks.values())
        return (task for task in found if framework_id in (None, task.framework_id.value))

    def executors_of(
        self, *, framework_id: str | None = None, agent_id: str | None = None
    ) -> Iterator[tuple[ExecutorKey, ExecutorInfo]]:
        """Executors of task groups with their keys; the table may change meanwhile."""
        if agent_id is not None:
            found = list(self.executors.by_agent.get(agent_id).items())
        elif framework_id is not None:
            found = list(self.executors.by_framework.get(framework_id).items())
        else:
            found = list(self.executors.items())
        return (entry for entry in found if framework_id in (None, entry[0].framework_id))

    def offers_of(
        self, *, framework_id: str | None = None, agent_id: str | None = None
    ) -> Iterator[OfferRecord]:
        """Offers to a framework, of an agent, or both; the table may change meanwhile."""
        if agent_id is not None:
            found = list(self.offers.by_agent.get(agent_id).values())
        elif framework_id is not None:
            found = list(self.offers.by_framework.get(framework_id).values())
        else:
            found = list(self.offers.values())
        return (offer for offer in found if framework_id in (None, offer.framework_id))

    def used(self, *, framework_id: str | None = None, agent_id: str | None = None) -> Resources:
        """Resources of tasks and executors that run, marked with their roles."""
        if framework_id is not None and agent_id is not None:
            running = self.tasks_of(framework_id=framework_id, agent_id=agent_id)
            lists = [task.resources for task in running if task.state not in TERMINAL_STATES]
            executors = self.executors_of(framework_id=framework_id, agent_id=agent_id)
            lists += [executor.resources for _, executor in executors]
            return Resources(itertools.chain.from_iterable(lists))
        return _held(self.tasks.used, framework_id, agent_id)

    def offered(self, *, framework_id: str | None = None, agent_id: str | None = None) -> Resources:
        """Resources in offers."""
        if framework_id is not None and agent_id is not None:
            found = self.offers_of(framework_id=framework_id, agent_id=agent_id)
            return Resources(itertools.chain.from_iterable(offer.resources for offer in found))
        return _held(self.offers.offered, framework_id, agent_id)

    def free(self, agent: AgentRecord) -> Resources:
        """Resources of an agent that are neither used nor offered."""
        return agent.free(self.used(agent_id=agent.id), self.offered(agent_id=agent.id))


def _held(ledger: Ledger, framework_id: str | None, agent_id: str | None) -> Resources:
    if agent_id is not None:
        return ledger.agent(agent_id).resources
    if framework_id is not None:
        return ledger.framework(framework_id).resources
    return ledger.total.resources
