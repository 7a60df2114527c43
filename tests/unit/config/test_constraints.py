"""Placement constraints in every form that Marathon and the SDK know, and what is refused."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.config import cluster
from kubedcos.config.constraints import pattern, read, rows
from kubedcos.errors import InvalidInput
from kubedcos.model.constraint import Constraint, Operator

ZONES = (("@zone", "GROUP_BY", "3"), ("hostname", "UNIQUE"))


@pytest.mark.parametrize(
    "form",
    [
        [["@zone", "GROUP_BY", "3"], ["hostname", "UNIQUE"]],
        [["@zone", "group_by", 3], ["@hostname", "UNIQUE"]],
        ["@zone:GROUP_BY:3", "hostname:UNIQUE"],
        "@zone:GROUP_BY:3,hostname:UNIQUE",
        " @zone:GROUP_BY:3 , hostname:UNIQUE ,",
        '[["@zone", "GROUP_BY", "3"], ["hostname", "UNIQUE"]]',
    ],
)
def test_all_forms_mean_the_same(form: object) -> None:
    assert rows(form) == ZONES


def test_a_single_constraint_needs_no_list_around_it() -> None:
    assert rows(["hostname", "UNIQUE"]) == (("hostname", "UNIQUE"),)
    assert rows('["rack", "IS", "r1"]') == (("rack", "IS", "r1"),)
    assert rows([]) == rows("") == ()


def test_colons_and_commas_in_a_value() -> None:
    assert rows("disk:IS:a:b") == (("disk", "IS", "a:b"),)
    assert rows(r"rack:LIKE:r{1\,2},hostname:UNIQUE") == (
        ("rack", "LIKE", "r{1,2}"),
        ("hostname", "UNIQUE"),
    )
    assert rows(r"rack:LIKE:\\d+") == (("rack", "LIKE", r"\d+"),)
    assert rows([["rack", "LIKE", r"r\d{1,2}"]]) == (("rack", "LIKE", r"r\d{1,2}"),)


def test_rows_become_constraints() -> None:
    assert read(ZONES) == (
        Constraint("@zone", Operator.GROUP_BY, "3"),
        Constraint("hostname", Operator.UNIQUE),
    )
    assert [str(rule) for rule in read(ZONES)] == ["@zone:GROUP_BY:3", "hostname:UNIQUE"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (7, "constraints such as"),
        ({"hostname": "UNIQUE"}, "constraints such as"),
        ("hostname", "has not two or three parts"),
        ([["hostname", "UNIQUE", "1", "2"]], "has not two or three parts"),
        ("hostname:LONELY", "one of the operators UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, IS"),
        ("@rack:UNIQUE", "hostname, @region, @zone or the name of an attribute"),
        ("hostname:UNIQUE:1", "UNIQUE without a value"),
        ("rack:LIKE", "a value for LIKE"),
        ("rack:MAX_PER:0", "a whole number from 1 to 100000 for MAX_PER"),
        ("rack:MAX_PER:-1", "a whole number from 1 to 100000 for MAX_PER"),
        ("rack:GROUP_BY:many", "a whole number from 1 to 100000 for GROUP_BY"),
        ("rack:LIKE:r[", "a regular expression that RE2 takes"),
        (r"rack:LIKE:(a)\\1", "a regular expression that RE2 takes"),
        ([["rack", "LIKE", "a" * 600]], "at most 512 characters"),
        ([["rack", "IS", None]], "is no text"),
        ([["rack", "IS", True]], "is no text"),
        ([["rack", "UNIQUE"]] * 51, "at most 50 constraints"),
        ("[[", "constraints such as"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_be_right(form: object, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        rows(form)


def test_an_option_names_its_place() -> None:
    with pytest.raises(InvalidInput) as caught:
        cluster.load("node_pools: {gpu: {placement: 'rack:LIKE:r['}}", "c.yml")
    assert "c.yml: node_pools.gpu.placement: found 'rack:LIKE:r['" in str(caught.value)


def test_options_with_constraints_survive_their_own_dump() -> None:
    options = cluster.load(
        "placement: {etcd: '@zone:GROUP_BY', nodes: [[rack, MAX_PER, 2]]}", "c.yml"
    )
    assert options.placement.nodes == (("rack", "MAX_PER", "2"),)
    assert cluster.validate(options.model_dump(mode="json"), "dump") == options


def test_a_pattern_that_blows_other_engines_up_is_quick() -> None:
    began = time.process_time()
    assert pattern("(a+)+b").fullmatch("a" * 5000) is None
    assert time.process_time() - began < 2.0


words = st.text(st.characters(codec="utf-8", exclude_characters="\\,:@[\"' "), min_size=1)
lists = st.lists(
    st.one_of(
        st.tuples(st.just("hostname"), st.just("UNIQUE")),
        st.tuples(st.sampled_from(["@zone", "rack"]), st.just("MAX_PER"), st.sampled_from("123")),
        st.tuples(
            st.sampled_from(["@region", "rack"]),
            st.just("IS"),
            st.from_regex(r"[a-z\\,:]{1,9}", fullmatch=True),
        ),
    ),
    max_size=5,
)


@given(lists)
def test_text_and_lists_say_the_same(found: list[tuple[str, ...]]) -> None:
    expected = tuple(found)
    escaped = (
        ":".join(row).replace("\\", "\\\\").replace(",", "\\,") for row in map(list, expected)
    )
    assert rows(",".join(escaped)) == expected
    assert rows(json.loads(json.dumps(expected))) == expected


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=9))
def test_whatever_is_given_is_read_or_refused(anything: object) -> None:
    try:
        found = rows(anything)
    except ValueError:
        return
    assert rows(found) == found
