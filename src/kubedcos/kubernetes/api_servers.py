"""Which of several kube-apiservers the framework scheduler asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kubedcos.clock import Clock

AVOIDED: Final = 30.0
"""Seconds for which one that did not answer is asked only if there is no other."""


class ApiServers:
    """Remembers which API servers did not answer lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent: dict[str, float] = {}

    def silent(self, address: str) -> None:
        """The one at `address` did not answer."""
        self._silent[address] = self._clock.monotonic()

    def choose(self, addresses: Sequence[str]) -> str | None:
        """The first that answers as far as is known; else the one that was silent longest ago."""
        now = self._clock.monotonic()
        self._silent = {a: at for a, at in self._silent.items() if now - at < AVOIDED}
        return min(addresses, key=lambda address: self._silent.get(address, -1.0), default=None)
