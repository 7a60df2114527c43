"""How long something takes, as Mesos' metrics tell it: the last time, and how the times spread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PERCENTILES: Final = {
    "p50": 0.5,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
    "p9999": 0.9999,
}
_KEPT: Final = 1000


class Timer:
    """Durations in milliseconds, the newest of them kept."""

    def __init__(self) -> None:
        self._kept: deque[float] = deque(maxlen=_KEPT)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """What happens inside is measured."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._kept.append((time.perf_counter() - started) * 1000)

    def metrics(self, name: str) -> dict[str, float]:
        """Under `name`, nothing before the first measurement, no spread before the second."""
        if not self._kept:
            return {}
        shown = {name: self._kept[-1]}
        if len(self._kept) > 1:
            ordered = sorted(self._kept)
            shown |= {
                f"{name}/count": float(len(ordered)),
                f"{name}/min": ordered[0],
                f"{name}/max": ordered[-1],
            }
            for part, share in _PERCENTILES.items():
                shown[f"{name}/{part}"] = _percentile(ordered, share)
        return shown


def _percentile(ordered: list[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
