"""Roles as `/roles` and GET_ROLES see them: who uses, is offered and has reserved what."""

from __future__ import annotations

from kubedcos.embedded.master.quantities import plus, shown
from kubedcos.embedded.master.quota import NO_QUOTA
from kubedcos.embedded.master.role_use import RoleUse, holdings, lineage, role_uses
from kubedcos.embedded.master.sorter import DEFAULT_WEIGHT
from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.master.views import Json


def known_roles(state: MasterState, allowed_roles: frozenset[str]) -> dict[str, RoleUse]:
    """Roles that somebody uses, reserves, or has set something for, with those above them; sorted.

    With `allowed_roles` (the flag `--roles`) these and no others.
    """
    uses = role_uses(state)
    names = set(uses) | state.weights.keys() | state.quotas.keys()
    for framework in state.frameworks.values():
        names |= set(framework.roles)
    if allowed_roles:
        names = {*allowed_roles, "*"}
    known = sorted({above for name in names for above in lineage(name)})
    return {name: uses.get(name, RoleUse()) for name in known}


def owners(state: MasterState) -> dict[str, list[str]]:
    """Frameworks by role: those that subscribed for it or have something allocated in it."""
    found: dict[str, dict[str, None]] = {}
    for framework in state.frameworks.values():
        for role in framework.roles:
            found.setdefault(role, {})[framework.id] = None
    for role, framework_id, _ in holdings(state):
        found.setdefault(role, {})[framework_id] = None
    return {role: list(ids) for role, ids in found.items()}


def roles_view(state: MasterState, allowed_roles: frozenset[str]) -> Json:
    """`/roles`."""
    roles, used_by = [], owners(state)
    for name, use in known_roles(state, allowed_roles).items():
        quota = state.quotas.get(name, NO_QUOTA)
        roles.append(
            {
                "name": name,
                "weight": state.weights.get(name, DEFAULT_WEIGHT),
                "quota": {
                    "role": name,
                    "guarantee": shown(quota.guarantees),
                    "limit": shown(quota.limits),
                    "consumed": shown(use.consumed),
                },
                "resources": shown(plus(use.allocated, use.offered)),
                "allocated": shown(use.allocated),
                "offered": shown(use.offered),
                "reserved": shown(use.reserved),
                "frameworks": used_by.get(name, []),
            }
        )
    return {"roles": roles}
