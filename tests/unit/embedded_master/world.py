"""A master's state with frameworks and agents in it, without a network."""

from __future__ import annotations

import random
from typing import Any

from kubedcos.embedded.master import agents, frameworks
from kubedcos.embedded.master.accept import accept
from kubedcos.embedded.master.allocator import AllocationRules, allocate
from kubedcos.embedded.master.effects import Allocate, Effects, ToAgent, ToFramework, ToStream
from kubedcos.embedded.master.options import min_allocatable
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState, OfferRecord
from kubedcos.embedded.protocol import AgentReply, MasterCall, Register, Reregister, StatusUpdate
from kubedcos.mesos.messages import (
    AgentID,
    AgentInfo,
    AllocationInfo,
    CallAccept,
    CallSubscribe,
    CommandInfo,
    DomainInfo,
    Event,
    FaultDomain,
    Filters,
    FrameworkCapability,
    FrameworkID,
    FrameworkInfo,
    MasterInfo,
    OfferID,
    Operation,
    OperationLaunch,
    RegionInfo,
    Resource,
    Scalar,
    TaskID,
    TaskInfo,
    TaskStatus,
    ZoneInfo,
)
from kubedcos.mesos.resource_text import parse_resources

from .scan import assert_consistent

MODERN = ("MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT", "REGION_AWARE")
OLD = ("MULTI_ROLE", "RESERVATION_REFINEMENT")


def domain(region: str) -> DomainInfo:
    return DomainInfo(FaultDomain(RegionInfo(region), ZoneInfo(f"{region}-1")))


def scalar(name: str, value: float, **more: Any) -> Resource:
    return Resource(
        name=name,
        type="SCALAR",
        scalar=Scalar(value),
        allocation_info=AllocationInfo("lab"),
        **more,
    )


def task(offer: OfferRecord, name: str, **changes: Any) -> TaskInfo:
    parts: dict[str, Any] = {
        "name": name,
        "task_id": TaskID(name),
        "agent_id": AgentID(offer.agent_id),
        "resources": (scalar("cpus", 1), scalar("mem", 32)),
        "command": CommandInfo(value="true"),
    }
    return TaskInfo(**(parts | changes))


