"""How statuses of children add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.plan.status import Status, aggregate

P, R, S, T, C, D, E, W, IP = (
    Status.PENDING,
    Status.PREPARED,
    Status.STARTING,
    Status.STARTED,
    Status.COMPLETE,
    Status.DELAYED,
    Status.ERROR,
    Status.WAITING,
    Status.IN_PROGRESS,
)


@pytest.mark.parametrize(
    ("children", "candidates", "expected"),
    [
        ([], [], C),
        ([C, C], [], C),
        ([C, E, P], [P], E),
        ([D, D], [D], D),
        ([R, P], [R], IP),
        ([C, P], [P], IP),
        ([C, S], [S], IP),
        ([C, T], [T], IP),
        ([C, D], [D], D),
        ([C, W], [W], W),
        ([P, P], [P], P),
        ([S, P], [S], S),
        ([T, P], [T], T),
        ([IP, P], [IP], IP),
        ([D, P], [D], D),
    ],
)
def test_the_order_of_the_rules(
    children: list[Status], candidates: list[Status], expected: Status
) -> None:
    assert aggregate(children, candidates) is expected


def test_an_interrupted_parent_waits_unless_it_is_complete() -> None:
    assert aggregate([P, C], [P], interrupted=True) is W
    assert aggregate([C], [], interrupted=True) is C


@given(st.lists(st.sampled_from([s for s in Status if s is not E]), min_size=1))
def test_without_an_error_among_the_children_the_parent_is_not_in_error(
    children: list[Status],
) -> None:
    open_ones = [status for status in children if status is not C]
    for candidates in (open_ones, open_ones[:1]):
        status = aggregate(children, candidates)
        assert status is not E
        assert (status is C) == (not open_ones)
