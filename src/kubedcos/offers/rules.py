"""Rules that look at one agent alone, and what an agent has in the fields that rules name."""

from __future__ import annotations

from collections.abc import Iterator

from kubedcos.config.constraints import pattern
from kubedcos.model.constraint import HOSTNAME, REGION, STATIC, ZONE, Constraint, Operator
from kubedcos.model.offer import Agent
from kubedcos.model.service import PlacementSpec
from kubedcos.offers.requirement import Surroundings

Key = tuple[str, ...]
"""A value that instances are counted by; a zone's has its region before it."""


def values(agent: Agent, field: str, surroundings: Surroundings) -> tuple[str, ...]:
    """What an agent has in a field: an attribute may have several values, or none."""
    if field == HOSTNAME:
        return (agent.hostname,)
    if field == REGION:
        region = surroundings.region(agent)
        return (region,) if region else ()
    if field == ZONE:
        return (agent.zone,) if agent.zone else ()
    return tuple(value for name, value in agent.attributes if name == field)


def key(agent: Agent, field: str, surroundings: Surroundings) -> Key | None:
    """What an agent's instances are counted under; None when it has nothing in the field.

    Zones of two regions may have one name and are still two.
    """
    found = values(agent, field, surroundings)
    if not found:
        return None
    return (surroundings.region(agent), agent.zone) if field == ZONE else found[:1]


def broken_by(
    rules: PlacementSpec, agent: Agent, surroundings: Surroundings
) -> Iterator[tuple[str, str]]:
    """Rules that this agent breaks wherever other instances are: the rule, and a clause why."""
    region = surroundings.region(agent)
    if rules.local_region:
        if region != surroundings.local_region:
            yield "region", f"is in region {region}"
    elif rules.regions and region not in rules.regions:
        yield "region", f"is in region {region}" if region else "has no region"
    for name, value in sorted(rules.attributes.items()):
        if (name, value) not in agent.attributes:
            yield f"{name}:IS:{value}", f"has not {name}={value}"
    for rule in rules.rules:
        if clause := _clause(rule, agent, surroundings):
            yield str(rule), clause


def _clause(rule: Constraint, agent: Agent, surroundings: Surroundings) -> str:
    """Why an agent breaks a rule on its own account; empty when it does not."""
    found = values(agent, rule.field, surroundings)
    if not found:
        return "" if rule.operator is Operator.UNLIKE else f"has no {_called(rule.field)}"
    if rule.operator not in STATIC and not (rule.operator is Operator.CLUSTER and rule.value):
        return ""
    here = f"has {_called(rule.field)} {', '.join(found)}"
    if rule.operator in {Operator.IS, Operator.CLUSTER}:
        return "" if rule.value in found else f"{here} instead of {rule.value}"
    matches = any(pattern(rule.value).fullmatch(value) is not None for value in found)
    if rule.operator is Operator.LIKE:
        return "" if matches else f"{here}, which does not match {rule.value}"
    return f"{here}, which matches {rule.value}" if matches else ""


def _called(field: str) -> str:
    return field.removeprefix("@")
