"""namespaces/pid and namespaces/ipc."""

from __future__ import annotations

from kubedcos.embedded.agent.executor.kernel import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_STRICTATIME,
)
from kubedcos.embedded.agent.isolators.preparation import (
    ContainerRefused,
    Mount,
    Preparation,
    Wish,
)

MB = 1 << 20


def prepare_pid(into: Preparation, wish: Wish, *, sharing_allowed: bool) -> None:
    """A PID namespace with a /proc of its own, unless a top-level container shares the agent's.

    Args:
        into: what is added to.
        wish: of the container.
        sharing_allowed: false with `--disallow_sharing_agent_pid_namespace`.

    Raises:
        ContainerRefused: it wants to share, and may not.
    """
    linux = wish.container.linux_info if wish.container else None
    shared = linux is not None and bool(linux.share_pid_namespace)
    if shared and not sharing_allowed:
        raise ContainerRefused(
            "Sharing agent pid namespace with top-level container is not allowed"
        )
    if not shared:
        into.namespaces.add("pid")
        into.mounts.append(Mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "proc"))


def prepare_ipc(
    into: Preparation, wish: Wish, *, sharing_allowed: bool, shm_size: int | None
) -> None:
    """An IPC namespace, and a /dev/shm when the mode is PRIVATE.

    Args:
        into: what is added to.
        wish: of the container.
        sharing_allowed: false with `--disallow_sharing_agent_ipc_namespace`.
        shm_size: `--default_container_shm_size` in bytes; None leaves it to the kernel.

    Raises:
        ContainerRefused: the mode is unknown, may not be shared, or takes no size.
    """
    linux = wish.container.linux_info if wish.container else None
    mode = linux.ipc_mode if linux is not None else None
    if linux is not None and linux.shm_size is not None:
        if mode != "PRIVATE":
            raise ContainerRefused(
                "Only support specifying the size of /dev/shm when the IPC mode is `PRIVATE`"
            )
        shm_size = linux.shm_size * MB
    if mode == "UNKNOWN":
        raise ContainerRefused("Unknown IPC mode")
    if mode == "SHARE_PARENT" and not wish.nested and not sharing_allowed:
        raise ContainerRefused(
            "Sharing agent IPC namespace with top-level container is not allowed"
        )
    if mode == "PRIVATE" or (mode is None and not wish.nested):
        into.namespaces.add("ipc")
    if mode == "PRIVATE":
        options = "mode=1777" if shm_size is None else f"mode=1777,size={shm_size}"
        flags = MS_NOSUID | MS_NODEV | MS_STRICTATIME
        into.mounts.append(Mount("tmpfs", "/dev/shm", flags, "tmpfs", options))  # noqa: S108  its own
