"""Persistent volumes: their directories, which come and go with the master's list of resources."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from kubedcos.embedded.agent.host_mounts import bind
from kubedcos.embedded.agent.paths import Layout
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import Resource
from kubedcos.mesos.resources import is_volume, reservation_role


class VolumeError(KubedcosError):
    """A volume cannot be made, given to a container, or erased."""


def volume_directory(layout: Layout, volume: Resource) -> Path:
    """Where a persistent volume's data lies: root disk, PATH disk, or the whole MOUNT disk.

    Raises:
        VolumeError: of a kind that the embedded agent does not have.
    """
    disk = volume.disk
    if disk is None or disk.persistence is None:
        raise VolumeError(f"{volume.name} is no persistent volume")
    role, name, source = reservation_role(volume), disk.persistence.id, disk.source
    if source is None:
        return layout.volume(role, name)
    if source.type == "PATH" and source.path is not None and source.path.root:
        return layout.volume(role, name, _absolute(layout, source.path.root))
    if source.type == "MOUNT" and source.mount is not None and source.mount.root:
        return Path(_absolute(layout, source.mount.root))
    raise VolumeError(f"The embedded agent has no disks of type {source.type}")


def _absolute(layout: Layout, root: str) -> str:
    """A disk's root; relative ones are below the work directory."""
    return root if root.startswith("/") else str(layout.work_dir / root)


def volumes_of(resources: Iterable[Resource]) -> dict[tuple[str, str], Resource]:
    """Persistent volumes by role and id."""
    found = {}
    for resource in resources:
        if is_volume(resource) and resource.disk and resource.disk.persistence:
            found[reservation_role(resource), resource.disk.persistence.id] = resource
    return found


def make(layout: Layout, volume: Resource) -> None:
    """Make the directory of a new volume; one that is there is left as it is.

    Raises:
        VolumeError: in Mesos' words, with the kernel's reason.
    """
    directory = volume_directory(layout, volume)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"Failed to create the volume directory '{directory}': {error.strerror}"
        raise VolumeError(text) from error


def erase(layout: Layout, volume: Resource) -> None:
    """Erase a volume's data; the root of a MOUNT disk stays, empty. Raises as `make`."""
    directory = volume_directory(layout, volume)
    source = volume.disk.source if volume.disk else None
    try:
        if source is not None and source.type == "MOUNT":
            for entry in os.scandir(directory):
                _remove(Path(entry.path))
        else:
            _remove(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        text = f"Failed to erase the volume '{directory}': {error.strerror}"
        raise VolumeError(text) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def give(
    layout: Layout,
    sandbox: Path,
    resources: Iterable[Resource],
    owner: tuple[int, int] | None,
    *,
    mounted: bool,
) -> None:
    """Put the task's volumes into its sandbox at their container paths.

    Args:
        layout: where volumes lie.
        sandbox: of the task.
        resources: of the task.
        owner: user and group of the task; volumes become theirs, unless root's.
        mounted: as mounts (filesystem/linux); otherwise as links, which cannot be read-only.

    Raises:
        VolumeError: the volume is not there, or its path leaves the sandbox or is taken.
    """
    for volume in volumes_of(resources).values():
        directory = volume_directory(layout, volume)
        wanted = volume.disk.volume if volume.disk else None
        path = wanted.container_path if wanted else ""
        if not directory.is_dir():
            raise VolumeError(f"Persistent volume '{directory}' does not exist")
        if not path or path.startswith("/") or ".." in Path(path).parts:
            raise VolumeError(f"Volume path '{path}' must be relative and within the sandbox")
        if owner is not None and owner[0] != 0:
            os.chown(directory, *owner)
        target = sandbox / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if mounted:
                target.mkdir(exist_ok=True)
                read_only = wanted is not None and wanted.mode == "RO"
                bind(directory, target, read_only=read_only)
            else:
                target.symlink_to(directory)
        except OSError as error:
            word = "mount persistent volume from" if mounted else "symlink persistent volume from"
            text = f"Failed to {word} '{directory}' to '{target}': {error.strerror}"
            raise VolumeError(text) from error


def apply(layout: Layout, before: Iterable[Resource], after: Iterable[Resource]) -> None:
    """Make the volumes that are new in `after`, erase those that are gone from it."""
    old, new = volumes_of(before), volumes_of(after)
    for key in new.keys() - old.keys():
        make(layout, new[key])
    for key in old.keys() - new.keys():
        erase(layout, old[key])
