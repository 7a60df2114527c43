"""Puts the executor's process into its container: cgroups, namespaces, mounts, name.

The launch description's part for it (``enclosure``, all of it optional):

``cgroups`` (`cgroup.procs` files to join), ``network_namespace`` (file to enter), ``namespaces``
(new ones: mnt, uts, ipc, pid), ``shared_mounts`` (mount points that stay shared with the host),
``mounts`` ([{``source``, ``target``, ``kind``, ``flags``, ``options``}]), ``hostname``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kubedcos.embedded.agent.executor.mount_table import mount_of, mount_table

Spec = dict[str, Any]


def enter(enclosure: Spec, leave: Callable[[], None]) -> int:
    """Enter the container.

    Args:
        enclosure: see above.
        leave: called in the process that stays outside when a PID namespace is made; it must end
            that process. The container's first process goes on.

    Returns:
        The process' id in the host's PID namespace.

    Raises:
        OSError: something was refused; its text names it.
    """
    for path in enclosure.get("cgroups") or ():
        Path(path).write_text(str(os.getpid()))
    names = set(enclosure.get("namespaces") or ())
    network = enclosure.get("network_namespace")
    if not names and not network:
        return os.getpid()
    from kubedcos.embedded.agent.executor import kernel  # noqa: PLC0415  a MB not all need

    if network:
        kernel.enter(network, "net")
    kernel.unshare(names)
    if "pid" in names:
        if os.fork() != 0:
            leave()
        os.setsid()
    # /proc is still the host's, and says who we are there.
    pid = int(str(Path("/proc/self").readlink()))
    if "mnt" in names:
        _mount_all(enclosure)
    if enclosure.get("hostname") and "uts" in names:
        socket.sethostname(enclosure["hostname"])
    return pid


def _mount_all(enclosure: Spec) -> None:
    from kubedcos.embedded.agent.executor import kernel  # noqa: PLC0415  see above

    shared = set(enclosure.get("shared_mounts") or ())
    if shared:
        for entry in reversed(mount_table()):
            if entry.target not in shared:
                kernel.mount("", entry.target, "", kernel.MS_SLAVE)
    else:
        kernel.mount("", "/", "", kernel.MS_SLAVE | kernel.MS_REC)
    for mount in enclosure.get("mounts") or ():
        target = Path(mount["target"])
        if shared and mount_of(str(target), mount_table()).shared:
            text = f"Cannot perform mount '{target}' because the target is under a shared mount"
            raise OSError(text)
        _make_target(Path(mount["source"]), target)
        kernel.mount(mount["source"], str(target), mount["kind"], mount["flags"], mount["options"])


def _make_target(source: Path, target: Path) -> None:
    """A mount point that is missing becomes what the source is."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.exists() and not source.is_dir():
        target.touch()
    else:
        target.mkdir()


def try_limits(limits: Iterable[Spec], set_limits: Callable[[list[Spec]], None]) -> str | None:
    """Why the resource limits cannot be set, tried by a child; None when they can."""
    wanted = list(limits)
    if not wanted:
        return None
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for limit in wanted:
            try:
                set_limits([limit])
            except (OSError, ValueError, AttributeError) as error:
                text = f"Failed to set {limit.get('type')} limit: {error}"
                os.write(writer, text.encode())
                break
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    problem = os.read(reader, 4096).decode()
    os.close(reader)
    return problem or None
