"""The cgroups of containers: made, read, and taken away with everything in them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from kubedcos.embedded.agent.cgroup_layout import (
    LEAF,
    V2_CONTROLLERS,
    CgroupPlan,
    Hierarchy,
    Limits,
    limit_files,
)
from kubedcos.embedded.agent.executor import kernel_files
from kubedcos.errors import KubedcosError


class CgroupError(KubedcosError):
    """The kernel refused something; the text names the file."""


class Cgroups:
    """Containers' cgroups at ``<hierarchy>/<root>/<container id>``. All methods block briefly."""

    def __init__(self, plan: CgroupPlan, root: str) -> None:
        self.plan = plan
        self.root = root

    def prepare(self) -> None:
        """Make the root cgroup in every hierarchy that is used.

        Raises:
            CgroupError: not permitted, a controller cannot be passed on (v2), or swap is not
                accounted (v1).
        """
        for hierarchy in self.plan.hierarchies():
            if hierarchy.unified:
                self._enable(hierarchy.mount)
            directory = hierarchy.mount / self.root
            _make(directory)
            if hierarchy.unified:
                self._enable(directory)
        memory = self.plan.hierarchy("memory")
        if self.plan.limits_swap and memory is not None:
            swap = memory.mount / self.root / "memory.memsw.limit_in_bytes"
            if not swap.exists():
                raise CgroupError(
                    "Failed to create isolator 'cgroups/mem': 'memory.memsw.limit_in_bytes' is "
                    "not available"
                )

    def create(self, container_id: str, limits: Limits) -> None:
        """Make the container's cgroups and set its limits; raises CgroupError."""
        for hierarchy in self.plan.hierarchies():
            directory = self._directory(hierarchy, container_id)
            _make(directory)
            if hierarchy.unified:
                _make(directory / LEAF)
                self._enable(directory)
        self._limit(container_id, limits, kept=frozenset())

    def update(self, container_id: str, limits: Limits) -> None:
        """Set other limits; the hard one of memory only grows, as in Mesos; raises CgroupError."""
        name = "memory.limit_in_bytes" if self.plan.version == 1 else "memory.max"
        hierarchy, wanted = self.plan.hierarchy("memory"), limits.hard_memory
        kept: frozenset[str] = frozenset()
        if hierarchy is not None and wanted is not None:
            now = kernel_files.text(self._directory(hierarchy, container_id) / name).strip()
            kept = frozenset({name} if not now.isdigit() or int(now) > wanted else ())
        self._limit(container_id, limits, kept=kept)

    def _limit(self, container_id: str, limits: Limits, *, kept: frozenset[str]) -> None:
        for controller, name, text in limit_files(self.plan, limits):
            hierarchy = self.plan.hierarchy(controller)
            if hierarchy is not None and name not in kept:
                _write(self._directory(hierarchy, container_id) / name, text)

    def join_files(self, container_id: str) -> list[str]:
        """The `cgroup.procs` files that the container's first process joins."""
        return [
            str(self._directory(h, container_id) / (LEAF if h.unified else "") / "cgroup.procs")
            for h in self.plan.hierarchies()
        ]

    def memory(self, container_id: str) -> dict[str, object] | None:
        """Where the executor watches the memory limit; None when there is none."""
        hierarchy = self.plan.hierarchy("memory")
        if hierarchy is None or not self.plan.limits_memory:
            return None
        directory = str(self._directory(hierarchy, container_id))
        return {"version": self.plan.version, "directory": directory}

    def oom_kills(self, container_id: str) -> int:
        """How often the kernel killed for the container's own limit of memory.

        With cgroup v2 ``memory.events`` has the kills below it, too, which are a kubelet's affair.
        """
        hierarchy = self.plan.hierarchy("memory")
        if hierarchy is None:
            return 0
        name, field = "memory.events.local", "oom"
        if self.plan.version == 1:
            name, field = "memory.oom_control", "oom_kill"
        return kernel_files.fields(self._directory(hierarchy, container_id) / name).get(field, 0)

    def containers(self) -> set[str]:
        """Names of all containers that have a cgroup in any hierarchy of ours."""
        found: set[str] = set()
        for hierarchy in self.plan.hierarchies():
            with contextlib.suppress(OSError):
                found |= {e.name for e in os.scandir(hierarchy.mount / self.root) if e.is_dir()}
        return found

    def processes(self, container_id: str) -> set[int]:
        """Everything that runs in the container, in whichever hierarchy it is seen."""
        pids: set[int] = set()
        for directory in self._all_directories(container_id):
            pids |= _pids(directory)
        return pids - {0, os.getpid()}

    def destroy(self, container_id: str, timeout: float) -> None:
        """Kill everything in the container and remove its cgroups in every hierarchy.

        Args:
            container_id: may have none: then nothing happens.
            timeout: seconds.

        Raises:
            CgroupError: something was still there in the end.
        """
        deadline = time.monotonic() + timeout
        while True:
            pids = self.processes(container_id)
            if pids:
                self._kill(container_id, pids)
            elif self._remove(container_id):
                self._tidy()
                return
            if time.monotonic() > deadline:
                left = ", ".join(str(path) for path in self._all_directories(container_id))
                raise CgroupError(f"container {container_id}: still there: {left}")
            time.sleep(0.02)

    def _kill(self, container_id: str, pids: set[int]) -> None:
        """SIGKILL, with the container frozen meanwhile so that nobody can fork away."""
        top = [self._directory(h, container_id) for h in self.plan.swept]
        for directory in top:
            with contextlib.suppress(OSError):
                if (directory / "cgroup.kill").exists():
                    (directory / "cgroup.kill").write_text("1")
        freezers = [path for path in top if (path / "freezer.state").exists()]
        for path in freezers:
            with contextlib.suppress(OSError):
                (path / "freezer.state").write_text("FROZEN")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in freezers:
            for directory in _tree(path):
                with contextlib.suppress(OSError):
                    (directory / "freezer.state").write_text("THAWED")

    def _remove(self, container_id: str) -> bool:
        """Remove the empty cgroups, children first; False when one of them is still busy."""
        gone = True
        for directory in list(self._all_directories(container_id)):
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone

    def _tidy(self) -> None:
        """Remove our root where only a container made it, in hierarchies that we do not use."""
        ours = self.plan.hierarchies()
        for hierarchy in self.plan.swept:
            if hierarchy not in ours:
                with contextlib.suppress(OSError):
                    (hierarchy.mount / self.root).rmdir()

    def _all_directories(self, container_id: str) -> Iterator[Path]:
        for hierarchy in self.plan.swept:
            yield from _tree(self._directory(hierarchy, container_id))

    def _directory(self, hierarchy: Hierarchy, container_id: str) -> Path:
        return hierarchy.mount / self.root / container_id

    def _enable(self, directory: Path) -> None:
        """Pass the controllers on to the children of a v2 cgroup."""
        available = kernel_files.text(directory / "cgroup.controllers").split()
        enabled = kernel_files.text(directory / "cgroup.subtree_control").split()
        missing = [name for name in V2_CONTROLLERS if name in available and name not in enabled]
        if missing:
            text = " ".join(f"+{name}" for name in missing)
            _write(directory / "cgroup.subtree_control", text)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise CgroupError(f"cannot make cgroup {directory}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise CgroupError(f"cannot write {text!r} to {path}: {error.strerror}") from error


def _pids(directory: Path) -> set[int]:
    return {int(line) for line in kernel_files.text(directory / "cgroup.procs").split()}


def _tree(directory: Path) -> Iterator[Path]:
    """`directory` and all below it, children first."""
    try:
        children = [entry.path for entry in os.scandir(directory) if entry.is_dir()]
    except OSError:
        return
    for child in children:
        yield from _tree(Path(child))
    yield directory
