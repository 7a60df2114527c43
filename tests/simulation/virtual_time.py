"""Clocks that read the virtual time of the event loop that runs them."""

from __future__ import annotations

import asyncio
from typing import Final

from kubedcos.embedded.simulation.virtual_time import VirtualLoop

__all__ = ["EPOCH", "LoopClock", "VirtualLoop"]

EPOCH: Final = 1_800_000_000.0


class LoopClock:
    """The event loop's time; `ahead` is by how many seconds a wrong clock is ahead of it."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def time(self) -> float:
        return EPOCH + self.ahead + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
