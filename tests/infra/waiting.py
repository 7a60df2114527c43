"""Conditions with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def until(look: Callable[[], T], wanted: str, *, seconds: float, pause: float = 0.3) -> T:
    """What `look` returns as soon as that is true; the test fails when it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {wanted}; last seen: {found!r}")
        time.sleep(pause)
