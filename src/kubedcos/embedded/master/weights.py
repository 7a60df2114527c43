"""Weights of roles: what an operator sets and what becomes of offers then."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from kubedcos.embedded.master.effects import Effects, SaveRegistry
from kubedcos.embedded.master.name_rules import role_fault
from kubedcos.embedded.master.offers import rescind
from kubedcos.embedded.master.role_use import holdings
from kubedcos.embedded.master.state import MasterState
from kubedcos.mesos.messages import Message


class WeightInfo(Message, frozen=True):
    """The weight of a role."""

    weight: float
    role: str | None = None


def update(
    state: MasterState,
    infos: Iterable[WeightInfo],
    allowed_roles: frozenset[str],
    *,
    may: Callable[[str | None], bool] = lambda _role: True,
) -> Effects:
    """UPDATE_WEIGHTS: all offers go back if a role with frameworks has a new weight.

    Raises:
        ValueError: with Mesos' text; nothing is changed then.
        PermissionError: `may` denies one of the roles, or any if none is named.
    """
    weights = {}
    for info in infos:
        role = (info.role or "").strip()
        weights[role] = info.weight
        fault = weight_fault(role, info.weight, allowed_roles)
        if fault is not None:
            raise ValueError(f"Failed to validate update weights request JSON{fault}")
    if not all(map(may, weights or (None,))):
        raise PermissionError
    if not weights:
        return []
    state.weights |= weights
    used = {role for framework in state.frameworks.values() for role in framework.roles}
    used |= {role for role, _, _ in holdings(state)}
    touched = not used.isdisjoint(weights)
    return [SaveRegistry(), *rescind(state, list(state.offers.values()) if touched else [])]


def weight_fault(role: str, weight: float, allowed_roles: frozenset[str]) -> str | None:
    """What is wrong with a weight, to follow ``… JSON``."""
    fault = role_fault(role)
    if fault is not None:
        return f": Invalid role '{role}': {fault}"
    if allowed_roles and role not in allowed_roles | {"*"}:
        return f": Unknown role '{role}'"
    if not weight > 0 or math.isinf(weight):
        return f" for role '{role}': Invalid weight '{weight:g}': Weights must be positive"
    return None
