"""Containers at work: sandbox, cgroups, executor process, and the end of everything in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kubedcos.embedded.agent.cgroup_layout import Limits
from kubedcos.embedded.agent.cgroups import Cgroups
from kubedcos.embedded.agent.durable import link, write_file
from kubedcos.embedded.agent.executor import proctree
from kubedcos.embedded.agent.executor import run as executor_entry
from kubedcos.embedded.agent.host_mounts import containers_with_mounts, unmount_all
from kubedcos.embedded.agent.isolators.cni import Networks
from kubedcos.embedded.agent.isolators.preparation import ContainerRefused
from kubedcos.embedded.agent.paths import Layout, Run
from kubedcos.errors import KubedcosError

SANDBOX_MODE: Final = 0o750
CONNECT_TIMEOUT: Final = 5.0


class StillThere(KubedcosError):
    """Something of a container could not be removed."""


def user_of(name: str) -> dict[str, Any]:
    """A user's name, uid and gid.

    Raises:
        ContainerRefused: there is no such user.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise ContainerRefused(
            f"Failed to get user information for '{name}': no such user"
        ) from error
    return {"name": entry.pw_name, "uid": entry.pw_uid, "gid": entry.pw_gid}


class Containers:
    """Starts, finds and ends the containers of one agent."""

    def __init__(
        self, layout: Layout, cgroups: Cgroups, networks: Networks, *, destroy_timeout: float
    ) -> None:
        """See `paths`, `cgroups` and `isolators.cni`.

        Args:
            layout: where things are.
            cgroups: of this agent.
            networks: of this agent.
            destroy_timeout: seconds that ending a container may take.
        """
        self.layout = layout
        self.cgroups = cgroups
        self.networks = networks
        self.destroy_timeout = destroy_timeout
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def make_sandbox(self, agent_id: str, run: Run, owner: tuple[int, int] | None) -> Path:
        """Make the sandbox with its two logs, and let `latest` point at it."""
        sandbox = self.layout.sandbox(agent_id, run)
        sandbox.mkdir(parents=True, exist_ok=True)
        sandbox.chmod(SANDBOX_MODE)
        for name in ("stdout", "stderr"):
            (sandbox / name).touch(0o644)
        if owner is not None:
            for path in (sandbox, sandbox / "stdout", sandbox / "stderr"):
                os.chown(path, *owner)
        link(sandbox.parent / "latest", run.container_id)
        return sandbox

    def start(
        self, agent_id: str, run: Run, description: Mapping[str, Any], limits: Limits
    ) -> None:
        """Start the executor. When this returns it listens, and whoever connects finds it.

        Raises:
            ContainerRefused: the machine refused something.
        """
        container_id = run.container_id
        meta = self.layout.run(agent_id, run)
        sandbox = Path(description["sandbox"])
        try:
            self.cgroups.create(container_id, limits)
            launch = dict(description)
            joined = {"cgroups": self.cgroups.join_files(container_id)}
            launch["enclosure"] = dict(description.get("enclosure") or {}) | joined
            launch["memory"] = self.cgroups.memory(container_id)
            write_file(meta / "launch.json", json.dumps(launch).encode())
            listener = listen(self.layout.socket(container_id))
            with (
                listener,
                (sandbox / "stdout").open("ab") as out,
                (sandbox / "stderr").open("ab") as err,
            ):
                self._children[container_id] = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-S", executor_entry.__file__),
                        *(str(meta / "launch.json"), str(listener.fileno())),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=sandbox,
                    env={
                        "PATH": os.environ.get("PATH", os.defpath),
                        "LC_ALL": "C.UTF-8",
                        # The mark by which `kill_marked` finds what has no cgroup.
                        "MESOS_SANDBOX": str(sandbox),
                    },
                    pass_fds=(listener.fileno(),),
                    start_new_session=True,
                )
        except (OSError, KubedcosError) as error:
            raise ContainerRefused(str(error)) from error

    def found(self) -> set[str]:
        """Ids of all containers that left a cgroup, a socket, a mount or a network."""
        sockets = self.layout.runtime_dir / "executors"
        names = {path.stem for path in sockets.glob("*.sock")}
        mounts = containers_with_mounts(self.layout.work_dir)
        return names | self.cgroups.containers() | mounts.keys() | self.networks.containers()

    async def connect(
        self, container_id: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the executor, or None when there is none any more."""
        path = self.layout.socket(container_id)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                with short_path(path) as short:
                    return await asyncio.open_unix_connection(short)
        except (OSError, TimeoutError):
            return None

    async def destroy(self, agent_id: str, run: Run) -> None:
        """End everything in the container and remove its traces outside of the sandbox.

        Raises:
            KubedcosError: something is still there.
        """
        await asyncio.to_thread(self._destroy, agent_id, run)
        await self.networks.detach(run.container_id)

    def _destroy(self, agent_id: str, run: Run) -> None:
        child = self._children.pop(run.container_id, None)
        if self.cgroups.plan.version:
            self.cgroups.destroy(run.container_id, self.destroy_timeout)
        kill_marked(str(self.layout.sandbox(agent_id, run)))
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.wait()
        try:
            unmount_all(containers_with_mounts(self.layout.work_dir).get(run.container_id, []))
        except OSError as error:
            raise StillThere(str(error)) from error
        self.layout.socket(run.container_id).unlink(missing_ok=True)


def listen(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, for this user only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(path) as short:
        listener.bind(short)
    path.chmod(0o600)
    listener.listen(8)
    return listener


class short_path:  # noqa: N801  used like a function
    """A name for a socket that fits into the 107 bytes a socket's address may have."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> str:
        if len(str(self._path)) < 100:
            return str(self._path)
        self._fd = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._fd}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def kill_marked(sandbox: str) -> None:
    """Kill whatever carries the container's mark in its environment (containers without cgroup).

    Mesos' posix launcher kills the process tree; the mark finds those who left the tree, too.
    """
    mark = f"MESOS_SANDBOX={sandbox}".encode()
    own = os.getpid()
    for _ in range(50):
        everything = [p for p in proctree.processes() if p.pid != own and p.state != "Z"]
        marked = {p.pid for p in everything if _carries(p.pid, mark)}
        if not marked:
            return
        for pid in marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _carries(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
