"""Numbers of instances, and which earlier configurations a task may not run with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubedcos.config import cluster
from kubedcos.config.lineage import Lineage, numbers


def test_new_instances_take_the_lowest_free_numbers() -> None:
    assert numbers((), 3) == (0, 1, 2)
    assert numbers((0, 1, 4), 5) == (0, 1, 2, 3, 4)


def test_the_highest_go_first_and_nobody_is_renumbered() -> None:
    assert numbers((0, 1, 2, 3, 4), 3) == (0, 1, 2)
    assert numbers((0, 2, 5), 2) == (0, 2)


def test_named_ones_go_before_the_highest() -> None:
    assert numbers((0, 1, 2, 3, 4), 4, {3}) == (0, 1, 2, 4)
    assert numbers((0, 1, 2, 3, 4), 3, {1}) == (0, 2, 3)


def test_a_number_that_was_just_removed_is_not_given_out_in_the_same_change() -> None:
    assert numbers((0, 1, 2), 3, {1}) == (0, 2, 3)
    assert numbers((0, 2), 3) == (0, 1, 2)


@given(
    known=st.sets(st.integers(0, 30)), count=st.integers(0, 30), removed=st.sets(st.integers(0, 30))
)
def test_count_is_kept_and_survivors_keep_their_numbers(
    known: set[int], count: int, removed: set[int]
) -> None:
    after = numbers(known, count, removed)
    assert len(after) == len(set(after)) == count
    assert list(after) == sorted(after)
    assert not set(after) & known & removed
    if len(known - removed) <= count:
        assert known - removed <= set(after)
    else:
        assert set(after) <= known - removed


def test_a_task_of_an_earlier_configuration_has_a_reason_only_if_its_options_changed() -> None:
    before = cluster.load("node: {mem_mb: 2048, count: 7}", "test")
    now = cluster.load("", "test")
    past = Lineage(3, {1: before, 2: now})
    assert past.reasons(now, "kube-node", "kubelet") == {
        0: "node.mem_mb: 2048 -> 1024",
        1: "node.mem_mb: 2048 -> 1024",
    }
    assert past.reasons(now, "kube-node", "coredns") == {}
    assert past.reasons(now, "etcd", "peer") == {}
