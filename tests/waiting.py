"""Conditions with a deadline, where what brings them about tells nobody."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds; only what fails takes so long."""
PAUSE = 0.01
"""Seconds between two looks."""
Passing = type[Exception] | tuple[type[Exception], ...]


async def until(
    look: Callable[[], T | Awaitable[T]],
    seconds: float = DEADLINE,
    *,
    passing: Passing = (),
    pause: float = PAUSE,
) -> T:
    """What `look` returns once that is true; the test fails after that long.

    Args:
        look: a function, which may be a coroutine's.
        seconds: until when it has to be true.
        passing: what may fail meanwhile, as long as it is not there yet.
        pause: between two looks, in seconds.
    """
    last: object = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    seen = look()
                    found: T = await seen if inspect.isawaitable(seen) else seen
                    if found:
                        return found
                    last = found
                except passing as error:
                    last = error
                await asyncio.sleep(pause)
    except TimeoutError:
        raise AssertionError(_late(seconds, "it never came true", last)) from None


def wait_until(
    look: Callable[[], T],
    seconds: float = DEADLINE,
    what: str = "it never came true",
    *,
    passing: Passing = (),
    pause: float = PAUSE,
) -> T:
    """The same for a test that has no event loop; `what` is waited for, in words."""
    deadline = time.monotonic() + seconds
    while True:
        last: object = None
        try:
            if found := look():
                return found
            last = found
        except passing as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(_late(seconds, what, last))
        time.sleep(pause)


def _late(seconds: float, what: str, last: object) -> str:
    return f"not within {seconds:g} s: {what}; last seen: {last!r}"
