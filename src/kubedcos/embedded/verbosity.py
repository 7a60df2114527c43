"""How much a process logs, changed for a while by operators as in Mesos: `/logging/toggle`."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Final

from kubedcos.mesos.durations import duration

_LEADING_NUMBER: Final = re.compile(r"[0-9.]*")
_WHOLE: Final = re.compile(r"[+-]?[0-9]+")


def number_fault(text: str) -> str | None:
    """What Mesos says of a text that is no whole number."""
    return None if _WHOLE.fullmatch(text) else f"Failed to convert '{text}' to number"


def duration_fault(text: str) -> str | None:
    """What Mesos says of a text that is no duration."""
    try:
        duration(text)
    except ValueError:
        match = _LEADING_NUMBER.match(text)
        number = match[0] if match else ""
        if number == text:
            return f"Invalid duration '{text}'"
        if not number.replace(".", "", 1).isdigit():
            return f"Failed to convert '{number}' to number"
        return f"Unknown duration unit '{text[len(number) :]}'"
    return None


class Verbosity:
    """The level of verbose logging, 0 unless somebody raised it; above 0 debug lines are written.

    Args:
        logger: whose level is changed.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.level = 0
        self._logger = logger
        self._revert: asyncio.TimerHandle | None = None

    def set(self, level: int, seconds: float) -> None:
        """Another level for a while; any number is taken, as in Mesos."""
        if self._revert is not None:
            self._revert.cancel()
            self._revert = None
        self._set(level)
        if level != 0:
            loop = asyncio.get_running_loop()
            self._revert = loop.call_later(max(seconds, 0.0), self._set, 0)

    def _set(self, level: int) -> None:
        self.level = level
        self._logger.setLevel(logging.DEBUG if level > 0 else logging.NOTSET)

    def toggle(self, query: Mapping[str, str]) -> tuple[int, str]:
        """Status and text of `/logging/toggle`; an empty text means no body."""
        level, how_long = query.get("level"), query.get("duration")
        if level is None and how_long is None:
            return 200, f"{self.level}\n"
        if how_long is None:
            return 400, "Expecting 'duration=value' in query.\n"
        if level is None:
            return 400, "Expecting 'level=value' in query.\n"
        fault = number_fault(level)
        if fault is None and int(level) < 0:
            fault = f"Invalid level '{int(level)}'"
        fault = fault or duration_fault(how_long)
        if fault is not None:
            return 400, f"{fault}.\n"
        self.set(int(level), duration(how_long))
        return 200, ""
