"""Signals that wait while a program is being started: until it is known, nobody could end it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals_held() -> Iterator[None]:
    """Meanwhile SIGINT, SIGTERM and SIGHUP wait; afterwards they come, in their order.

    A program that is started meanwhile has none of them blocked. Python tells signals to the main
    thread alone, so in any other there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    kept = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(handler := signal.getsignal(number))
    }
    try:
        for number in kept:
            signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    for which in came:
        signal.raise_signal(which)
