"""Removes what ended tasks left behind, once it is old enough or the disk fills up."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from kubedcos.clock import Clock
from kubedcos.embedded.agent.host_mounts import unmount_below
from kubedcos.embedded.agent.paths import Layout, Run


def longest_age(delay: float, headroom: float, usage: float) -> float:
    """How old, in seconds, a sandbox may become at a disk usage from 0 to 1, as Mesos reckons."""
    return delay * max(0.0, 1.0 - headroom - usage)


class SandboxGc:
    """Sandboxes and meta directories of ended runs.

    Attributes:
        removed: how many were removed.
        failed: how many could not be.
    """

    def __init__(self, layout: Layout, delay: float, headroom: float, clock: Clock) -> None:
        """See the flags `gc_delay` (seconds here) and `gc_disk_headroom`."""
        self.layout = layout
        self.delay = delay
        self.headroom = headroom
        self.clock = clock
        self.removed = 0
        self.failed = 0
        self._waiting: dict[Path, tuple[float, Path]] = {}

    @property
    def pending(self) -> int:
        """How many sandboxes wait for their time."""
        return len(self._waiting)

    def schedule(self, agent_id: str, run: Run) -> None:
        """A run is over; its age counts from the last change of its meta directory."""
        meta = self.layout.run(agent_id, run)
        try:
            since = meta.stat().st_mtime
        except OSError:
            since = self.clock.time()
        self._waiting[self.layout.sandbox(agent_id, run)] = since, meta

    def allowed_age(self) -> float:
        """The present limit in seconds."""
        size = os.statvfs(self.layout.work_dir)
        usage = 1.0 - size.f_bavail / size.f_blocks if size.f_blocks else 0.0
        return longest_age(self.delay, self.headroom, usage)

    def collect(self) -> None:
        """Remove what is too old; blocks while it deletes."""
        oldest = self.clock.time() - self.allowed_age()
        for sandbox, (since, meta) in list(self._waiting.items()):
            if since <= oldest:
                del self._waiting[sandbox]
                self._remove(sandbox, meta)

    def _remove(self, sandbox: Path, meta: Path) -> None:
        latest = sandbox.parent / "latest"
        for path in (sandbox, meta):
            try:
                # Never through a mount into a volume that outlives the sandbox.
                unmount_below(path)
                shutil.rmtree(path)
                self.removed += 1
            except FileNotFoundError:
                continue
            except OSError:
                self.failed += 1
        with contextlib.suppress(OSError):
            if latest.readlink().name == sandbox.name:
                latest.unlink()
        for path in (sandbox, meta):
            # runs, the executor, executors, and the framework when nothing else is in them
            for parent in list(path.parents)[:3]:
                with contextlib.suppress(OSError):
                    parent.rmdir()
