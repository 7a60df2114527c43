"""Mesos' matching of ACLs, and that no call goes unasked."""

from __future__ import annotations

from typing import Any

import pytest

from kubedcos.embedded.acls import ACTIONS, Acls, read_acls
from kubedcos.embedded.master import api_operator, authorization, visible
from kubedcos.errors import InvalidInput

ANY = {"type": "ANY"}
NONE = {"type": "NONE"}


def some(*values: str) -> dict[str, Any]:
    return {"values": list(values)}


def acls(action: str, *entries: tuple[Any, Any], permissive: bool = True) -> Acls:
    objects = next(each.objects for each in ACTIONS if each.name == action)
    listed = [{"principals": who, objects: what} for who, what in entries]
    return read_acls({action: listed, "permissive": permissive})


def test_the_first_entry_that_matches_both_decides() -> None:
    rules = acls("run_tasks", (some("a"), some("root")), (some("a"), NONE), (ANY, ANY))
    assert rules.allow("a", "run_tasks", "root")
    assert not rules.allow("a", "run_tasks", "nobody")
    assert rules.allow("b", "run_tasks", "nobody")


@pytest.mark.parametrize("permissive", [True, False])
def test_without_a_match_permissive_decides(permissive: bool) -> None:
    rules = acls("run_tasks", (some("a"), NONE), permissive=permissive)
    assert rules.allow("b", "run_tasks", "root") is permissive
    assert rules.allow("b", "view_tasks", "root") is permissive
    assert not rules.allow("a", "run_tasks", "root")


@pytest.mark.parametrize(
    ("who", "what", "asked", "allowed"),
    [
        # Who did not have to say who he is, and any object, match ANY and NONE only.
        (some("a"), ANY, (None, "x"), True),
        (ANY, some("x"), ("a", None), True),
        (ANY, ANY, (None, None), True),
        (NONE, ANY, ("a", "x"), False),
        (ANY, NONE, (None, None), False),
        (some("a", "b"), some("x", "y"), ("b", "y"), True),
    ],
)
def test_the_matrices_of_mesos(who: Any, what: Any, asked: Any, allowed: bool) -> None:
    rules = acls("run_tasks", (who, what))
    assert rules.allow(asked[0], "run_tasks", asked[1]) is allowed


def test_roles_below_another() -> None:
    rules = acls("register_frameworks", (some("a"), some("eng/%", "ops")), (ANY, NONE))
    for role, allowed in (("eng/dev", True), ("eng/a/b", True), ("ops", True), ("eng", False)):
        assert rules.allow("a", "register_frameworks", role) is allowed
    assert not rules.allow("a", "register_frameworks", "english/x")
    # Only of roles; a user may be called so.
    assert not acls("run_tasks", (ANY, some("eng/%")), (ANY, NONE)).allow("a", "run_tasks", "eng/x")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"run_task": []}, "run_task: found no action of Mesos"),
        ({"run_tasks": [{"principals": ANY}]}, "Missing required fields: run_tasks[0].users"),
        ({"run_tasks": [{"principals": ANY, "users": ANY, "user": ANY}]}, "run_tasks[0].user"),
        ({"run_tasks": [{"principals": {"type": "NNOE"}, "users": ANY}]}, "SOME, ANY or NONE"),
        ({"run_tasks": [{"principals": {"value": ["a"]}, "users": ANY}]}, "type and values"),
        (
            {"view_flags": [{"principals": ANY, "flags": some("x")}]},
            "ACL.ViewFlags type must be either NONE or ANY",
        ),
        (
            {"get_endpoints": [{"principals": ANY, "paths": some("/state")}]},
            "Path: '/state' is not an authorizable path",
        ),
        ([], "Expecting a JSON object"),
    ],
)
def test_what_is_wrong_is_named(value: Any, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_acls(value)
    assert told in str(caught.value)


def test_flags_show_the_file_as_protobuf_text() -> None:
    rules = read_acls(
        {
            "permissive": False,
            "view_roles": [{"principals": some('a"b'), "roles": ANY}],
            "run_tasks": [],
        }
    )
    assert rules.text() == (
        "permissive: false\nview_roles {\n  principals {\n"
        '    values: "a\\"b"\n  }\n  roles {\n    type: ANY\n  }\n}\n'
    )


def test_every_call_asks_for_permission_hides_or_is_open() -> None:
    kinds = set(api_operator.CALLS)
    asked = set(authorization.NEEDED) | authorization.ASKED_LATER | authorization.OPEN
    assert kinds - asked - set(visible._CALLS) == set()
    assert set(authorization.NEEDED) <= kinds
