"""Who is offered what: quota first, then dominant resource fairness over roles and frameworks.

The order of decisions is that of Mesos' hierarchical allocator. In the first stage agents go to
roles with guarantees that are not met yet; in the second everything else is shared out, as far as
limits allow and without what is still missing for guarantees (the headroom).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.offers import is_filtered, make_offer, offers_event
from kubedcos.embedded.master.quantities import (
    Quantities,
    add,
    left_of,
    minus,
    of_scalars,
    take,
)
from kubedcos.embedded.master.quota import NO_QUOTA
from kubedcos.embedded.master.role_use import holdings, lineage
from kubedcos.embedded.master.sorter import Sorter
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState, OfferRecord
from kubedcos.mesos.messages import Resource
from kubedcos.mesos.resources import Resources, reservation_role, shrunk
from kubedcos.mesos.values import SCALE


@dataclass(frozen=True, slots=True)
class AllocationRules:
    """What the flags say about allocation.

    Attributes:
        min_allocatable: alternatives of which an offer must reach one.
        excluded: resources that do not count for fairness.
        whitelist: host names of the agents that are offered; `None`: all.
    """

    min_allocatable: tuple[Quantities, ...]
    filter_gpu_resources: bool = True
    excluded: frozenset[str] = frozenset()
    whitelist: frozenset[str] | None = None


def allocate(
    state: MasterState,
    rules: AllocationRules,
    *,
    now: float,
    shuffle: random.Random,
    agent_ids: Collection[str] = (),
) -> Effects:
    """Offer everything that is free and wanted; one offer per framework, agent and role.

    Args:
        state: offers are entered into it.
        rules: from the flags.
        now: seconds since 1970.
        shuffle: decides the order of agents.
        agent_ids: whose resources are to be offered; none means all agents'.
    """
    asked = agent_ids or state.agents
    candidates = [
        agent
        for agent_id in asked
        if (agent := state.agents.get(agent_id)) is not None and _offerable(rules, agent)
    ]
    free = {agent.id: rest for agent in candidates if len(rest := state.free(agent))}
    agents = [agent for agent in candidates if agent.id in free]
    if not agents or not any(map(_wanted_roles, state.frameworks.values())):
        return []
    cycle = _Cycle(state, rules, free, now, shuffle)
    shuffle.shuffle(agents)
    if cycle.required:
        cycle.guarantee(agents)
        # Agents at the front gave the most in the first stage.
        shuffle.shuffle(agents)
    cycle.share(agents)
    return cycle.effects()


def _offerable(rules: AllocationRules, agent: AgentRecord) -> bool:
    listed = rules.whitelist is None or agent.info.hostname in rules.whitelist
    return listed and agent.active


def _wanted_roles(framework: FrameworkRecord) -> Sequence[str]:
    if not framework.connected:
        return ()
    return [role for role in framework.roles if role not in framework.suppressed]


@dataclass(slots=True)
class _Candidate:
    """A framework in a role, and what matters of it for every agent."""

    framework: FrameworkRecord
    role: str
    least: Sequence[Quantities]
    gpus: bool
    remote: bool
    refined: bool
    shared: bool


class _Cycle:
    """One allocation on its way; `free` shrinks with each offer.

    Attributes:
        required: what must stay free of reservations for guarantees that are not met.
        available: what is free and not reserved, in the whole cluster.
    """

    def __init__(
        self,
        state: MasterState,
        rules: AllocationRules,
        free: dict[str, Resources],
        now: float,
        shuffle: random.Random,
    ) -> None:
        self._state, self._rules, self._free = state, rules, free
        self._now, self._shuffle = now, shuffle
        state.capacity.follow(state.agents)
        self._roles = Sorter(state.capacity.total, state.weights, rules.excluded)
        self._frameworks: dict[str, Sorter] = {}
        self._candidates: dict[tuple[str, str], _Candidate] = {}
        self._made: dict[tuple[str, str, str], Resources] = {}
        self._plain = {agent_id for agent_id, rest in free.items() if not len(rest.reserved())}
        for framework in state.frameworks.values():
            for role in _wanted_roles(framework):
                self._enter(framework, role)
        self._hold()
        self._consumed = self._quota_use()
        self.required: dict[str, int] = {}
        for role, quota in state.quotas.items():
            add(self.required, minus(quota.guarantees, self._consumed[role]))
        self.available = self._headroom() if self.required else {}

    def _enter(self, framework: FrameworkRecord, role: str) -> None:
        self._candidates[role, framework.id] = _Candidate(
            framework,
            role,
            _least(framework, role, self._rules),
            gpus=framework.can("GPU_RESOURCES") or not self._rules.filter_gpu_resources,
            remote=framework.can("REGION_AWARE"),
            refined=framework.can("RESERVATION_REFINEMENT"),
            shared=framework.can("SHARED_RESOURCES"),
        )
        self._roles.activate(role)
        self._sorter(role).activate(framework.id)

    def _sorter(self, role: str) -> Sorter:
        sorter = self._frameworks.get(role)
        if sorter is None:
            sorter = Sorter(self._state.capacity.total, excluded=self._rules.excluded)
            self._frameworks[role] = sorter
        return sorter

    def _hold(self) -> None:
        """Tell the sorters what everybody has, and how often they had their turn."""
        self._held = list(holdings(self._state))
        for role, framework_id, held in self._held:
            amounts = held.quantities
            self._roles.hold(role, amounts)
            self._sorter(role).hold(framework_id, amounts)
        known = {(role, framework_id) for role, framework_id, _ in self._held}
        known |= {
            (role, each.id) for each in self._state.frameworks.values() for role in each.roles
        }
        known |= {(role, "") for role, _ in known}
        turns = self._state.turns
        for key in [key for key in turns if key not in known]:
            del turns[key]
        for (role, framework_id), count in turns.items():
            if framework_id:
                self._sorter(role).hold(framework_id, {}, count)
            else:
                self._roles.hold(role, {}, count)

    def _quota_use(self) -> dict[str, dict[str, int]]:
        """What counts against quota: reservations, and what is allocated without one."""
        consumed: dict[str, dict[str, int]] = {role: {} for role in self._state.quotas}
        if consumed:
            for role, reserved in self._state.capacity.reserved.items():
                for above in lineage(role):
                    add(consumed.get(above, {}), reserved)
            for role, _, held in self._held:
                for above in lineage(role):
                    if above in consumed:
                        add(consumed[above], held.resources.unreserved().quantities)
        return consumed

    def _headroom(self) -> dict[str, int]:
        available = dict(self._state.capacity.total)
        unallocated: dict[str, int] = {}
        for reserved in self._state.capacity.reserved.values():
            add(unallocated, reserved)
        for _, _, held in self._held:
            take(available, held.quantities)
            take(unallocated, held.resources.reserved().quantities)
        take(available, unallocated)
        return available

    def guarantee(self, agents: Sequence[AgentRecord]) -> None:
        """The first stage: roles whose guarantees are not met."""
        for agent in agents:
            for role in self._roles.order():
                quota = self._state.quotas.get(role, NO_QUOTA)
                if not quota.guarantees or not minus(quota.guarantees, self._consumed[role]):
                    continue
                if not len(self._free[agent.id]):
                    break
                self._guarantee_role(agent, role)

    def _guarantee_role(self, agent: AgentRecord, role: str) -> None:
        quota, consumed = self._state.quotas[role], self._consumed[role]
        for framework_id in self._frameworks[role].order():
            missing = minus(quota.guarantees, consumed)
            if not missing:
                break
            candidate = self._candidates[role, framework_id]
            available = self._usable(candidate, agent)
            if available is None:
                continue
            bounded = available.where(_counts_for_quota)
            promised = self._shrink(bounded, missing)
            if not len(promised):
                continue
            more = bounded - promised
            if quota.limits:
                limits = left_of(left_of(quota.limits, consumed), promised.quantities)
                more = self._shrink(more, limits, only_named=False)
            more = self._shrink(more, minus(self.available, self.required))
            always = available.where(lambda resource: not _counts_for_quota(resource))
            offered = always + promised + more
            if _enough(offered, candidate.least) and self._offer(candidate, agent, offered):
                add(consumed, (promised + more).quantities)
                take(self.required, promised.quantities)
                take(self.available, (promised + more).quantities)

    def share(self, agents: Sequence[AgentRecord]) -> None:
        """The second stage: everything else, by turns."""
        for agent in agents:
            for role in self._roles.order():
                if not len(self._free[agent.id]):
                    break
                for framework_id in self._frameworks[role].order():
                    self._share_with(self._candidates[role, framework_id], agent)

    def _share_with(self, candidate: _Candidate, agent: AgentRecord) -> None:
        available = self._usable(candidate, agent)
        if available is None:
            return
        quota = self._state.quotas.get(candidate.role, NO_QUOTA)
        if not quota.limits and not self.required:
            if self._offer(candidate, agent, available) and quota is not NO_QUOTA:
                spent = available.where(_counts_for_quota).quantities
                add(self._consumed[candidate.role], spent)
            return
        bounded = available.where(_counts_for_quota)
        if quota.limits:
            rest = left_of(quota.limits, self._consumed[candidate.role])
            bounded = self._shrink(bounded, rest, only_named=False)
        if self.required:
            bounded = self._shrink(bounded, minus(self.available, self.required))
        always = available.where(lambda resource: not _counts_for_quota(resource))
        offered = always + bounded
        if _enough(offered, candidate.least) and self._offer(candidate, agent, offered):
            if quota is not NO_QUOTA:
                add(self._consumed[candidate.role], bounded.quantities)
            take(self.available, bounded.quantities)

    def _usable(self, candidate: _Candidate, agent: AgentRecord) -> Resources | None:
        """What of the agent the framework may see in that role, if it is worth an offer."""
        if candidate.framework.constraints.excludes(candidate.role, agent.info):
            return None
        if not candidate.remote and agent.region not in (None, self._state.region):
            return None
        if not candidate.gpus and agent.total.thousandths("gpus"):
            return None
        free = self._free[agent.id]
        if agent.id not in self._plain:
            free = free.where(lambda resource: _for_role(resource, candidate))
        return free if _enough(free, candidate.least) else None

    def _offer(self, candidate: _Candidate, agent: AgentRecord, resources: Resources) -> bool:
        """Offer that much, which is enough, unless it was refused; whether it was offered."""
        framework, role = candidate.framework, candidate.role
        if is_filtered(framework, role, agent.id, resources, self._now):
            return False
        key = (framework.id, role, agent.id)
        self._made[key] = self._made[key] + resources if key in self._made else resources
        self._free[agent.id] -= resources
        amounts = resources.quantities
        self._roles.allocated(role, amounts)
        self._frameworks[role].allocated(framework.id, amounts)
        turns = self._state.turns
        for counted in ((role, framework.id), (role, "")):
            turns[counted] = turns.get(counted, 0) + 1
        return True

    def _shrink(
        self, resources: Resources, target: Quantities, *, only_named: bool = True
    ) -> Resources:
        """No more than the target of each resource; whole disks fit or are left out.

        Args:
            resources: scalars.
            target: thousandths by name.
            only_named: whether what the target does not name is left out, or stays as it is.
        """
        kept = list(resources)
        self._shuffle.shuffle(kept)
        rest = dict(target)
        fitting: list[Resource] = []
        for resource in kept:
            if resource.name not in rest:
                fitting += [] if only_named else [resource]
                continue
            part = shrunk(resource, rest[resource.name])
            if part is not None:
                fitting.append(part)
                rest[resource.name] -= Resources([part]).thousandths(resource.name)
        return Resources(fitting)

    def effects(self) -> Effects:
        """Enter the offers into the state and tell the frameworks."""
        by_framework: dict[str, list[OfferRecord]] = {}
        for (framework_id, role, agent_id), resources in self._made.items():
            framework, agent = self._state.frameworks[framework_id], self._state.agents[agent_id]
            offer = make_offer(self._state, framework, agent, role, resources, self._now)
            by_framework.setdefault(framework_id, []).append(offer)
        return [offers_event(framework_id, made) for framework_id, made in by_framework.items()]


def _counts_for_quota(resource: Resource) -> bool:
    return resource.type == "SCALAR" and not resource.reservations


def _for_role(resource: Resource, candidate: _Candidate) -> bool:
    """Unreserved, or reserved for the role or one above it, in a form the framework knows."""
    if len(resource.reservations) > 1 and not candidate.refined:
        return False
    if resource.shared is not None and not candidate.shared:
        return False
    reserved_for = reservation_role(resource)
    return reserved_for in {"*", candidate.role} or candidate.role.startswith(reserved_for + "/")


def _least(framework: FrameworkRecord, role: str, rules: AllocationRules) -> Sequence[Quantities]:
    """Alternatives of which an offer must reach one: the framework's own, or the master's."""
    own = (framework.info.offer_filters or {}).get(role)
    if own is None or own.min_allocatable_resources is None:
        return rules.min_allocatable
    return [of_scalars(part.quantities) for part in own.min_allocatable_resources.quantities]


def _enough(resources: Resources, least: Sequence[Quantities]) -> bool:
    if not len(resources):
        return False
    quantities = resources.quantities
    for alternative in least:
        for name, amount in alternative.items():
            if quantities.get(name, 0) < amount and _numbers(resources, name) < amount:
                break
        else:
            return True
    return not least


def _numbers(resources: Resources, name: str) -> int:
    return sum(high - low + 1 for low, high in resources.spans(name)) * SCALE
