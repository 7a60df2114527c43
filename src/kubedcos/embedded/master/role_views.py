"""Roles as `/roles` and GET_ROLES see them: who uses, is offered and has reserved what."""

from __future__ import annotations

from collections.abc import Iterable

from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.master.views import Json, reserved_by_role
from kubedcos.mesos.messages import TERMINAL_STATES, Resource
from kubedcos.mesos.resources import Resources


def quantities(resources: Resources) -> dict[str, float]:
    """Amounts by name without zeros; ranges are counted."""
    shown = {}
    for name in sorted(resources.names()):
        spans = resources.spans(name)
        counted = float(sum(high - low + 1 for low, high in spans))
        shown[name] = counted if spans else resources.scalar(name)
    return shown


def known_roles(state: MasterState) -> list[str]:
    """Roles with frameworks, reservations, tasks or offers; ``*`` always."""
    roles = {"*"}
    for framework in state.frameworks.values():
        roles |= set(framework.roles)
    for agent in state.agents.values():
        roles |= set(reserved_by_role(agent.total))
    for task in state.tasks.values():
        if task.state not in TERMINAL_STATES:
            roles |= _roles_of(task.resources)
    return sorted(roles)


def _roles_of(resources: Iterable[Resource]) -> set[str]:
    return {r.allocation_info.role or "*" for r in resources if r.allocation_info is not None}


def role_use(state: MasterState, role: str) -> tuple[Resources, Resources, Resources]:
    """What a role has allocated, is offered, and has reserved."""
    allocated, offered, reserved = Resources(), Resources(), Resources()
    for task in state.tasks.values():
        if task.state not in TERMINAL_STATES and role in _roles_of(task.resources):
            allocated += task.resources
    for record in state.offers.values():
        if record.role == role:
            offered += record.resources
    for agent in state.agents.values():
        reserved += agent.total.reserved(role)
    return allocated, offered, reserved


def role_frameworks(state: MasterState, role: str) -> list[str]:
    """Frameworks that subscribed for the role or have tasks in it."""
    return [
        framework.id
        for framework in state.frameworks.values()
        if role in framework.roles
        or any(role in _roles_of(t.resources) for t in state.tasks_of(framework_id=framework.id))
    ]


def roles_view(state: MasterState) -> Json:
    """`/roles`."""
    roles = []
    for role in known_roles(state):
        allocated, offered, reserved = role_use(state, role)
        consumed = quantities(reserved + allocated.unreserved())
        roles.append(
            {
                "name": role,
                "weight": 1.0,
                "quota": {"role": role, "guarantee": {}, "limit": {}, "consumed": consumed},
                "resources": quantities(allocated + offered),
                "allocated": quantities(allocated),
                "offered": quantities(offered),
                "reserved": quantities(reserved),
                "frameworks": role_frameworks(state, role),
            }
        )
    return {"roles": roles}
