"""A misspelt group is found; groups of the user's own are not."""

from __future__ import annotations

import pytest

from kubedcos.topology.groups import misspelt_groups

GOOD = {"masters": ["m1"], "agents": ["a1"], "bootstrap": ["m1"], "public_agents": []}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("agent", "agents"),
        ("master", "masters"),
        ("bootstrp", "bootstrap"),
        ("zookeper", "zookeeper"),
    ],
)
def test_a_misspelt_group_is_named_with_the_right_one(name: str, meant: str) -> None:
    groups = {**GOOD, meant: [], name: ["x1"]}
    (problem,) = misspelt_groups(groups)
    assert (problem.where, problem.fix) == (f"group {name}", f"Did you mean {meant}?")
    assert "x1" in problem.seen


def test_other_groups_pass() -> None:
    assert misspelt_groups({**GOOD, "agents_old": ["a1"], "rack7": ["a1"], "agent": []}) == []
