"""Says on stderr which of how many artefacts is under way, and for how long."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

QUIET_INTERVAL = 20.0
"""Seconds between two lines about the same work where lines cannot be overwritten."""


class Progress(Protocol):
    """Where long work reports to."""

    def working(
        self, label: str, first: int, last: int, total: int
    ) -> contextlib.AbstractContextManager[None]:
        """Mark the work inside the `with` as artefact `first` to `last` of `total`."""
        ...

    def note(self, text: str) -> None:
        """Say one sentence."""
        ...


def spell_duration(seconds: float) -> str:
    """Minutes and seconds, such as ``0:42``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Silent:
    """Reports nothing."""

    @contextlib.contextmanager
    def working(self, label: str, first: int, last: int, total: int) -> Iterator[None]:
        """Nothing."""
        del label, first, last, total
        yield

    def note(self, text: str) -> None:
        """Nothing."""


class StreamProgress:
    """Lines on a stream; on a terminal one line that counts, for everything that is under way."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._live = stream.isatty()
        self._lock = threading.Lock()
        self._under_way: dict[str, float] = {}

    def note(self, text: str) -> None:
        """Say one sentence on a line of its own."""
        with self._lock:
            self._stream.write(("\r\x1b[K" if self._live else "") + text + "\n")
            self._stream.flush()

    @contextlib.contextmanager
    def working(self, label: str, first: int, last: int, total: int) -> Iterator[None]:
        """Show the work with its duration until it ends."""
        which = f"artefact {first}" if first == last else f"artefacts {first}-{last}"
        text = f"{which} of {total}  {label}"
        start = self._monotonic()
        ended = threading.Event()
        self._under_way[text] = start
        self._show(text, 0.0)
        ticker = threading.Thread(
            target=self._tick, args=(text, start, ended), name="progress", daemon=True
        )
        ticker.start()
        end = "not from here"
        try:
            yield
            end = "done"
        finally:
            ended.set()
            ticker.join()
            del self._under_way[text]
            self.note(f"{text}  {spell_duration(self._monotonic() - start)}  {end}")

    def _tick(self, text: str, start: float, ended: threading.Event) -> None:
        while not ended.wait(1.0 if self._live else QUIET_INTERVAL):
            self._show(text, self._monotonic() - start)

    def _show(self, text: str, seconds: float) -> None:
        with self._lock:
            if self._live:
                self._stream.write(f"\r\x1b[K{self._line(text, seconds)}")
            else:
                self._stream.write(f"{text}  {spell_duration(seconds)}\n")
            self._stream.flush()

    def _line(self, text: str, seconds: float) -> str:
        """All that is under way, cut to the terminal's width: a longer line could not be erased."""
        now = seconds + self._under_way[text]
        parts = [
            f"{other}  {spell_duration(now - start)}"
            for other, start in tuple(self._under_way.items())
        ]
        return "  |  ".join(parts)[: shutil.get_terminal_size().columns - 1]
