"""Notices that the kernel found the container's memory limit too small (cgroup v1 and v2)."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Any


class MemoryWatch:
    """A descriptor that becomes readable when the limit of the container's own cgroup was hit.

    Limits of cgroups below it (a kubelet's pods) are their owner's affair and do not count.
    """

    def __init__(self, version: int, directory: str) -> None:
        """Watch the memory cgroup `directory` of cgroup `version` 1 or 2."""
        self.version = version
        self.directory = Path(directory)
        self._before = self._local_events()
        if version == 1:
            self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._control = os.open(self.directory / "memory.oom_control", os.O_RDONLY)
            registration = f"{self.fd} {self._control}"
            (self.directory / "cgroup.event_control").write_text(registration)
            self.poll_mask = select.POLLIN
        else:
            self.fd = os.open(self.directory / "memory.events.local", os.O_RDONLY)
            os.read(self.fd, 4096)
            self.poll_mask = select.POLLPRI

    def exceeded(self) -> bool:
        """Whether the limit was hit since the watch began; clears the descriptor."""
        if self.version == 1:
            try:
                os.eventfd_read(self.fd)
            except BlockingIOError:
                return False
            return True
        os.lseek(self.fd, 0, os.SEEK_SET)
        os.read(self.fd, 4096)
        return self._local_events() > self._before

    def _local_events(self) -> int:
        if self.version == 1:
            return 0
        return _fields(self.directory / "memory.events.local").get("oom", 0)

    def report(self) -> dict[str, Any]:
        """What the agent needs to tell: limit and highest use in bytes, and the statistics."""
        names = ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
        limit, peak = names if self.version == 1 else ("memory.max", "memory.peak")
        parts = _fields(self.directory / "memory.stat") if self.version == 2 else {}
        return {
            "version": self.version,
            "parts": {name: parts.get(name, 0) for name in ("anon", "file", "kernel")},
            "limit": _number(self.directory / limit),
            "peak": _number(self.directory / peak) or _number(self.directory / limit),
            "statistics": _text(self.directory / "memory.stat"),
        }


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0


def _fields(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
