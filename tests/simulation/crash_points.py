"""At which effects a process is killed: some of them in `make test`, all of them in `make soak`."""

from __future__ import annotations

import os
from typing import Final

EVERY: Final = os.environ.get("SIMULATION_EFFECTS", "") == "all"
_MOST: Final = 16
"""A story is played anew for each; with so many the slowest takes a few seconds."""


def crash_points(first: int, last: int, *, every: bool = EVERY) -> tuple[int, ...]:
    """Numbers of effects from `first` to `last`, the same ones each time.

    Effects come in pairs, before and after something is done. With an odd stride both are met.
    """
    stride = 1 if every else max(1, (last - first) // _MOST) | 1
    return tuple(range(first, last + 1, stride))
