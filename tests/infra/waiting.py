"""Conditions with a deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tests.waiting import wait_until

T = TypeVar("T")


def until(look: Callable[[], T], wanted: str, *, seconds: float, pause: float = 0.3) -> T:
    """What `look` returns as soon as that is true; the test fails when it takes too long."""
    return wait_until(look, seconds, wanted, pause=pause)
