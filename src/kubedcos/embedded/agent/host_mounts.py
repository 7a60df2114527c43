"""Mounts of the host: the table of them, and what the agent adds to it for its containers.

Persistent volumes are mounted in the host's namespace, below the sandbox, as in Mesos: operators
see them there, and containers by propagation. The work directory is made a shared mount of its own
for that, so that what is unmounted goes from all containers, too.
"""

from __future__ import annotations

import os
from pathlib import Path

from kubedcos.embedded.agent.executor.kernel import (
    MNT_DETACH,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_SHARED,
    mount,
    unmount,
)
from kubedcos.embedded.agent.executor.mount_table import mount_of, mount_table


def ensure_shared(directory: Path) -> None:
    """Let `directory` be a shared mount in a peer group of its own; raises OSError.

    What is mounted below it later is seen by all containers, and gone from them once unmounted.
    """
    real = os.path.realpath(directory)
    table = mount_table()
    entry = mount_of(real, table)
    above = [each for each in table if real.startswith(each.target.rstrip("/") + "/")]
    if entry.shared is not None and not any(
        each is not entry and each.shared == entry.shared for each in above
    ):
        return
    if entry.target != real:
        mount(real, real, "", MS_BIND)
    mount("", real, "", MS_PRIVATE)
    mount("", real, "", MS_SHARED)


def bind(source: Path, target: Path, *, read_only: bool) -> None:
    """Mount `source` on `target`, once; raises OSError."""
    if any(entry.target == os.path.realpath(target) for entry in mount_table()):
        return
    mount(str(source), str(target), "", MS_BIND | (MS_RDONLY if read_only else 0))


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below `directory`; raises OSError."""
    real = os.path.realpath(directory)
    table = [entry.target for entry in mount_table()]
    unmount_all([each for each in table if each == real or each.startswith(real + "/")])


def unmount_all(targets: list[str]) -> None:
    """Unmount these, the last first; raises OSError."""
    for target in reversed(targets):
        # Detached at once, whoever still holds it: nothing may be deleted through it.
        unmount(target, MNT_DETACH)


def containers_with_mounts(work_dir: Path) -> dict[str, list[str]]:
    """Mounts in sandboxes, oldest first, by the container's id."""
    prefix = os.path.realpath(work_dir) + "/slaves/"
    found: dict[str, list[str]] = {}
    for entry in mount_table():
        # AGENT/frameworks/FRAMEWORK/executors/EXECUTOR/runs/CONTAINER/…
        parts = entry.target.removeprefix(prefix).split("/")
        if entry.target.startswith(prefix) and parts[5:6] == ["runs"] and len(parts) > 6:
            found.setdefault(parts[6], []).append(entry.target)
    return found
