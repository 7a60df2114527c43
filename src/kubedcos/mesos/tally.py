"""A sum of resources that grows and shrinks: what it holds is always exactly what was put in.

`Resources` alone cannot do this: taking a range that two holders put in would take it from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubedcos.mesos.base_messages import Resource
from kubedcos.mesos.resources import Resources, is_exclusive
from kubedcos.mesos.values import Amount, united

NOTHING: Final = Resources()


class Tally:
    """Resources of several holders, counted, so that each holder's share can leave again.

    Attributes:
        holders: how many of them there are.
    """

    __slots__ = ("_held", "_scalars", "_shared", "_sum", "holders")

    def __init__(self) -> None:
        self._scalars: dict[Resource, int] = {}
        # Ranges, sets and whole disks do not add up to a number: each amount is counted.
        self._shared: dict[Resource, dict[Amount, int]] = {}
        self._held: dict[str, int] = {}
        self._sum: Resources | None = NOTHING
        self.holders = 0

    @property
    def quantities(self) -> Mapping[str, int]:
        """Thousandths of all scalars by name; names that nobody holds are absent."""
        return self._held

    @property
    def resources(self) -> Resources:
        """Everything added up; the same object until something changes."""
        if self._sum is None:
            amounts: dict[Resource, Amount] = dict(self._scalars)
            for kind, counted in self._shared.items():
                amounts[kind] = united(counted)
            self._sum = Resources.of_amounts(amounts)
        return self._sum

    def add(self, resources: Resources) -> None:
        """A holder comes."""
        self.holders += 1
        for kind, amount in resources.amounts():
            if isinstance(amount, int) and not is_exclusive(kind):
                self._scalars[kind] = self._scalars.get(kind, 0) + amount
                self._count(kind.name, amount)
                continue
            counted = self._shared.get(kind)
            if counted is None:
                counted = self._shared[kind] = {}
                if isinstance(amount, int):
                    self._count(kind.name, amount)
            counted[amount] = counted.get(amount, 0) + 1
        self._sum = None

    def take(self, resources: Resources) -> None:
        """A holder goes with what it brought.

        Raises:
            KeyError: nobody brought that.
        """
        self.holders -= 1
        for kind, amount in resources.amounts():
            if isinstance(amount, int) and not is_exclusive(kind):
                rest = self._scalars[kind] - amount
                if rest < 0:
                    raise KeyError(kind)
                if rest:
                    self._scalars[kind] = rest
                else:
                    del self._scalars[kind]
                self._count(kind.name, -amount)
                continue
            counted = self._shared[kind]
            if counted[amount] > 1:
                counted[amount] -= 1
                continue
            del counted[amount]
            if not counted:
                del self._shared[kind]
                if isinstance(amount, int):
                    self._count(kind.name, -amount)
        self._sum = None

    def _count(self, name: str, amount: int) -> None:
        held = self._held.get(name, 0) + amount
        if held:
            self._held[name] = held
        else:
            del self._held[name]
