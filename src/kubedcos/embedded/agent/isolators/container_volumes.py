"""Volumes in a ContainerInfo: HOST_PATH and SANDBOX_PATH. Order of checks and texts are Mesos'.

Unlike Mesos, a path that leaves the sandbox by ``..`` is refused: the agent is root and would make
directories anywhere.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path

from kubedcos.embedded.agent.executor.kernel import MS_BIND, MS_RDONLY, MS_REC
from kubedcos.embedded.agent.executor.mount_table import mount_of, mount_table
from kubedcos.embedded.agent.isolators.preparation import (
    ContainerRefused,
    Mount,
    Preparation,
    Wish,
)
from kubedcos.mesos.container_messages import HostPath, SandboxPath
from kubedcos.mesos.container_rules import volume_fault
from kubedcos.mesos.messages import Volume


def prepare(
    into: Preparation, wish: Wish, isolators: frozenset[str], creatable: tuple[str, ...] | None
) -> None:
    """Make mount points and links, and list the mounts.

    Args:
        into: what is added to.
        wish: of the container.
        isolators: of the agent.
        creatable: directories below which a missing host path is made
            (`--host_path_volume_force_creation`); None for nowhere.

    Raises:
        ContainerRefused: with Mesos' text.
    """
    volumes = wish.container.volumes if wish.container else ()
    linux = "filesystem/linux" in isolators
    if volumes and not linux and not wish.nested:
        raise ContainerRefused("Volumes in ContainerInfo is not supported")
    for volume in volumes:
        if fault := volume_fault(volume):
            raise ContainerRefused(f"Invalid volume: {fault}")
    if "volume/sandbox_path" in isolators:
        for volume in volumes:
            if (sandbox_path := _sandbox_path(volume)) is not None:
                _give_sandbox_path(into, wish, volume, sandbox_path, linux=linux)
    if linux:
        for volume in volumes:
            if (host_path := _host_path(volume)) is not None:
                _give_host_path(into, wish, volume, host_path, creatable)


def _sandbox_path(volume: Volume) -> SandboxPath | None:
    """The path in a sandbox that a volume is, if it is one; a relative `host_path` is, too."""
    if volume.host_path is not None and not volume.host_path.startswith("/"):
        return SandboxPath(volume.host_path, "SELF")
    if volume.source is not None and volume.source.type == "SANDBOX_PATH":
        assert volume.source.sandbox_path is not None
        path = volume.source.sandbox_path
        if path.path.startswith("/"):
            raise ContainerRefused(f"Path '{path.path}' in SANDBOX_PATH volume is absolute")
        return path
    return None


def _host_path(volume: Volume) -> HostPath | None:
    if volume.host_path is not None and volume.host_path.startswith("/"):
        return HostPath(volume.host_path)
    if volume.source is not None and volume.source.type == "HOST_PATH":
        assert volume.source.host_path is not None
        path = volume.source.host_path
        if not path.path.startswith("/"):
            raise ContainerRefused(f"Path '{path.path}' in HOST_PATH volume is not absolute")
        return path
    return None


def _give_sandbox_path(
    into: Preparation, wish: Wish, volume: Volume, path: SandboxPath, *, linux: bool
) -> None:
    absolute = volume.container_path.startswith("/")
    if not linux and absolute:
        raise ContainerRefused(
            "The 'linux' launcher and 'filesystem/linux' isolator must be enabled to support "
            "SANDBOX_PATH volume with absolute container path"
        )
    if path.type == "SELF":
        if not absolute:
            raise ContainerRefused("'container_path' is relative for SANDBOX_PATH volume SELF type")
        root = wish.sandbox
    elif path.type == "PARENT":
        if wish.parent_sandbox is None:
            raise ContainerRefused(
                "SANDBOX_PATH volume PARENT type only works for nested container"
            )
        root = wish.parent_sandbox
    else:
        raise ContainerRefused("Unknown SANDBOX_PATH volume type")
    source = _within(root, path.path)
    if not source.exists():
        try:
            source.mkdir(parents=True)
            owner = root.stat()
            os.chown(source, owner.st_uid, owner.st_gid)
        except OSError as error:
            text = f"Failed to create the directory '{source}' in the sandbox: {error.strerror}"
            raise ContainerRefused(text) from error
    if linux:
        target = _mount_point(wish, volume.container_path, source)
        into.mounts.append(_bind(source, target, volume))
        return
    link = _within(wish.sandbox, volume.container_path)
    try:
        link.symlink_to(source)
    except OSError as error:
        text = f"Failed to symlink '{source}' -> '{link}': {error.strerror}"
        raise ContainerRefused(text) from error


def _give_host_path(
    into: Preparation,
    wish: Wish,
    volume: Volume,
    path: HostPath,
    creatable: tuple[str, ...] | None,
) -> None:
    source = Path(path.path)
    if not source.exists():
        _create(path.path, creatable)
    target = _mount_point(wish, volume.container_path, source)
    if path.mount_propagation is not None and path.mount_propagation.mode == "BIDIRECTIONAL":
        into.shared_mounts.append(_shared_mount(path.path))
    # The same place in the host's filesystem, which the container shares, is there already.
    if path.path != str(target):
        into.mounts.append(_bind(source, target, volume))


def _create(path: str, creatable: tuple[str, ...] | None) -> None:
    missing = f"Path '{path}' in HOST_PATH volume does not exist"
    if creatable is None:
        raise ContainerRefused(missing)
    normal = posixpath.normpath(path)
    if not _is_below(normal, creatable):
        raise ContainerRefused(
            f"{missing} and is not whitelisted for creation: Path '{normal}' is not whitelisted"
        )
    try:
        Path(normal).mkdir(parents=True)
    except OSError as error:
        text = f"Failed to create the host path at '{path}': {error.strerror}"
        raise ContainerRefused(text) from error


def _is_below(path: str, directories: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in directories)


def _shared_mount(path: str) -> str:
    """The shared mount of the host that `path` lies on."""
    entry = mount_of(path, mount_table())
    if not entry.shared:
        raise ContainerRefused(
            f"Cannot setup bidirectional mount propagation for host path '{path}' because it is "
            "not under a shared mount"
        )
    return entry.target


def _mount_point(wish: Wish, container_path: str, source: Path) -> Path:
    """Where a volume is mounted; made inside the sandbox, an absolute one must be there."""
    if container_path.startswith("/"):
        if not Path(container_path).exists():
            raise ContainerRefused(
                f"Mount point '{container_path}' is an absolute path. It must exist if the "
                "container shares the host filesystem"
            )
        return Path(container_path)
    target = _within(wish.sandbox, container_path)
    try:
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    except OSError as error:
        text = f"Failed to create the mount point at '{target}': {error.strerror}"
        raise ContainerRefused(text) from error
    return target


def _within(root: Path, path: str) -> Path:
    if ".." in Path(path).parts:
        raise ContainerRefused(f"Volume path '{path}' must be within the sandbox")
    return root / path


def _bind(source: Path, target: Path, volume: Volume) -> Mount:
    read_only = MS_RDONLY if volume.mode == "RO" else 0
    return Mount(str(source), str(target), MS_BIND | MS_REC | read_only)
