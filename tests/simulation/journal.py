"""What happened in a run: a digest of all of it, and the last lines in words."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from typing import Final

from kubedcos.mesos import messages as wire

_KEPT: Final = 40


class Journal:
    """Every line counts for the digest; the last ones are kept.

    Two runs with the same digest had the same messages with the same ids at the same times.
    """

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._last: deque[tuple[float, str, bytes]] = deque(maxlen=_KEPT)
        self.lines = 0

    @property
    def digest(self) -> str:
        """Of everything so far."""
        return self._digest.hexdigest()

    def note(self, kind: str, what: bytes) -> None:
        """One line."""
        now = asyncio.get_running_loop().time()
        self.lines += 1
        self._digest.update(b"%.9f %s " % (now, kind.encode()))
        self._digest.update(what)
        self._last.append((now, kind, what))

    def message(self, kind: str, message: wire.Message) -> None:
        """A message, unless it only says that its sender is there."""
        if not (isinstance(message, wire.Event) and message.type == "HEARTBEAT"):
            self.note(kind, wire.encode(message))

    def tail(self, width: int = 230) -> list[str]:
        """The last lines, the longest cut."""
        return [
            f"{now:10.3f} {kind}: {what[:width].decode(errors='replace')}"
            for now, kind, what in self._last
        ]
