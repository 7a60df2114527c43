"""Makes a failing schedule smaller, so that a person can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from .faults import Schedule, without

_TRIES: Final = 80


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """The smallest schedule found that still fails: first without halves, then single faults.

    Args:
        schedule: one that fails.
        fails: runs a schedule.
    """
    tries = _TRIES
    smaller = True
    while smaller:
        smaller = False
        for candidate in _simpler(schedule):
            if tries == 0:
                return schedule
            tries -= 1
            if fails(candidate):
                schedule, smaller = candidate, True
                break
    return schedule


def _simpler(found: Schedule) -> Iterator[Schedule]:
    """Schedules that differ in one thing and are simpler, the greatest steps first."""
    count, setting = len(found.faults), found.setting
    size = count // 2
    while size >= 1:
        for begin in range(0, count, size):
            yield without(found, range(begin, min(begin + size, count)))
        size //= 2
    if setting.delete is not None:
        yield replace(found, setting=replace(setting, delete=None))
    if setting.nodes > 1:
        yield replace(found, setting=replace(setting, nodes=1))
    if setting.etcd > 1:
        yield replace(found, setting=replace(setting, etcd=1))
