"""Offer constraints: which agents a framework wants offers of, by their attributes and place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kubedcos.mesos.messages import (
    AgentInfo,
    Attribute,
    AttributeConstraint,
    AttributePredicate,
    AttributeSelector,
    OfferConstraints,
)

Property = str | Attribute | None
"""A text that every agent has, an attribute, or nothing."""
Test = Callable[[AgentInfo], bool]


@dataclass(frozen=True, slots=True)
class PatternLimits:
    """How much memory (bytes) and program (instructions) one regular expression may take."""

    max_memory: int = 4096
    max_program: int = 100


DEFAULT_PATTERN_LIMITS: Final = PatternLimits()


@dataclass(frozen=True, slots=True)
class AgentFilter:
    """Constraints that were checked, ready to be asked.

    Attributes:
        constraints: as the framework sent them.
    """

    constraints: OfferConstraints
    _groups: dict[str, list[list[Test]]]

    def excludes(self, role: str, agent: AgentInfo) -> bool:
        """Whether the agent is not to be offered to the role."""
        groups = self._groups.get(role)
        if groups is None:
            return False
        return not any(all(test(agent) for test in group) for group in groups)


ALL_AGENTS: Final = AgentFilter(OfferConstraints(), {})


def agent_filter(
    constraints: OfferConstraints | None, roles: Iterable[str], limits: PatternLimits
) -> AgentFilter:
    """The filter for a framework with these roles.

    Raises:
        ValueError: with Mesos' text.
    """
    by_role = (constraints.role_constraints if constraints else None) or {}
    if constraints is None or not by_role:
        return ALL_AGENTS
    for role in by_role:
        if role not in roles:
            # The missing space is Mesos' own, as the one below.
            raise ValueError(
                f"Offer constraints specify `role_constraints` for a role '{role}'not contained "
                "in the set of roles"
            )
    invalid = "Offer constraints are not valid: "
    groups: dict[str, list[list[Test]]] = {}
    for role, listed in by_role.items():
        if not listed.groups:
            raise ValueError(
                f"{invalid}'OfferConstraints::role_constraints' has an empty "
                f"'RoleConstraints::groups' for role {role}"
            )
        groups[role] = []
        for group in listed.groups:
            if not group.attribute_constraints:
                raise ValueError(
                    f"{invalid}'OfferConstraints::RoleConstraints::groups' for role {role}"
                    "contains an empty RoleConstraints::Group"
                )
            try:
                tests = [_test(constraint, limits) for constraint in group.attribute_constraints]
            except ValueError as error:
                raise ValueError(
                    f"{invalid}A role {role} has an invalid 'AttributeConstraint': {error}"
                ) from None
            groups[role].append(tests)
    return AgentFilter(constraints, groups)


def _test(constraint: AttributeConstraint, limits: PatternLimits) -> Test:
    find = _finder(constraint.selector)
    holds = _predicate(constraint.predicate, limits)
    return lambda agent: holds(find(agent))


def _finder(selector: AttributeSelector) -> Callable[[AgentInfo], Property]:
    kind, name = selector.pseudoattribute_type, selector.attribute_name
    if kind == "UNKNOWN":
        raise ValueError("Unknown pseudoattribute type")
    if kind == "HOSTNAME":
        return lambda agent: agent.hostname
    if kind in {"REGION", "ZONE"}:
        return _region if kind == "REGION" else _zone
    if name is None:
        raise ValueError(
            "Exactly one of 'AttributeConstraint::Selector::name' or "
            "'AttributeConstraint::Selector::pseudoattribute_type' must be set"
        )
    return lambda agent: next((each for each in agent.attributes if each.name == name), None)


def _region(agent: AgentInfo) -> str | None:
    domain = agent.domain
    return domain.fault_domain.region.name if domain and domain.fault_domain else None


def _zone(agent: AgentInfo) -> str | None:
    domain = agent.domain
    return domain.fault_domain.zone.name if domain and domain.fault_domain else None


def _predicate(wanted: AttributePredicate, limits: PatternLimits) -> Callable[[Property], bool]:
    # Where several are set, Mesos keeps the last one that it reads; it reads them by name.
    if wanted.text_not_matches is not None:
        matches = _pattern(wanted.text_not_matches.regex, limits)
        return _of_text(lambda value: not matches(value), absent=True)
    if wanted.text_not_equals is not None:
        unwanted = wanted.text_not_equals.value
        return _of_text(lambda value: value != unwanted, absent=True)
    if wanted.text_matches is not None:
        return _of_text(_pattern(wanted.text_matches.regex, limits), absent=False)
    if wanted.text_equals is not None:
        text = wanted.text_equals.value
        return _of_text(lambda value: value == text, absent=False)
    if wanted.not_exists is not None:
        return lambda found: found is None
    if wanted.exists is not None:
        return lambda found: found is not None
    raise ValueError("Unknown predicate type")


def _of_text(holds: Callable[[str], bool], *, absent: bool) -> Callable[[Property], bool]:
    """A predicate of texts: attributes of other types always pass."""

    def test(found: Property) -> bool:
        if found is None:
            return absent
        if isinstance(found, str):
            return holds(found)
        return found.text is None or holds(found.text.value)

    return test


def _pattern(regex: str, limits: PatternLimits) -> Callable[[str], bool]:
    import re2  # noqa: PLC0415  native code that few masters ever need

    options = re2.Options()
    options.max_mem = limits.max_memory
    options.log_errors = False
    try:
        compiled = re2.compile(regex, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"Failed to construct regex from pattern '{regex}': {reason}") from None
    program: int = compiled.programsize
    if program > limits.max_program:
        raise ValueError(
            f"Regex '{regex}' is too complex: program size of {program} is larger than maximum "
            f"of {limits.max_program} allowed"
        )
    return lambda value: compiled.fullmatch(value) is not None
