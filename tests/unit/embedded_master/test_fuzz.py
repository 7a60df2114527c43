"""Random and mutated calls of frameworks, operators and agents, against a master in process.

Whatever comes in: no exception, nothing changed by what was refused, and the books balance. What
was found so stands below as a test of its own. `pytest --hypothesis-profile=deep` looks longer,
and elsewhere each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .driven import Driven, check
from .random_calls import OPERATOR, Callers

READS = ("GET_STATE", "GET_ROLES", "GET_METRICS", "GET_MASTER")
PATHS = ("/state", "/state-summary", "/slaves", "/roles", "/tasks")


@pytest.fixture
def master() -> Iterator[Driven]:
    made = Driven()
    yield made
    made.close()


@given(seed=st.integers(0, 2**32), steps=st.integers(20, 60))
def test_nothing_that_is_sent_breaks_the_master(seed: int, steps: int) -> None:
    master = Driven()
    try:
        callers = Callers(master, Random(seed))
        for _ in range(steps):
            before = master.snapshot()
            answer = callers.anything()
            if answer is not None and not answer.ok:
                assert master.snapshot() == before, answer
            check(master.state)
        read_everything(master)
    finally:
        master.close()


def read_everything(master: Driven) -> None:
    before = master.snapshot()
    for kind in READS:
        answer = master.call(OPERATOR, {"type": kind, "get_metrics": {}})
        assert answer.status == 200
        json.loads(answer.text, parse_constant=no_constant)
    for path in PATHS:
        json.loads(master.send(path, b"", method="GET").text, parse_constant=no_constant)
    assert master.snapshot() == before


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
