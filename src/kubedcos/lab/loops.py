"""Loop devices that a lab's hosts attached: they belong to the machine and outlive containers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kubedcos.lab.program import Runner, run


def attached(roots: Iterable[Path], *, runner: Runner = run) -> list[str]:
    """Loop devices whose backing file lies below one of `roots`.

    The kernel names a backing file as the container saw it, so files are told by device and inode.
    """
    answer = runner(
        ["losetup", "--list", "--json", "--output", "NAME,BACK-INO,BACK-MAJ:MIN"], check=False
    )
    if not answer.stdout.strip():
        return []
    devices: dict[tuple[int, int, int], str] = {}
    for entry in json.loads(answer.stdout).get("loopdevices", []):
        key = _key(entry)
        if key is not None:
            devices[key] = str(entry["name"])
    if not devices:
        return []
    found = []
    for root in roots:
        for path in root.rglob("*"):
            try:
                status = path.lstat()
            except OSError:
                continue
            major, minor = status.st_dev >> 8 & 0xFFF, status.st_dev & 0xFF
            name = devices.get((major, minor, status.st_ino))
            if name is not None:
                found.append(name)
    return sorted(set(found))


def detach(names: Iterable[str], *, runner: Runner = run) -> list[str]:
    """Detach the loop devices `names`; one that is in use goes when its last user does."""
    return [
        name for name in names if runner(["losetup", "--detach", name], check=False).returncode == 0
    ]


def _key(entry: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Device and inode of the backing file; none when there is no file."""
    device = entry.get("back-maj:min")
    inode = entry.get("back-ino")
    if not device or not inode:
        return None
    major, minor = str(device).strip().split(":")
    return int(major), int(minor), int(inode)
