"""Virtual time: an event loop that never waits, and a clock that reads it."""

from __future__ import annotations

import asyncio
import selectors
from typing import Final

EPOCH: Final = 1_800_000_000.0
"""What a `LoopClock` shows when its loop begins, in seconds since 1970."""


class Stuck(Exception):
    """Everybody waits for somebody else, and no time that passes would help."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Where others sleep, this one moves its clock; nothing outside the process is ever heard.

    So a run depends on nothing but what happens in it, and an hour costs what happens in an hour.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Patience(self))

    def time(self) -> float:
        """Seconds since the loop began."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Time passes; within a callback this is a process that blocks."""
        self._now += seconds


class LoopClock:
    """The running event loop's time; a wrong clock is `ahead` of it by so many seconds."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def time(self) -> float:
        """Seconds since 1970."""
        return EPOCH + self.ahead + self.monotonic()

    def monotonic(self) -> float:
        """Seconds since the loop began."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait by the running event loop."""
        await asyncio.sleep(seconds)


class _Patience(selectors.SelectSelector):
    """Instead of waiting for files it lets time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("nothing is due any more")
        if timeout > 0:
            self._loop.pass_time(timeout)
        return []
