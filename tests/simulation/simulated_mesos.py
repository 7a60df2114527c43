"""A Mesos small enough to read: one framework, honest arithmetic, virtual time.

It stands behind the client's interface (`Connector`, `Connection`) and holds the rules that a
scheduler can get wrong: offers are consumed, tasks may not exceed them, updates come until they
are acknowledged, nothing is said twice about a dropped task, reservations outlive everything.
Rules broken by the scheduler are collected in `violations`.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec.structs import replace

from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import CallRefused, SubscriptionEnded, SubscriptionLost
from kubedcos.mesos.resources import Resources

_T = TypeVar("_T")
LIVE = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"})


def scalar(name: str, value: float) -> wire.Resource:
    return wire.Resource(name=name, type="SCALAR", scalar=wire.Scalar(value))


def ports(low: int, high: int) -> wire.Resource:
    ranges = wire.Ranges((wire.Range(low, high),))
    return wire.Resource(name="ports", type="RANGES", ranges=ranges)


@dataclass
class SimulatedAgent:
    hostname: str
    region: str
    zone: str
    cpus: float = 4.0
    mem: float = 8192.0
    disk: float = 20480.0
    reachable: bool = True
    id: str = ""
    total: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        self.id = self.id or f"S-{self.hostname}"
        self.total = Resources(
            (
                scalar("cpus", self.cpus),
                scalar("mem", self.mem),
                scalar("disk", self.disk),
                ports(1025, 29999),
            )
        )


@dataclass
class SimulatedTask:
    info: wire.TaskInfo
    agent: SimulatedAgent
    launched_at: float
    state: str = "TASK_STAGING"
    unsent: list[wire.TaskStatus] = field(default_factory=list)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    resend: asyncio.TimerHandle | None = None

    @property
    def live(self) -> bool:
        return self.state in LIVE


@dataclass
class Behaviour:
    """How tasks of a name behave; times in seconds after the launch."""

    starts_after: float = 0.2
    runs_after: float = 0.5
    ends_after: float | None = None
    ends_as: str = "TASK_FINISHED"


class SimulatedMesos:
    def __init__(self, agents: Iterable[SimulatedAgent], local_region: str = "dc-a") -> None:
        self.agents = {agent.id: agent for agent in agents}
        self.local_region = local_region
        self.behaviours: dict[str, Behaviour] = {}
        self.tasks: dict[str, SimulatedTask] = {}
        self.launches: list[tuple[float, str, str]] = []
        self.calls: list[wire.Call] = []
        self.violations: list[str] = []
        self.removed = False
        self.duplicate_updates = False
        self.lose_update: Callable[[wire.TaskStatus], bool] = lambda _: False
        self.connection: SimulatedConnection | None = None
        self._offers: dict[str, tuple[SimulatedAgent, Resources]] = {}
        self._refused: dict[str, tuple[float, Resources]] = {}
        self._suppressed = False
        self._role = ""
        self._numbers = iter(range(1, 1_000_000))
        self._allocator: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def live(self) -> dict[str, SimulatedTask]:
        """Live tasks by name; two of one name are a violation noted at launch."""
        return {task.info.name: task for task in self.tasks.values() if task.live}

    def reserved(self) -> list[wire.Resource]:
        return [part for agent in self.agents.values() for part in agent.total.reserved()]

    async def connect(self, subscribe: wire.CallSubscribe) -> SimulatedConnection:
        await asyncio.sleep(0.01)
        if self.removed and subscribe.framework_info.id is not None:
            raise SubscriptionEnded("Framework has been removed")
        if self.connection is not None:
            self.connection.end(SubscriptionEnded("Framework failed over"))
        self._offers.clear()
        self._refused.clear()
        self._suppressed = False
        self._role = subscribe.framework_info.roles[0]
        master = wire.MasterInfo(id="m", ip=0, hostname="m1", domain=domain(self.local_region, "z"))
        framework_id = subscribe.framework_info.id or wire.FrameworkID("F-0001")
        if subscribe.framework_info.id is None and self.live:
            self.violations.append("subscribed as a new framework, leaving its tasks behind")
        subscribed = wire.Subscribed(framework_id, 15.0, master)
        self.connection = SimulatedConnection(self, subscribed)
        for task in self.tasks.values():
            self._send_first(task)
        if self._allocator is None or self._allocator.done():
            self._allocator = asyncio.create_task(self._allocate_for_ever())
        self.allocate()
        return self.connection

    async def stop(self) -> None:
        if self._allocator is not None:
            self._allocator.cancel()
            await asyncio.gather(self._allocator, return_exceptions=True)
        for task in self.tasks.values():
            for timer in (*task.timers, *((task.resend,) if task.resend else ())):
                timer.cancel()

    def disconnect(self) -> None:
        """The scheduler is gone, or the connection to it."""
        if self.connection is not None:
            self.connection.end(SubscriptionLost("connection reset"))
            self.connection = None
        self._offers.clear()

    def allocate(self) -> None:
        if self.connection is None or self._suppressed:
            return
        offers = []
        for agent in self.agents.values():
            free = self._free(agent)
            until, refused = self._refused.get(agent.id, (0.0, Resources()))
            if (
                not agent.reachable
                or not free.names()
                or (self.now < until and refused.contains(free))
            ):
                continue
            offer_id = f"O{next(self._numbers)}"
            self._offers[offer_id] = (agent, free)
            offers.append(self._offer(offer_id, agent, free))
        if offers:
            self._event(wire.Event(type="OFFERS", offers=wire.Offers(tuple(offers))))

    def remove_framework(self) -> None:
        """An operator tears the framework down, or its failover timeout passes."""
        self.removed = True
        for task in self.live.values():
            task.state = "TASK_KILLED"
        self.disconnect()

    def fail(self, name: str, state: str = "TASK_FAILED", *, healthy: bool | None = None) -> None:
        """A task ends by itself."""
        task = self.live[name]
        self._set(task, state, message=f"{name} ended", healthy=healthy)

    def lose_agent(self, hostname: str) -> None:
        """The agent is out of reach; its tasks may run on."""
        agent = self.agents[f"S-{hostname}"]
        agent.reachable = False
        for id_ in [id_ for id_, (of, _) in self._offers.items() if of is agent]:
            del self._offers[id_]
            rescind = wire.Rescind(wire.OfferID(id_))
            self._event(wire.Event(type="RESCIND", rescind=rescind))
        failure = wire.Failure(agent_id=wire.AgentID(agent.id))
        self._event(wire.Event(type="FAILURE", failure=failure))
        for task in self.tasks.values():
            if task.agent is agent and task.live:
                self._tell(task, "TASK_UNREACHABLE", "REASON_AGENT_REMOVED")

    def return_agent(self, hostname: str) -> None:
        agent = self.agents[f"S-{hostname}"]
        agent.reachable = True
        for task in self.tasks.values():
            if task.agent is agent and task.live:
                self._set(task, task.state)
        self.allocate()

    def take(self, call: wire.Call) -> None:
        self.calls.append(call)
        match call.type:
            case "ACCEPT":
                self._accept(_given(call.accept))
            case "DECLINE":
                body = _given(call.decline)
                for offer_id in body.offer_ids:
                    self._return(offer_id.value, body.filters)
            case "REVIVE":
                self._suppressed = False
                self._refused.clear()
                self.allocate()
            case "SUPPRESS":
                self._suppressed = True
            case "KILL":
                self._kill(_given(call.kill))
            case "ACKNOWLEDGE":
                self._acknowledge(_given(call.acknowledge))
            case "RECONCILE":
                self._reconcile(_given(call.reconcile))
            case "TEARDOWN":
                self._teardown()
            case other:
                raise CallRefused(f"{other}: not simulated")

    async def _allocate_for_ever(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.allocate()

    def _free(self, agent: SimulatedAgent) -> Resources:
        free = agent.total
        for task in self.tasks.values():
            if task.agent is agent and task.live:
                free = free - Resources(task.info.resources).unallocated()
        for of, resources in self._offers.values():
            if of is agent:
                free = free - resources
        return free

    def _offer(self, offer_id: str, agent: SimulatedAgent, free: Resources) -> wire.Offer:
        return wire.Offer(
            id=wire.OfferID(offer_id),
            framework_id=wire.FrameworkID("F-0001"),
            agent_id=wire.AgentID(agent.id),
            hostname=agent.hostname,
            url=wire.URL("http", wire.Address(5051, agent.hostname, "10.0.0.1")),
            domain=domain(agent.region, agent.zone),
            resources=tuple(free.allocated(self._role)),
            allocation_info=wire.AllocationInfo(self._role),
        )

    def _return(self, offer_id: str, filters: wire.Filters | None) -> None:
        found = self._offers.pop(offer_id, None)
        if found is None:
            return
        seconds = filters.refuse_seconds if filters else 5.0
        if seconds > 0:
            self._refused[found[0].id] = (self.now + seconds, found[1])

    def _accept(self, body: wire.CallAccept) -> None:
        found = [self._offers.pop(offer_id.value, None) for offer_id in body.offer_ids]
        if any(offer is None for offer in found) or not found:
            for info in _launched(body):
                self._never(info, "TASK_DROPPED", "REASON_INVALID_OFFERS")
            return
        pool = Resources()
        for _, resources in [offer for offer in found if offer is not None]:
            pool = pool + resources
        agent = _given(found[0])[0]
        for operation in body.operations:
            pool = self._operate(agent, operation, pool)
        if body.filters is not None and body.filters.refuse_seconds > 0:
            self._refused[agent.id] = (self.now + body.filters.refuse_seconds, pool)

    def _operate(
        self, agent: SimulatedAgent, operation: wire.Operation, pool: Resources
    ) -> Resources:
        match operation.type:
            case "RESERVE":
                parts = Resources(_given(operation.reserve).resources).unallocated()
                return self._convert(agent, pool, parts.mapped(_unreserved), parts)
            case "UNRESERVE":
                parts = Resources(_given(operation.unreserve).resources).unallocated()
                return self._convert(agent, pool, parts, parts.mapped(_unreserved))
            case "CREATE":
                parts = Resources(_given(operation.create).volumes).unallocated()
                return self._convert(agent, pool, parts.mapped(_bare), parts)
            case "DESTROY":
                parts = Resources(_given(operation.destroy).volumes).unallocated()
                return self._convert(agent, pool, parts, parts.mapped(_bare))
            case "LAUNCH":
                for info in _given(operation.launch).task_infos:
                    pool = self._launch(agent, info, pool)
                return pool
        self.violations.append(f"operation {operation.type}")
        return pool

    def _convert(
        self, agent: SimulatedAgent, pool: Resources, old: Resources, new: Resources
    ) -> Resources:
        if not pool.contains(old):
            self.violations.append(f"{old} is not in {pool}")
            return pool
        agent.total = agent.total - old + new
        return pool - old + new

    def _launch(self, agent: SimulatedAgent, info: wire.TaskInfo, pool: Resources) -> Resources:
        needs = Resources(info.resources).unallocated()
        if not pool.contains(needs):
            self.violations.append(f"{info.name} needs {needs}; offered {pool}")
            self._never(info, "TASK_ERROR", "REASON_TASK_INVALID")
            return pool
        if info.name in self.live:
            self.violations.append(f"{info.name} is launched while another runs")
        if info.task_id.value in self.tasks:
            self.violations.append(f"{info.task_id} is used again")
        task = SimulatedTask(info, agent, self.now)
        self.tasks[info.task_id.value] = task
        self.launches.append((self.now, info.name, agent.hostname))
        how = self.behaviours.get(info.name, Behaviour())
        self._later(task, how.starts_after, "TASK_STARTING")
        self._later(task, how.runs_after, "TASK_RUNNING")
        if how.ends_after is not None:
            self._later(task, how.ends_after, how.ends_as)
        return pool - needs

    def _later(self, task: SimulatedTask, seconds: float, state: str) -> None:
        loop = asyncio.get_running_loop()
        task.timers.append(loop.call_later(seconds, self._set_if_live, task, state))

    def _set_if_live(self, task: SimulatedTask, state: str) -> None:
        if task.live and (task.state != "TASK_KILLING" or state == "TASK_KILLED"):
            self._set(task, state)

    def _set(
        self, task: SimulatedTask, state: str, message: str = "", healthy: bool | None = None
    ) -> None:
        task.state = state
        if not task.live:
            for timer in task.timers:
                timer.cancel()
        uuid = base64.b64encode(f"uuid-{next(self._numbers):010}".encode()).decode()
        status = wire.TaskStatus(
            task_id=task.info.task_id,
            state=state,
            message=message or None,
            source="SOURCE_EXECUTOR",
            agent_id=task.info.agent_id,
            timestamp=self.now,
            uuid=uuid,
            healthy=healthy,
        )
        task.unsent.append(status)
        if len(task.unsent) == 1:
            self._send_first(task)

    def _send_first(self, task: SimulatedTask) -> None:
        """Send the oldest update that is not acknowledged, and again until it is."""
        if not task.unsent or not task.agent.reachable:
            return
        status = task.unsent[0]
        if not self.lose_update(status):
            self._event(wire.Event(type="UPDATE", update=wire.Update(status)))
            if self.duplicate_updates:
                self._event(wire.Event(type="UPDATE", update=wire.Update(status)))

        def again() -> None:
            if task.unsent and task.unsent[0] is status:
                self._send_first(task)

        if task.resend is not None:
            task.resend.cancel()
        task.resend = asyncio.get_running_loop().call_later(10.0, again)

    def _acknowledge(self, body: wire.CallAcknowledge) -> None:
        task = self.tasks.get(body.task_id.value)
        if task is None or not task.unsent or task.unsent[0].uuid != body.uuid:
            return
        task.unsent.pop(0)
        self._send_first(task)

    def _kill(self, body: wire.CallKill) -> None:
        task = self.tasks.get(body.task_id.value)
        if task is None or not task.live:
            self._answer(body.task_id, body.agent_id, "TASK_GONE")
        elif task.state != "TASK_KILLING" and task.agent.reachable:
            self._set(task, "TASK_KILLING")
            self._later(task, 0.5, "TASK_KILLED")

    def _reconcile(self, body: wire.CallReconcile) -> None:
        if not body.tasks:
            for task in self.tasks.values():
                if task.live or task.unsent:
                    self._tell(task, _forwarded(task), "REASON_RECONCILIATION")
        for asked in body.tasks:
            task_or_none = self.tasks.get(asked.task_id.value)
            if task_or_none is None or not (task_or_none.live or task_or_none.unsent):
                self._answer(asked.task_id, asked.agent_id, "TASK_GONE")
            else:
                self._tell(task_or_none, _forwarded(task_or_none), "REASON_RECONCILIATION")

    def _tell(self, task: SimulatedTask, state: str, reason: str) -> None:
        shown = state if task.agent.reachable else "TASK_UNREACHABLE"
        status = wire.TaskStatus(
            task_id=task.info.task_id,
            state=shown,
            source="SOURCE_MASTER",
            reason=reason,
            agent_id=task.info.agent_id,
        )
        self._event(wire.Event(type="UPDATE", update=wire.Update(status)))

    def _answer(self, task_id: wire.TaskID, agent_id: wire.AgentID | None, state: str) -> None:
        known = agent_id is not None and agent_id.value in self.agents
        status = wire.TaskStatus(
            task_id=task_id,
            state=state if known else "TASK_UNKNOWN",
            source="SOURCE_MASTER",
            reason="REASON_RECONCILIATION",
            agent_id=agent_id,
        )
        self._event(wire.Event(type="UPDATE", update=wire.Update(status)))

    def _never(self, info: wire.TaskInfo, state: str, reason: str) -> None:
        status = wire.TaskStatus(
            task_id=info.task_id,
            state=state,
            source="SOURCE_MASTER",
            reason=reason,
            agent_id=info.agent_id,
        )
        self._event(wire.Event(type="UPDATE", update=wire.Update(status)))

    def _teardown(self) -> None:
        self.removed = True
        for task in self.tasks.values():
            if task.live:
                self.violations.append(f"{task.info.name} was left to TEARDOWN")
                task.state = "TASK_KILLED"
        if self.connection is not None:
            self.connection.end(SubscriptionLost("the master closed the stream"))
            self.connection = None

    def _event(self, event: wire.Event) -> None:
        if self.connection is not None:
            self.connection.queue.put_nowait(event)


class SimulatedConnection:
    def __init__(self, mesos: SimulatedMesos, subscribed: wire.Subscribed) -> None:
        self._mesos = mesos
        self.subscribed = subscribed
        self.queue: asyncio.Queue[wire.Event | Exception] = asyncio.Queue()
        self._ended = False

    async def next_event(self) -> wire.Event:
        item = await self.queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def call(self, call: wire.Call) -> None:
        await asyncio.sleep(0)
        if self._ended or self._mesos.connection is not self:
            raise SubscriptionLost(f"{call.type}: the stream id is another's")
        self._mesos.take(call)

    async def close(self) -> None:
        if self._mesos.connection is self:
            self._mesos.disconnect()

    def end(self, error: Exception) -> None:
        self._ended = True
        self.queue.put_nowait(error)


def domain(region: str, zone: str) -> wire.DomainInfo:
    return wire.DomainInfo(wire.FaultDomain(wire.RegionInfo(region), wire.ZoneInfo(zone)))


def _launched(body: wire.CallAccept) -> list[wire.TaskInfo]:
    launches = [operation.launch for operation in body.operations if operation.launch]
    return [info for launch in launches for info in launch.task_infos]


def _forwarded(task: SimulatedTask) -> str:
    """What a reconciliation tells: the state last forwarded, not the newest."""
    return task.unsent[0].state if task.unsent else task.state


def _unreserved(resource: wire.Resource) -> wire.Resource:
    return replace(resource, reservations=resource.reservations[:-1])


def _bare(resource: wire.Resource) -> wire.Resource:
    source = resource.disk.source if resource.disk else None
    return replace(resource, disk=wire.DiskInfo(source=source) if source else None)


def _given(value: _T | None) -> _T:
    assert value is not None
    return value
