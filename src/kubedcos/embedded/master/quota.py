"""Quota of roles: what it is made of, and which one may be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from kubedcos.embedded.master.name_rules import role_fault
from kubedcos.embedded.master.quantities import (
    Quantities,
    of_scalars,
    scalar_fault,
    shown,
    within,
)
from kubedcos.mesos.messages import Message, Resource, Scalar
from kubedcos.mesos.values import number_text

_EXABYTE: Final = 1024**4
"""In megabytes."""
_TRILLION: Final = 1000**4


class QuotaConfig(Message, frozen=True):
    """Guarantees and limits of a role; what is not named is not guaranteed, or not limited."""

    role: str
    guarantees: dict[str, Scalar] | None = None
    limits: dict[str, Scalar] | None = None


class QuotaRequest(Message, frozen=True):
    """The older form: guarantees that are limits at the same time."""

    role: str | None = None
    guarantee: tuple[Resource, ...] = ()
    force: bool = False


@dataclass(frozen=True, slots=True)
class Quota:
    """Thousandths by resource name; a limit may be 0."""

    guarantees: Quantities = field(default_factory=dict)
    limits: Quantities = field(default_factory=dict)


NO_QUOTA: Final = Quota()


def of_config(config: QuotaConfig) -> Quota:
    """The quota that a valid config stands for."""
    guarantees = {name: much for name, much in of_scalars(config.guarantees).items() if much}
    return Quota(guarantees, of_scalars(config.limits))


def config_fault(config: QuotaConfig, allowed_roles: frozenset[str]) -> str | None:
    """Rules for UPDATE_QUOTA on its own."""
    wrong = "Invalid QuotaConfig: "
    role = config.role
    if allowed_roles and role not in allowed_roles | {"*"}:
        return f"{wrong}'{role}' is not on the roles whitelist"
    if "/" in role:
        return f"Updating quota on nested role '{role}' is not supported yet"
    fault = role_fault(role)
    if fault is not None:
        return f"{wrong}Invalid 'QuotaConfig.role': {fault}"
    guarantees, limits = config.guarantees or {}, config.limits or {}
    fault = _too_large("guarantees", guarantees) or _too_large("limits", limits)
    fault = fault or _not_an_amount("guarantee", guarantees) or _not_an_amount("limit", limits)
    if fault is not None:
        return wrong + fault
    if not within(of_scalars(guarantees), of_scalars(limits)):
        return (
            f"{wrong}'QuotaConfig.guarantees' {_map_text(guarantees)} is not contained within the "
            f"'QuotaConfig.limits' {_map_text(limits)}"
        )
    return None


def _too_large(which: str, amounts: Mapping[str, Scalar]) -> str | None:
    for name, scalar in amounts.items():
        in_bytes = name in {"mem", "disk"}
        most, words = (_EXABYTE, "1 exabyte") if in_bytes else (_TRILLION, "1 trillion")
        if scalar.value > most:
            return (
                f"Invalid 'QuotaConfig.{which}': {{'{name}': {number_text(scalar.value)}}} is "
                f"invalid: values greater than {words} ({most}) are not supported"
            )
    return None


def _not_an_amount(which: str, amounts: Mapping[str, Scalar]) -> str | None:
    for name, scalar in amounts.items():
        fault = scalar_fault(scalar.value)
        if fault is not None:
            text = f"{{'{name}': {number_text(scalar.value)}}}"
            return f"Invalid {which} configuration {text}: {fault}"
    return None


def _map_text(amounts: Mapping[str, Scalar]) -> str:
    pairs = (f"{name}: {number_text(value)}" for name, value in shown(of_scalars(amounts)).items())
    return "{ " + ", ".join(pairs) + " }"


def older_fault(resources: Sequence[Resource]) -> str | None:
    """Rules for the resources of SET_QUOTA, in the form with a reservation stack."""
    if not resources:
        return "QuotaInfo with empty 'guarantee'"
    names: set[str] = set()
    for resource in resources:
        if resource.reservations:
            return "QuotaInfo must not contain any ReservationInfo"
        if resource.disk is not None:
            return "QuotaInfo must not contain DiskInfo"
        if resource.revocable is not None:
            return "QuotaInfo must not contain RevocableInfo"
        if resource.type != "SCALAR":
            return "QuotaInfo must not include non-scalar resources"
        if resource.name in names:
            return f"QuotaInfo contains duplicate resource name '{resource.name}'"
        names.add(resource.name)
    return None
