"""Amounts of resources by name, whoever they are reserved for or allocated to.

Amounts are whole thousandths. A name without an amount is left out, except in limits, where 0 is
less than no limit at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from kubedcos.mesos.messages import Resource, Scalar
from kubedcos.mesos.resources import amount_of
from kubedcos.mesos.values import SCALE, number_text, thousandths

Quantities = Mapping[str, int]
"""Thousandths by resource name."""


def counted(resources: Iterable[Resource]) -> dict[str, int]:
    """Sums of everything: of ranges their numbers, of sets their items."""
    sums: dict[str, int] = {}
    for resource in resources:
        amount = amount_of(resource)
        if isinstance(amount, tuple):
            amount = sum(high - low + 1 for low, high in amount) * SCALE
        elif isinstance(amount, frozenset):
            amount = len(amount) * SCALE
        if amount:
            sums[resource.name] = sums.get(resource.name, 0) + amount
    return sums


def of_scalars(values: Mapping[str, Scalar] | None) -> dict[str, int]:
    """Amounts of a message; zeros are kept."""
    return {name: thousandths(scalar.value) for name, scalar in (values or {}).items()}


def to_scalars(quantities: Quantities) -> dict[str, Scalar]:
    """Amounts as a message has them, sorted by name."""
    return {name: Scalar(quantities[name] / SCALE) for name in sorted(quantities)}


def add(sums: dict[str, int], more: Quantities) -> None:
    """Add to sums in place."""
    for name, amount in more.items():
        sums[name] = sums.get(name, 0) + amount


def take(sums: dict[str, int], less: Quantities) -> None:
    """Take from sums in place, down to nothing."""
    for name, amount in less.items():
        rest = sums.get(name, 0) - amount
        if rest > 0:
            sums[name] = rest
        else:
            sums.pop(name, None)


def plus(one: Quantities, other: Quantities) -> dict[str, int]:
    """Both together."""
    sums = dict(one)
    add(sums, other)
    return sums


def minus(one: Quantities, other: Quantities) -> dict[str, int]:
    """What is left, never less than nothing."""
    rest = dict(one)
    take(rest, other)
    return rest


def covers(one: Quantities, other: Quantities) -> bool:
    """Whether there is at least as much of everything."""
    return all(one.get(name, 0) >= amount for name, amount in other.items())


def within(quantities: Quantities, limits: Quantities) -> bool:
    """Whether nothing is above its limit; what has none may be any amount."""
    return all(amount <= limits.get(name, amount) for name, amount in quantities.items())


def left_of(limits: Quantities, consumed: Quantities) -> dict[str, int]:
    """How much each limit still allows; a limit that is reached stays, with 0."""
    return {name: max(limit - consumed.get(name, 0), 0) for name, limit in limits.items()}


def shown(quantities: Quantities) -> dict[str, float]:
    """Amounts as numbers, sorted by name."""
    return {name: quantities[name] / SCALE for name in sorted(quantities)}


def text_of(quantities: Quantities) -> str:
    """Amounts as Mesos writes them: ``cpus:1; mem:32``."""
    parts = (f"{name}:{number_text(amount)}" for name, amount in shown(quantities).items())
    return "; ".join(parts) or "{}"


def scalar_fault(value: float) -> str | None:
    """What is wrong with an amount that somebody asks for."""
    if math.isinf(value):
        return "Infinite values not supported"
    if math.isnan(value):
        return "NaN not supported"
    return "Negative values not supported" if value < 0 else None
