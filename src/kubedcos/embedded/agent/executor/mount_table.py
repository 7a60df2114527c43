"""The mounts of a process' namespace, as /proc/self/mountinfo lists them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MountEntry:
    """A line of /proc/self/mountinfo.

    Attributes:
        target: the mount point.
        shared: number of the peer group that it propagates to; None when it is not shared.
    """

    target: str
    shared: int | None = None


def parse_mount_table(text: str) -> tuple[MountEntry, ...]:
    """The entries of a mountinfo file, in order."""
    entries = []
    for line in filter(None, text.split("\n")):
        fields = line.split(" ")
        optional = fields[6 : fields.index("-", 6)]
        groups = [word.removeprefix("shared:") for word in optional if word.startswith("shared:")]
        target = fields[4].encode().decode("unicode_escape").encode("latin-1").decode()
        entries.append(MountEntry(target, int(groups[0]) if groups else None))
    return tuple(entries)


def mount_table() -> tuple[MountEntry, ...]:
    """The mounts of this process' namespace."""
    return parse_mount_table(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))


def mount_of(path: str, table: Iterable[MountEntry]) -> MountEntry:
    """The mount that `path` lies on: of those above it the longest, and of these the last."""
    real = os.path.realpath(path)
    found = MountEntry("/")
    for entry in table:
        inside = real == entry.target or real.startswith(entry.target.rstrip("/") + "/")
        if inside and len(entry.target) >= len(found.target):
            found = entry
    return found