class World:
    """State, time, and what was sent to whom."""

    def __init__(self, *, region: str | None = "dc-a") -> None:
        info = MasterInfo(id="m", ip=0, domain=domain(region) if region else None)
        self.state = MasterState(info=info, start_time=0.0, elected_time=0.0)
        self.now = 1000.0
        self.rules = frameworks.FrameworkRules()
        self.agent_rules = agents.AgentRules(15.0, 5, require_domain=False)
        self.allocation = AllocationRules(min_allocatable("cpus:0.01|mem:32"))
        self.events: list[tuple[str, Event]] = []
        self.calls: list[tuple[str, MasterCall]] = []
        self._streams = 0
        self._sessions = 0

    def perform(self, effects: Effects) -> None:
        for effect in effects:
            if isinstance(effect, ToFramework):
                self.events.append((effect.framework_id, effect.event))
            elif isinstance(effect, ToStream):
                self.events.append((effect.stream_id, effect.event))
            elif isinstance(effect, ToAgent):
                self.calls.append((effect.agent_id, effect.call))
        if any(isinstance(effect, Allocate) for effect in effects):
            self.allocate()
        assert_consistent(self.state)

    def allocate(self) -> None:
        shuffle = random.Random(1)
        self.perform(allocate(self.state, self.allocation, now=self.now, shuffle=shuffle))

    def agent(
        self,
        resources: str = "cpus:4;mem:4096;disk:4096;ports:[31000-31999]",
        *,
        region: str | None = "dc-a",
        port: int | None = None,
    ) -> AgentRecord:
        info = AgentInfo(
            hostname="h",
            port=port or 5051 + self.state.next_agent,
            resources=tuple(parse_resources(resources)),
            domain=domain(region) if region else None,
        )
        call = Register(agent_info=info, address="10.0.0.1", version="1")
        reply, effects = agents.register(
            self.state, self.agent_rules, self.rules, call, session=self._session(), now=self.now
        )
        self.perform(effects)
        assert reply.agent_id is not None
        return self.state.agents[reply.agent_id.value]

    def back(self, agent: AgentRecord, *task_ids: str, **changes: Any) -> AgentReply:
        """The agent re-registers with these of its tasks."""
        held = [t for t in self._known(agent) if t.task_id.value in task_ids]
        parts: dict[str, Any] = {
            "agent_info": agent.info,
            "address": agent.address,
            "version": "1",
            "tasks": tuple(held),
        }
        call = Reregister(**(parts | changes))
        reply, effects = agents.reregister(
            self.state, self.agent_rules, self.rules, call, session=self._session(), now=self.now
        )
        self.perform(effects)
        return reply

    def _session(self) -> str:
        self._sessions += 1
        return f"session-{self._sessions}"

    def _known(self, agent: AgentRecord) -> list[Any]:
        lost = [t for f in self.state.frameworks.values() for t in f.unreachable_tasks.values()]
        return [*self.state.tasks_of(agent_id=agent.id), *lost]

    def framework(
        self, *roles: str, capabilities: tuple[str, ...] = MODERN, **changes: Any
    ) -> FrameworkRecord:
        suppressed = changes.pop("suppressed", ())
        parts: dict[str, Any] = {
            "user": "root",
            "name": "f",
            "roles": roles or ("lab",),
            "checkpoint": True,
            "failover_timeout": 600.0,
            "capabilities": tuple(map(FrameworkCapability, capabilities)),
        }
        info = FrameworkInfo(**(parts | changes))
        self._streams += 1
        stream_id = f"stream-{self._streams}"
        effects = frameworks.subscribe(
            self.state,
            self.rules,
            CallSubscribe(info, suppressed_roles=suppressed),
            stream_id=stream_id,
            principal=None,
            now=self.now,
        )
        self.perform(effects)
        found = [f for f in self.state.frameworks.values() if f.stream_id == stream_id]
        assert found, self.events[-1]
        return found[0]

    def offers(self, framework: FrameworkRecord) -> list[OfferRecord]:
        return list(self.state.offers_of(framework_id=framework.id))

    def accept(
        self,
        framework: FrameworkRecord,
        offers: list[OfferRecord],
        *operations: Operation,
        refuse: float = 0.0,
    ) -> None:
        call = CallAccept(
            offer_ids=tuple(OfferID(offer.id) for offer in offers),
            operations=operations,
            filters=Filters(refuse),
        )
        self.perform(accept(self.state, framework, call, now=self.now, allocation_interval=1.0))

    def launch(self, framework: FrameworkRecord, *names: str) -> OfferRecord:
        """Tasks on the first offer, up to TASK_RUNNING."""
        offer = self.offers(framework)[0]
        infos = tuple(task(offer, name) for name in names)
        self.accept(framework, [offer], Operation("LAUNCH", launch=OperationLaunch(infos)))
        for name in names:
            self.update(framework, name, "TASK_RUNNING")
        return offer

    def update(self, framework: FrameworkRecord, name: str, state: str) -> TaskStatus:
        status = TaskStatus(
            task_id=TaskID(name), state=state, uuid=f"{name}-{state}", timestamp=self.now
        )
        call = StatusUpdate(FrameworkID(framework.id), status, state)
        self.perform(agents.status_update(self.state, call))
        return status

    def told(self, framework: FrameworkRecord, kind: str) -> list[Any]:
        """Bodies of the events of a type that the framework was sent."""
        return [
            getattr(event, kind.lower())
            for receiver, event in self.events
            if receiver in {framework.id, framework.stream_id} and event.type == kind
        ]

    def statuses(self, framework: FrameworkRecord, name: str) -> list[TaskStatus]:
        told = (update.status for update in self.told(framework, "UPDATE"))
        return [status for status in told if status.task_id.value == name]
