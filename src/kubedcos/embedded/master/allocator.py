"""Who is offered what: dominant resource fairness over roles, then over frameworks of a role."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.offers import is_filtered, make_offer, offers_event
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState, OfferRecord
from kubedcos.mesos.messages import TERMINAL_STATES, Resource
from kubedcos.mesos.resources import Resources, reservation_role, thousandths

Quantities = Mapping[str, int]
"""Thousandths by resource name."""


@dataclass(frozen=True, slots=True)
class AllocationRules:
    """What the flags say about allocation."""

    min_allocatable: tuple[Quantities, ...]
    filter_gpu_resources: bool = True
    excluded: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Shares:
    """Allocated amounts by role and by framework within a role, against the whole cluster."""

    total: dict[str, int]
    excluded: frozenset[str]
    amounts: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, role: str, framework_id: str, resources: Resources) -> None:
        for key in ((role, ""), (role, framework_id)):
            amounts = self.amounts.setdefault(key, {})
            for name in resources.names():
                amounts[name] = amounts.get(name, 0) + resources.thousandths(name)
            self.counts[key] = self.counts.get(key, 0) + 1

    def order(self, role: str, framework_id: str = "") -> tuple[float, int]:
        """Sort key: dominant share, then number of allocations."""
        amounts = self.amounts.get((role, framework_id), {})
        shares = (
            amount / self.total[name]
            for name, amount in amounts.items()
            if self.total.get(name) and name not in self.excluded
        )
        return (max(shares, default=0.0), self.counts.get((role, framework_id), 0))


def allocate(
    state: MasterState, rules: AllocationRules, *, now: float, shuffle: random.Random
) -> Effects:
    """Offer everything that is free and wanted; one offer per agent and role."""
    wanting = {
        framework.id: [role for role in framework.roles if role not in framework.suppressed]
        for framework in state.frameworks.values()
        if framework.connected
    }
    roles = sorted({role for listed in wanting.values() for role in listed})
    agents = [agent for agent in state.agents.values() if agent.connected]
    if not roles or not agents:
        return []
    shuffle.shuffle(agents)
    shares = _shares(state, rules)
    made: dict[str, list[OfferRecord]] = {}
    for agent in agents:
        free = state.free(agent)
        for role in sorted(roles, key=lambda role: (*shares.order(role), role)):
            candidates = [
                state.frameworks[framework_id]
                for framework_id, listed in wanting.items()
                if role in listed
            ]
            candidates.sort(key=lambda f, role=role: (*shares.order(role, f.id), f.id))  # type: ignore[misc]
            for framework in candidates:
                resources = _wanted(state, rules, framework, agent, role, free, now)
                if resources is None:
                    continue
                made.setdefault(framework.id, []).append(
                    make_offer(state, framework, agent, role, resources, now)
                )
                shares.add(role, framework.id, resources)
                free -= resources
    return [offers_event(framework_id, offers) for framework_id, offers in made.items()]


def _shares(state: MasterState, rules: AllocationRules) -> _Shares:
    total: dict[str, int] = {}
    for agent in state.agents.values():
        for name in agent.total.names():
            total[name] = total.get(name, 0) + agent.total.thousandths(name)
    shares = _Shares(total, rules.excluded)
    for offer in state.offers.values():
        shares.add(offer.role, offer.framework_id, offer.resources)
    for task in state.tasks.values():
        if task.state not in TERMINAL_STATES and task.resources:
            allocation = task.resources[0].allocation_info
            role = (allocation.role if allocation else None) or "*"
            shares.add(role, task.framework_id.value, Resources(task.resources))
    return shares


def _wanted(
    state: MasterState,
    rules: AllocationRules,
    framework: FrameworkRecord,
    agent: AgentRecord,
    role: str,
    free: Resources,
    now: float,
) -> Resources | None:
    """What of `free` to offer to the framework for the role, if anything."""
    if not _may_use(state, rules, framework, agent):
        return None
    refined = framework.can("RESERVATION_REFINEMENT")
    resources = free.where(lambda resource: _for_role(resource, role, refined=refined))
    if not _enough(resources, _least(framework, role, rules)):
        return None
    if is_filtered(framework, role, agent.id, resources, now):
        return None
    return resources


def _may_use(
    state: MasterState, rules: AllocationRules, framework: FrameworkRecord, agent: AgentRecord
) -> bool:
    local = agent.region is None or agent.region == state.region
    if not local and not framework.can("REGION_AWARE"):
        return False
    scarce = rules.filter_gpu_resources and agent.total.thousandths("gpus") > 0
    return not scarce or framework.can("GPU_RESOURCES")


def _for_role(resource: Resource, role: str, *, refined: bool) -> bool:
    """Unreserved, or reserved for the role or one above it."""
    if len(resource.reservations) > 1 and not refined:
        return False
    reserved_for = reservation_role(resource)
    return reserved_for in {"*", role} or role.startswith(reserved_for + "/")


def _least(framework: FrameworkRecord, role: str, rules: AllocationRules) -> Sequence[Quantities]:
    """Alternatives of which an offer must reach one: the framework's own, or the master's."""
    own = (framework.info.offer_filters or {}).get(role)
    if own is None or own.min_allocatable_resources is None:
        return rules.min_allocatable
    return [
        {name: thousandths(scalar.value) for name, scalar in (part.quantities or {}).items()}
        for part in own.min_allocatable_resources.quantities
    ]


def _enough(resources: Resources, least: Sequence[Quantities]) -> bool:
    if not len(resources):
        return False
    return not least or any(
        all(_quantity(resources, name) >= amount for name, amount in alternative.items())
        for alternative in least
    )


def _quantity(resources: Resources, name: str) -> int:
    counted = sum(high - low + 1 for low, high in resources.spans(name)) * 1000
    return resources.thousandths(name) + counted
