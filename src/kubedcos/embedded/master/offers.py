"""Offers: how they are made and taken back, and the filters that declining leaves behind."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from kubedcos.embedded.master.effects import Effects, ToFramework
from kubedcos.embedded.master.machines import unavailability_at
from kubedcos.embedded.master.state import (
    AgentRecord,
    Filter,
    FrameworkRecord,
    MasterState,
    OfferRecord,
)
from kubedcos.mesos.messages import (
    URL,
    Address,
    AgentID,
    AllocationInfo,
    Event,
    ExecutorID,
    Filters,
    FrameworkID,
    Offer,
    OfferID,
    Offers,
    Rescind,
    Resource,
)
from kubedcos.mesos.resources import Resources, downgraded

DEFAULT_REFUSE: Final = 5.0
MAX_REFUSE: Final = 31536000.0


def make_offer(
    state: MasterState,
    framework: FrameworkRecord,
    agent: AgentRecord,
    role: str,
    resources: Resources,
    now: float,
) -> OfferRecord:
    """A new offer, entered into the state; `resources` carry no mark of allocation."""
    number, state.next_offer = state.next_offer, state.next_offer + 1
    allocated = resources.allocated(role)
    offer = Offer(
        id=OfferID(f"{state.info.id}-O{number}"),
        framework_id=FrameworkID(framework.id),
        agent_id=AgentID(agent.id),
        hostname=agent.info.hostname,
        url=agent_url(agent),
        domain=agent.info.domain,
        resources=tuple(for_framework(framework, allocated)),
        attributes=agent.info.attributes,
        executor_ids=tuple(
            ExecutorID(key.executor_id)
            for key, _ in state.executors_of(framework_id=framework.id, agent_id=agent.id)
        ),
        unavailability=unavailability_at(state.machines, agent.info.hostname, agent.address),
        allocation_info=AllocationInfo(role) if framework.can("MULTI_ROLE") else None,
    )
    record = OfferRecord(offer=offer, role=role, resources=allocated, created=now)
    state.offers[record.id] = record
    return record


def agent_url(agent: AgentRecord) -> URL:
    """Where frameworks reach an agent."""
    return URL(
        scheme="http",  # also of agents that speak TLS alone, as Mesos has it
        address=Address(hostname=agent.info.hostname, ip=agent.address, port=agent.info.port),
        path="/slave(1)",
    )


def for_framework(framework: FrameworkRecord, resources: Iterable[Resource]) -> list[Resource]:
    """Resources in the form that the framework understands."""
    marked, old = framework.can("MULTI_ROLE"), not framework.can("RESERVATION_REFINEMENT")
    shown = []
    for resource in resources:
        adapted = resource if marked else replace(resource, allocation_info=None)
        shown.append(downgraded(adapted) if old else adapted)
    return shown


def offers_event(framework_id: str, offers: Iterable[OfferRecord]) -> ToFramework:
    """The event that brings new offers."""
    listed = tuple(record.offer for record in offers)
    return ToFramework(framework_id, Event(type="OFFERS", offers=Offers(listed)))


def rescind(state: MasterState, offers: Iterable[OfferRecord]) -> Effects:
    """Take offers back and say so."""
    effects: Effects = []
    for record in offers:
        if state.offers.pop(record.id, None) is not None:
            event = Event(type="RESCIND", rescind=Rescind(record.offer.id))
            effects.append(ToFramework(record.framework_id, event))
    return effects


def refuse_seconds(filters: Filters | None) -> float:
    """How long refused resources are not to be offered again, after Mesos' corrections."""
    seconds = filters.refuse_seconds if filters is not None else DEFAULT_REFUSE
    if seconds < 0 or math.isnan(seconds):
        return DEFAULT_REFUSE
    return min(seconds, MAX_REFUSE)


def refuse(
    framework: FrameworkRecord,
    offer: OfferRecord,
    unused: Resources,
    filters: Filters | None,
    *,
    now: float,
    allocation_interval: float,
) -> None:
    """Remember that the framework does not want `unused` of that agent for that role."""
    seconds = refuse_seconds(filters)
    if seconds == 0 or not len(unused):
        return
    expires = now + max(seconds, allocation_interval)
    key = (offer.role, offer.agent_id)
    framework.filters.setdefault(key, []).append(Filter(unused.unallocated(), expires))


def is_filtered(
    framework: FrameworkRecord, role: str, agent_id: str, resources: Resources, now: float
) -> bool:
    """Whether the framework refused as much or more of that agent; forgets what expired."""
    key = (role, agent_id)
    filters = framework.filters.get(key)
    if filters is None:
        return False
    if any(entry.expires <= now for entry in filters):
        filters = [entry for entry in filters if entry.expires > now]
        if not filters:
            del framework.filters[key]
            return False
        framework.filters[key] = filters
    return any(entry.covers(resources) for entry in filters)


def forget_agent(state: MasterState, agent_id: str) -> None:
    """Drop all filters on an agent that is no more, or that changed."""
    for framework in state.frameworks.values():
        for key in [key for key in framework.filters if key[1] == agent_id]:
            del framework.filters[key]
