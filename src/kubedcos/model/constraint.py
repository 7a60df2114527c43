"""Marathon's placement constraints as data: which values of a field the agents of a pod may have.

Meaning of the operators as in Marathon's documentation of constraints; `offers.rules` applies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HOSTNAME: Final = "hostname"
REGION: Final = "@region"
ZONE: Final = "@zone"


class Operator(StrEnum):
    """What a constraint asks of a field."""

    UNIQUE = "UNIQUE"
    """No two instances share a value."""
    CLUSTER = "CLUSTER"
    """All instances share one value: the one given, or else the first instance's."""
    GROUP_BY = "GROUP_BY"
    """Instances are spread evenly over the values; a number says how many values there are."""
    LIKE = "LIKE"
    """The value matches a regular expression as a whole."""
    UNLIKE = "UNLIKE"
    """The value does not match it; an agent without the field passes."""
    IS = "IS"
    """The value is this text."""
    MAX_PER = "MAX_PER"
    """At most so many instances share a value."""


STATIC: Final = frozenset({Operator.LIKE, Operator.UNLIKE, Operator.IS})
"""Operators that look at the agent alone, not at where other instances are."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One rule.

    Attributes:
        field: `HOSTNAME`, `REGION`, `ZONE`, or the name of an attribute.
        value: text, regular expression or number, as the operator has it; empty without.
    """

    field: str
    operator: Operator
    value: str = ""

    def __str__(self) -> str:
        """As the DC/OS SDK writes it: ``@zone:GROUP_BY:3``."""
        parts = (self.field, str(self.operator), self.value)
        return ":".join(parts if self.value else parts[:2])

    @property
    def number(self) -> int:
        """The value of GROUP_BY and MAX_PER; 0 without."""
        return int(self.value) if self.value else 0
