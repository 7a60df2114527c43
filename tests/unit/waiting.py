"""Conditions with a deadline, where what brings them about tells nobody."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

DEADLINE = 60.0
"""Seconds; only what fails takes so long."""


async def until(condition: Callable[[], Any], seconds: float = DEADLINE) -> None:
    """Return once `condition` is true; the test fails after that long."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what changes tells nobody
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], Any], seconds: float = DEADLINE) -> None:
    """The same for a test that has no event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it never came true within {seconds:.0f} s"
        time.sleep(0.01)
