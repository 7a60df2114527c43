"""Work that may be done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def again(work: Callable[[bool], _T], *, seconds: float, passing: type[Exception]) -> _T:
    """What `work` returns once it does not fail with what passes.

    Args:
        work: is told whether it may have been done already.
        seconds: after so many a failure that passes is raised, too. One try takes what it takes.
        passing: such as a lost connection, which comes back while a session is kept.
    """
    deadline, tried = time.monotonic() + seconds, False
    while True:
        try:
            return work(tried)
        except passing:
            if time.monotonic() > deadline:
                raise
            tried = True
