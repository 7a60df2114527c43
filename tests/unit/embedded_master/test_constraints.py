"""Offer constraints."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kubedcos.embedded.master.constraints import PatternLimits, agent_filter
from kubedcos.mesos.messages import AgentInfo, OfferConstraints
from kubedcos.mesos.resource_text import parse_attributes

from .world import domain

AGENT = AgentInfo(
    hostname="node-7.example",
    attributes=tuple(parse_attributes("rack:r1;rack:r2;cores:8")),
    domain=domain("dc-a"),
)
EXISTS: dict[str, Any] = {"exists": {}}


def constraint(selector: dict[str, Any], predicate: dict[str, Any]) -> dict[str, Any]:
    return {"selector": selector, "predicate": predicate}


def excluded(*groups: list[dict[str, Any]], agent: AgentInfo = AGENT) -> bool:
    value = {
        "role_constraints": {"lab": {"groups": [{"attribute_constraints": g} for g in groups]}}
    }
    constraints = msgspec.convert(value, OfferConstraints)
    found = agent_filter(constraints, ["lab"], PatternLimits())
    assert not found.excludes("other", agent)
    return found.excludes("lab", agent)


@pytest.mark.parametrize(
    ("selector", "predicate", "passes"),
    [
        ({"attribute_name": "rack"}, {"exists": {}}, True),
        ({"attribute_name": "rack"}, {"not_exists": {}}, False),
        ({"attribute_name": "none"}, {"exists": {}}, False),
        ({"attribute_name": "none"}, {"not_exists": {}}, True),
        # Of several attributes with one name the first counts.
        ({"attribute_name": "rack"}, {"text_equals": {"value": "r1"}}, True),
        ({"attribute_name": "rack"}, {"text_equals": {"value": "r2"}}, False),
        ({"attribute_name": "rack"}, {"text_not_equals": {"value": "r1"}}, False),
        ({"attribute_name": "none"}, {"text_equals": {"value": "r1"}}, False),
        ({"attribute_name": "none"}, {"text_not_equals": {"value": "r1"}}, True),
        ({"attribute_name": "rack"}, {"text_matches": {"regex": "r[12]"}}, True),
        ({"attribute_name": "rack"}, {"text_matches": {"regex": "r"}}, False),
        ({"attribute_name": "rack"}, {"text_not_matches": {"regex": "r[12]"}}, False),
        ({"attribute_name": "none"}, {"text_not_matches": {"regex": "r"}}, True),
        # What is no text passes every test of texts.
        ({"attribute_name": "cores"}, {"text_equals": {"value": "4"}}, True),
        ({"attribute_name": "cores"}, {"text_not_matches": {"regex": ".*"}}, True),
        ({"pseudoattribute_type": "HOSTNAME"}, {"text_matches": {"regex": "node-.*"}}, True),
        ({"pseudoattribute_type": "REGION"}, {"text_equals": {"value": "dc-a"}}, True),
        ({"pseudoattribute_type": "ZONE"}, {"text_equals": {"value": "dc-a"}}, False),
    ],
)
def test_a_predicate(selector: dict[str, Any], predicate: dict[str, Any], *, passes: bool) -> None:
    assert excluded([constraint(selector, predicate)]) is not passes


def test_an_agent_without_a_domain_has_no_region() -> None:
    nowhere = AgentInfo(hostname="h")
    assert excluded([constraint({"pseudoattribute_type": "REGION"}, EXISTS)], agent=nowhere)


def test_all_of_a_group_and_one_of_the_groups_must_hold() -> None:
    yes = constraint({"attribute_name": "rack"}, EXISTS)
    no = constraint({"attribute_name": "none"}, EXISTS)
    assert excluded([yes, no])
    assert not excluded([yes, no], [yes])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"role_constraints": {"zz": {"groups": []}}},
            (
                "Offer constraints specify `role_constraints` for a role 'zz'not contained "
                "in the set of roles"
            ),
        ),
        (
            {"role_constraints": {"lab": {"groups": []}}},
            (
                "Offer constraints are not valid: 'OfferConstraints::role_constraints' has an "
                "empty 'RoleConstraints::groups' for role lab"
            ),
        ),
        (
            {"role_constraints": {"lab": {"groups": [{}]}}},
            (
                "Offer constraints are not valid: 'OfferConstraints::RoleConstraints::groups' for "
                "role labcontains an empty RoleConstraints::Group"
            ),
        ),
    ],
)
def test_what_is_wrong_with_the_whole(value: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="Offer constraints") as caught:
        agent_filter(msgspec.convert(value, OfferConstraints), ["lab"], PatternLimits())
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("selector", "predicate", "text"),
    [
        ({}, EXISTS, "Exactly one of 'AttributeConstraint::Selector::name' or"),
        ({"pseudoattribute_type": "UNKNOWN"}, EXISTS, "Unknown pseudoattribute type"),
        ({"attribute_name": "a"}, {}, "Unknown predicate type"),
        (
            {"attribute_name": "a"},
            {"text_matches": {"regex": "("}},
            "Failed to construct regex from pattern '(': missing ): (",
        ),
        (
            {"attribute_name": "a"},
            {"text_not_matches": {"regex": "x{200}"}},
            "Regex 'x{200}' is too complex: program size of 204 is larger than maximum of 100",
        ),
        # No back-references in RE2.
        ({"attribute_name": "a"}, {"text_matches": {"regex": r"(a)\1"}}, "invalid escape sequence"),
    ],
)
def test_what_is_wrong_with_a_constraint(
    selector: dict[str, Any], predicate: dict[str, Any], text: str
) -> None:
    with pytest.raises(
        ValueError, match="A role lab has an invalid 'AttributeConstraint'"
    ) as error:
        excluded([constraint(selector, predicate)])
    assert text in str(error.value)


def test_the_last_predicate_by_name_counts_where_several_are_set() -> None:
    both = {"exists": {}, "not_exists": {}}
    assert excluded([constraint({"attribute_name": "rack"}, both)])
