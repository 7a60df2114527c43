"""What of a ContainerInfo the embedded agent cannot give, though Mesos could. Pure."""

from __future__ import annotations

from typing import Final

from kubedcos.mesos.messages import ContainerInfo

_VOLUMES: Final = frozenset({"DOCKER_VOLUME", "SECRET", "CSI_VOLUME"})


def unsupported(container: ContainerInfo, isolators: frozenset[str]) -> str | None:
    """The first wish that cannot be fulfilled, as a sentence; None when there is none.

    What Mesos ignores for want of an isolator is ignored here, too.
    """
    wish = _wish(container, isolators)
    return f"the embedded agent does not support {wish}" if wish else None


def _wish(container: ContainerInfo, isolators: frozenset[str]) -> str | None:
    if container.type != "MESOS":
        return f"containers of type {container.type}"
    if container.mesos is not None and container.mesos.image is not None:
        return "container images"
    for volume in container.volumes:
        kind = volume.source.type if volume.source else None
        if volume.image is not None or kind in _VOLUMES:
            word = "image" if volume.image is not None else kind
            return f"{word} volumes, only HOST_PATH, SANDBOX_PATH and persistent ones"
    linux = container.linux_info
    if linux is not None and linux.seccomp is not None and "linux/seccomp" in isolators:
        return "seccomp"
    return "tty_info" if container.tty_info is not None else None
