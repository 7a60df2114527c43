"""Notices that the kernel found the container's memory limit too small (cgroup v1 and v2)."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Any

from kubedcos.embedded.agent.executor import kernel_files


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
        return kernel_files.fields(self.directory / "memory.events.local").get("oom", 0)

    def report(self) -> dict[str, Any]:
        """What the agent needs to tell: limit and highest use in bytes, and the statistics."""
        names = ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
        limit, peak = names if self.version == 1 else ("memory.max", "memory.peak")
        most = kernel_files.number(self.directory / limit) or 0
        parts = kernel_files.fields(self.directory / "memory.stat") if self.version == 2 else {}
        return {
            "version": self.version,
            "parts": {name: parts.get(name, 0) for name in ("anon", "file", "kernel")},
            "limit": most,
            "peak": kernel_files.number(self.directory / peak) or most,
            "statistics": kernel_files.text(self.directory / "memory.stat"),
        }
