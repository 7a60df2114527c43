"""Setting quota: what an operator may set, and which offers go back so that it can be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from kubedcos.embedded.master.effects import Effects, SaveRegistry
from kubedcos.embedded.master.name_rules import role_fault
from kubedcos.embedded.master.offers import rescind
from kubedcos.embedded.master.quantities import (
    Quantities,
    add,
    counted,
    covers,
    of_scalars,
    plus,
    take,
    text_of,
    within,
)
from kubedcos.embedded.master.quota import (
    NO_QUOTA,
    Quota,
    QuotaConfig,
    QuotaRequest,
    config_fault,
    of_config,
    older_fault,
)
from kubedcos.embedded.master.resource_rules import resource_fault
from kubedcos.embedded.master.role_use import RoleUse, lineage, role_uses
from kubedcos.embedded.master.state import MasterState, OfferRecord
from kubedcos.mesos.messages import Resource
from kubedcos.mesos.resources import upgraded


class QuotaRefused(Exception):
    """The answer to a quota that is not set: status and Mesos' text."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


Permitted = Callable[[str], bool]
"""Whether somebody may set the quota of a role; asked last, as Mesos does."""


def anybody(_role: str) -> bool:
    """Everything is permitted."""
    return True


def update(
    state: MasterState,
    configs: Sequence[QuotaConfig],
    allowed_roles: frozenset[str],
    *,
    force: bool,
    may: Permitted = anybody,
) -> Effects:
    """UPDATE_QUOTA: all configs or none.

    Raises:
        QuotaRefused: nothing is changed.
        PermissionError: `may` denies one of the roles; nothing is changed.
    """
    for config in configs:
        fault = config_fault(config, allowed_roles)
        if fault is not None:
            raise QuotaRefused(fault)
    uses = role_uses(state)
    for config in configs:
        consumed = uses.get(config.role, RoleUse()).consumed
        limits = of_scalars(config.limits)
        if not within(consumed, limits) and not force:
            raise QuotaRefused(
                f"Invalid QuotaConfig: Role '{config.role}' is already consuming "
                f"'{text_of(consumed)}'; this is more than the requested limits "
                f"'{text_of(limits)}' (use 'force' flag to bypass this check)"
            )
    asked = {config.role: of_config(config) for config in configs}
    promised, capacity = _promised(state, asked), _capacity(state)
    if not covers(capacity, promised) and not force:
        raise QuotaRefused(
            f"Invalid QuotaConfig: total quota guarantees '{text_of(promised)}' exceed cluster "
            f"capacity '{text_of(capacity)}' (use 'force' flag to bypass this check)"
        )
    if not all(map(may, asked)):
        raise PermissionError
    state.quotas |= asked
    effects: Effects = [SaveRegistry()]
    for config in configs:
        effects += _rescind(state, config.role, of_config(config), uses)
    return effects


def _promised(state: MasterState, asked: Mapping[str, Quota]) -> dict[str, int]:
    """All guarantees together; only roles at the top have any."""
    total: dict[str, int] = {}
    for quota in ({**state.quotas, **asked}).values():
        add(total, quota.guarantees)
    return total


def _capacity(state: MasterState) -> dict[str, int]:
    """What all registered agents have, connected or not."""
    state.capacity.follow(state.agents)
    return dict(state.capacity.total)


def _rescind(state: MasterState, role: str, quota: Quota, uses: Mapping[str, RoleUse]) -> Effects:
    """Take back offers of the role above its limits, then others' until guarantees can be met.

    As rough as Mesos': what is consumed and what is offered may overlap, and what is free counts
    for nothing.
    """
    use = uses.get(role, RoleUse())
    taken = plus(use.consumed, use.offered)
    effects: Effects = []
    for offer in list(state.offers.values()):
        if within(taken, quota.limits):
            break
        if role in lineage(offer.role):
            take(taken, counted(offer.resources))
            effects += rescind(state, [offer])
    for offer in _by_agent(state):
        if covers(taken, quota.guarantees):
            break
        if role not in lineage(offer.role):
            add(taken, counted(offer.resources))
            effects += rescind(state, [offer])
    return effects


