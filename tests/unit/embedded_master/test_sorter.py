"""Whose turn it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubedcos.embedded.master.sorter import Sorter

TOTAL = {"cpus": 100_000, "mem": 100_000}


def sorter(
    *clients: str, weights: dict[str, float] | None = None, **more: frozenset[str]
) -> Sorter:
    made = Sorter(TOTAL, weights, **more)
    for client in clients:
        made.activate(client)
    return made


def test_the_smaller_dominant_share_comes_first() -> None:
    roles = sorter("a", "b")
    roles.hold("a", {"cpus": 10_000, "mem": 1_000})
    roles.hold("b", {"cpus": 2_000, "mem": 9_000})
    assert roles.order() == ["b", "a"]
    roles.allocated("b", {"mem": 2_000})
    assert roles.order() == ["a", "b"]


def test_weights_divide_shares() -> None:
    roles = sorter("a", "b", weights={"a": 2.0})
    roles.hold("a", {"cpus": 15_000})
    roles.hold("b", {"cpus": 10_000})
    assert roles.order() == ["a", "b"]


def test_equal_shares_go_by_turns_and_then_by_name() -> None:
    roles = sorter("b", "a", "c")
    assert roles.order() == ["a", "b", "c"]
    roles.allocated("a", {})
    assert roles.order() == ["b", "c", "a"]
    roles.hold("b", {}, turns=5)
    assert roles.order() == ["c", "a", "b"]


def test_what_children_hold_counts_for_their_parent() -> None:
    roles = sorter("a/x", "a/y", "b")
    roles.hold("a/x", {"cpus": 6_000})
    roles.hold("a/y", {"cpus": 6_000})
    roles.hold("b", {"cpus": 10_000})
    assert roles.order() == ["b", "a/x", "a/y"]


def test_a_parent_competes_with_its_children_under_its_own_name() -> None:
    roles = sorter("a", "a/x", "b", weights={"a": 4.0, "a/x": 2.0})
    roles.hold("a", {"cpus": 10_000})
    roles.hold("a/x", {"cpus": 15_000})
    roles.hold("b", {"cpus": 8_000})
    # The weight of `a` is for all below it; its own place there has the weight 1.
    assert roles.order() == ["a/x", "a", "b"]


def test_excluded_resources_do_not_count() -> None:
    roles = sorter("a", "b", excluded=frozenset({"mem"}))
    roles.hold("a", {"mem": 90_000})
    roles.hold("b", {"cpus": 1_000})
    assert roles.order() == ["a", "b"]


def test_who_is_not_active_is_not_listed_but_weighs_on_its_parent() -> None:
    roles = sorter("a/x", "b")
    roles.hold("a/y", {"cpus": 5_000})
    assert roles.order() == ["b", "a/x"]


STEPS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5_000)), max_size=40)


@given(steps=STEPS, weight=st.sampled_from([0.5, 1.0, 3.0]))
def test_the_order_kept_up_is_the_order_made_anew(
    steps: list[tuple[str, int]], weight: float
) -> None:
    names = {"a": "a", "b": "a/x", "c": "a/x/y", "d": "b", "e": "b/z", "f": "c"}
    weights = {"a": weight, "b/z": weight}
    kept = sorter(*names.values(), weights=weights)
    kept.order()
    for name, amount in steps:
        kept.allocated(names[name], {"cpus": amount})
        kept.order()
    anew = sorter(*names.values(), weights=weights)
    for name, amount in steps:
        anew.hold(names[name], {"cpus": amount}, turns=1)
    assert list(kept.order()) == list(anew.order())
