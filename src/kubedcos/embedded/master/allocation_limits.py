"""What keeps agents from being offered: the pause after an election, and the whitelist."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_READ_INTERVAL: Final = 5.0


@dataclass(frozen=True, slots=True)
class AllocationPause:
    """With quota, a new leader offers nothing until it knows most of what the cluster has.

    Attributes:
        agents: that many registered ones end the pause.
        until: when it ends anyway.
    """

    agents: int
    until: float

    def over(self, registered: int, now: float) -> bool:
        """Whether it has ended."""
        return registered >= self.agents or now >= self.until


class Whitelist:
    """Host names in a file, one a line, read again every 5 s; without a file all agents pass."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._hosts: frozenset[str] | None = None
        self._read_again = 0.0

    def hosts(self, now: float) -> frozenset[str] | None:
        """The names, `None` for all; a file that cannot be read leaves what was read last."""
        if self._path is not None and now >= self._read_again:
            self._read_again = now + _READ_INTERVAL
            try:
                lines = self._path.read_text(encoding="utf-8").split("\n")
                self._hosts = frozenset(filter(None, lines))
            except (OSError, UnicodeDecodeError) as error:
                _log.error("the whitelist %s cannot be read: %s", self._path, error)
        return self._hosts