def _by_agent(state: MasterState) -> list[OfferRecord]:
    order = {agent_id: place for place, agent_id in enumerate(state.agents)}
    return sorted(state.offers.values(), key=lambda offer: order.get(offer.agent_id, 0))


def set_older(
    state: MasterState,
    request: QuotaRequest,
    allowed_roles: frozenset[str],
    *,
    may: Permitted = anybody,
) -> Effects:
    """SET_QUOTA and POST of `/quota`: for a role that has none yet.

    Raises:
        QuotaRefused: nothing is changed.
        PermissionError: `may` denies the role; nothing is changed.
    """
    role = request.role or ""
    fault = _request_fault(state, role, request.guarantee, allowed_roles)
    if fault is not None:
        raise QuotaRefused(f"Failed to validate set quota request: {fault}")
    if "/" in role:
        raise QuotaRefused(f"Setting quota on nested role '{role}' is not supported yet")
    if not may(role):
        raise PermissionError
    guarantees = counted(request.guarantee)
    quota = Quota(guarantees, guarantees)
    promised, capacity = _promised(state, {role: quota}), _capacity(state)
    if not request.force and not covers(capacity, promised):
        raise QuotaRefused(
            "Quota guarantees overcommit the cluster (use 'force' to bypass this check): Total "
            f"quota guarantees '{text_of(promised)}' exceed cluster capacity '{text_of(capacity)}'",
            409,
        )
    state.quotas[role] = quota
    return [SaveRegistry(), *_rescind_agents(state, role, guarantees)]


def _request_fault(
    state: MasterState, role: str, guarantee: Iterable[Resource], allowed_roles: frozenset[str]
) -> str | None:
    try:
        resources = [upgraded(resource) for resource in guarantee]
    except ValueError as error:
        return f"QuotaInfo with invalid resource: {error}"
    fault = next(filter(None, map(resource_fault, resources)), None)
    if fault is not None:
        return f"QuotaInfo with invalid resource: {fault}"
    fault = role_fault(role)
    if fault is not None:
        return f"QuotaInfo with invalid role: {fault}"
    fault = older_fault(resources)
    if fault is not None:
        return fault
    if allowed_roles and role not in allowed_roles | {"*"}:
        return f"Unknown role '{role}'"
    if role in state.quotas:
        return f"Cannot set quota for role '{role}' which already has quota"
    above, _, _ = role.rpartition("/")
    guaranteed = state.quotas.get(above, NO_QUOTA).guarantees
    if above and not covers(guaranteed, counted(resources)):
        name = above.rpartition("/")[2]
        return (
            f"Invalid quota configuration. Parent role '{name}' with guarantees "
            f"({text_of(guaranteed)}) does not contain the sum of its children's guarantees "
            f"({text_of(counted(resources))})"
        )
    return None


def _rescind_agents(state: MasterState, role: str, wanted: Quantities) -> Effects:
    """Clear whole agents of offers until there is enough, on as many as the role has frameworks."""
    frameworks = sum(
        framework.connected and role in framework.roles for framework in state.frameworks.values()
    )
    freed: dict[str, int] = {}
    visited = 0
    effects: Effects = []
    for agent in state.agents.values():
        if covers(freed, wanted) and visited >= frameworks:
            break
        offers = list(state.offers_of(agent_id=agent.id)) if agent.connected else []
        for offer in offers:
            add(freed, offer.resources.quantities)
        visited += bool(offers)
        effects += rescind(state, offers)
    return effects


def remove(state: MasterState, role: str) -> Effects | None:
    """REMOVE_QUOTA and DELETE of `/quota/ROLE`; `None` for a role that has none.

    Mesos says so to DELETE, and aborts at REMOVE_QUOTA.
    """
    if role not in state.quotas:
        return None
    del state.quotas[role]
    return [SaveRegistry()]
