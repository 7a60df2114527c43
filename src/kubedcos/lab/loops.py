"""Loop devices that a lab's hosts attached: they belong to the machine and outlive containers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedcos.lab.program import Runner, run


@dataclass(frozen=True, slots=True)
class Tree:
    """Files of a container.

    Attributes:
        listed: where all of them are found.
        seen: the same tree as the container sees it; overlayfs gives its files another device
            number than they have below.
    """

    listed: Path
    seen: Path


def attached(trees: Iterable[Tree], *, runner: Runner = run) -> list[str]:
    """Loop devices whose backing file lies in one of `trees`.

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
    for tree in trees:
        for path in tree.listed.rglob("*"):
            try:
                status = (tree.seen / path.relative_to(tree.listed)).lstat()
            except OSError:
                continue
            number = status.st_dev
            name = devices.get((os.major(number), os.minor(number), status.st_ino))
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
