"""Who holds what: by role and framework for the allocator, by role and its ancestors for views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kubedcos.embedded.master.quantities import add, counted, minus
from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.master.tables import role_of
from kubedcos.mesos.messages import TERMINAL_STATES, Resource
from kubedcos.mesos.resources import reservation_role
from kubedcos.mesos.tally import Tally


@dataclass(slots=True)
class RoleUse:
    """Amounts of a role and of all roles below it; ranges and sets are counted.

    Attributes:
        consumed: what counts against its quota: what is allocated, and unallocated reservations.
    """

    allocated: dict[str, int] = field(default_factory=dict)
    offered: dict[str, int] = field(default_factory=dict)
    reserved: dict[str, int] = field(default_factory=dict)
    consumed: dict[str, int] = field(default_factory=dict)


def lineage(role: str) -> Iterator[str]:
    """A role and the roles above it: ``a/b``, ``a``."""
    while role:
        yield role
        role = role.rpartition("/")[0]


def holdings(state: MasterState) -> Iterator[tuple[str, str, Tally]]:
    """Role, framework id, and what the framework has allocated, or is offered, in the role."""
    for ledger in (state.tasks.used, state.offers.offered):
        for (role, framework_id), held in ledger.shares():
            yield role, framework_id, held


def role_uses(state: MasterState) -> dict[str, RoleUse]:
    """What each role has, for all roles that have anything."""
    uses: dict[str, RoleUse] = {}

    def of(role: str) -> RoleUse:
        return uses.setdefault(role, RoleUse())

    running = [
        (task.agent_id.value, task.resources)
        for task in state.tasks.values()
        if task.state not in TERMINAL_STATES
    ]
    running += [(key.agent_id, each.resources) for key, each in state.executors_of()]
    in_use: dict[str, dict[str, dict[str, int]]] = {}
    for agent_id, resources in running:
        amounts = counted(resources)
        for role in lineage(role_of(resources)):
            add(of(role).allocated, amounts)
            add(of(role).consumed, amounts)
        _add_reserved(in_use.setdefault(agent_id, {}), resources)
    for offer in state.offers.values():
        amounts = counted(offer.resources)
        for role in lineage(offer.role):
            add(of(role).offered, amounts)
    for agent in state.agents.values():
        reserved: dict[str, dict[str, int]] = {}
        _add_reserved(reserved, agent.total)
        for role, amounts in reserved.items():
            add(of(role).reserved, amounts)
            add(of(role).consumed, minus(amounts, in_use.get(agent.id, {}).get(role, {})))
    return uses


def _add_reserved(sums: dict[str, dict[str, int]], resources: Iterable[Resource]) -> None:
    """Add what is reserved for each role and for the roles below it."""
    for resource in resources:
        if resource.reservations:
            for role in lineage(reservation_role(resource)):
                add(sums.setdefault(role, {}), counted([resource]))
