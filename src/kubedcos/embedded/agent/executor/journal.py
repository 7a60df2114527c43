"""The append-only record of a container's life, written by its executor and read by the agent.

One JSON object per line. A line is written by one `write` call, so a reader sees it entirely or
not at all; a torn last line (the machine stopped) is left unread.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class JournalWriter:
    """Appends records; each one is in the file when `append` returns."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)

    def append(self, record: Record) -> None:
        """Write `record` as one line."""
        os.write(self._fd, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file; nothing is buffered."""
        os.close(self._fd)


class JournalReader:
    """Reads on from where it stopped, also in a new process given the same `offset`."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def read(self) -> list[Record]:
        """The complete records since the last call; none when the file is not there yet."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self.offset += len(complete)
        return [json.loads(line) for line in complete.splitlines() if line.strip()]
