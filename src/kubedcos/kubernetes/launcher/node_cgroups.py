"""The cgroup of a node's Mesos task, v1 or v2, made fit for pods below it.

Travels to the task beside `supervise_node`, which runs on it.
"""

from __future__ import annotations

import errno
import glob
import os
import sys

MEBIBYTE = 1 << 20
SPARE_MEMORY = 64 * MEBIBYTE
"""Of the task's memory: what containerd, shims and kubelet may take between two looks."""
STEP_MEMORY = 8 * MEBIBYTE
"""Smaller changes of the pods' limit are not worth it."""
KUBELET_CONTROLLERS = ("cpu", "cpuset", "hugetlb", "memory", "pids")
"""Without one of these in its cgroup v2, where the kernel has it, a kubelet does not start."""


class Failure(Exception):
    """The node cannot run here; the text says why."""


def say(text: str) -> None:
    """Write a line to the task's log."""
    print(f"node: {text}", file=sys.stderr, flush=True)


def read(path: str) -> str:
    """Text of a small file."""
    with open(path) as file:
        return file.read()


def write(path: str, text: str) -> None:
    """Write a small file."""
    with open(path, "w") as file:
        file.write(text)


class Cgroups:
    """The task's own cgroup, made fit for pods below it.

    Attributes:
        root: path of the cgroup within each hierarchy, for the kubelet's ``cgroupRoot``.
    """

    def __init__(self) -> None:
        self.mounts = self._mounts()
        self.unified = "" in self.mounts and "memory" not in self.mounts
        own = self._own()
        path = own.get("" if self.unified else "memory", "/")
        if path == "/":
            raise Failure(
                "Mesos gave this task no memory cgroup of its own; a node needs agents with "
                "--isolation=cgroups/cpu,cgroups/mem"
            )
        self.root = os.path.dirname(path) if self.unified and path.endswith("/leaf") else path
        ours = {point for name, point in self.mounts.items() if own.get(name) == path}
        self._foreign = set(self.mounts.values()) - ours
        self._made: list[str] = []

    @staticmethod
    def _mounts() -> dict[str, str]:
        """Mount point of each hierarchy: key is a controller, ``name=…``, or empty for v2."""
        found: dict[str, str] = {}
        for line in read("/proc/self/mountinfo").splitlines():
            left, right = line.split(" - ", 1)
            point, (kind, _, options) = left.split()[4], right.split()
            if kind == "cgroup2":
                found.setdefault("", point)
            elif kind == "cgroup":
                for option in options.split(","):
                    if option not in ("rw", "ro", "xattr", "clone_children"):
                        found.setdefault(option, point)
        return found

    @staticmethod
    def _own() -> dict[str, str]:
        """Path of this process in each hierarchy, with the same keys."""
        paths: dict[str, str] = {}
        for line in read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                paths[controller] = path
        return paths

    def prepare(self) -> None:
        """Make the cgroup exist wherever the kubelet looks for it."""
        if self.unified:
            self._prepare_unified()
            return
        points = set(self.mounts.values())  # runc puts pods into the unified one as well
        self._sweep()
        for point in sorted(points):
            path = point
            for part in self.root.strip("/").split("/"):
                parent, path = path, os.path.join(path, part)
                if not os.path.isdir(path):
                    os.mkdir(path)
                    self._made.append(path)
                self._fill_cpuset(parent, path)

    @staticmethod
    def _fill_cpuset(parent: str, path: str) -> None:
        """A new cpuset has no CPUs and no memory nodes, and takes no process until it has."""
        for name in ("cpuset.cpus", "cpuset.mems"):
            file = os.path.join(path, name)
            if os.path.exists(file) and not read(file).strip():
                write(file, read(os.path.join(parent, name)))

    def _sweep(self) -> None:
        """Remove what tasks that were killed hard left in hierarchies that Mesos does not use.

        In the others Mesos may just be making a cgroup that is still empty.
        """
        parent = os.path.dirname(self.root)
        if parent == "/":
            return
        alive = set(os.listdir(self.mounts["memory"] + parent))
        for point in self._foreign:
            for path in glob.glob(f"{point}{parent}/*/"):
                if os.path.basename(path.rstrip("/")) not in alive:
                    remove_cgroup(path.rstrip("/"))

    def _prepare_unified(self) -> None:
        """Processes may only be in leaves: move ours into one, then share controllers out.

        From the top on: Mesos shares out what its own isolators use, and a kubelet needs more.
        """
        base = self.mounts[""] + self.root
        leaf = os.path.join(base, "kubedcos")
        if read(os.path.join(base, "cgroup.procs")).strip():
            os.makedirs(leaf, exist_ok=True)
            for pid in read(os.path.join(base, "cgroup.procs")).split():
                write(os.path.join(leaf, "cgroup.procs"), pid)
        path = self.mounts[""]
        for part in self.root.strip("/").split("/"):
            self._share_out(path, set(KUBELET_CONTROLLERS))
            path = os.path.join(path, part)
        self._share_out(base, set(read(os.path.join(base, "cgroup.controllers")).split()))

    @staticmethod
    def _share_out(path: str, wanted: set[str]) -> None:
        """Let the cgroups below `path` have these controllers, as far as it has them itself."""
        there = read_or_nothing(os.path.join(path, "cgroup.controllers")).split()
        shared = read_or_nothing(os.path.join(path, "cgroup.subtree_control")).split()
        for controller in there:
            if controller in wanted and controller not in shared:
                try:
                    write(os.path.join(path, "cgroup.subtree_control"), f"+{controller}")
                except OSError as error:
                    say(f"{path} cannot share {controller} out: {error.strerror}")

    def pods(self) -> str:
        """Folder of the cgroup that all pods are below."""
        return f"{self.mounts['' if self.unified else 'memory']}{self.root}/kubepods"

    def bound_pods(self) -> None:
        """Keep for the node's own programs what they need of the task's memory.

        They live in the same grant as the pods. If pods could use all of it, the task's own limit
        would be hit first, and Mesos would end the node where one pod should end.
        """
        name = "memory.max" if self.unified else "memory.limit_in_bytes"
        top = os.path.dirname(self.pods())
        limit = read_or_nothing(f"{top}/{name}").strip()
        file = f"{self.pods()}/{name}"
        current = read_or_nothing(file).strip()
        if not current or not limit.isdigit():
            return
        if self.unified:
            others = [path for path in glob.glob(f"{top}/*/") if path != f"{self.pods()}/"]
            own = sum(memory_stat(path, "anon") for path in others)
        else:
            own = memory_stat(top, "rss")
        most = max(int(limit) - own - SPARE_MEMORY, STEP_MEMORY)
        if current.isdigit() and most - STEP_MEMORY < int(current) <= most:
            return
        try:
            write(file, str(most // STEP_MEMORY * STEP_MEMORY))
        except OSError as error:
            # Busy: more is in use and cannot be had back at once. The next look tries again.
            if error.errno != errno.EBUSY:
                say(f"{file} stays at {current}: {error.strerror}")

    def pod_processes(self) -> list[int]:
        """All processes of all pods."""
        files = glob.glob(f"{self.pods()}/**/cgroup.procs", recursive=True)
        return [int(pid) for file in files for pid in read_or_nothing(file).split()]

    def remove(self) -> None:
        """Remove the pods' cgroups and those that `prepare` made; leave Mesos' own to Mesos."""
        for point in {self.mounts[""]} if self.unified else set(self.mounts.values()):
            remove_cgroup(f"{point}{self.root}/kubepods")
        for path in reversed(self._made):
            remove_cgroup(path)


def memory_stat(folder: str, name: str) -> int:
    """A number out of a cgroup's ``memory.stat``; 0 when it is not there."""
    for line in read_or_nothing(os.path.join(folder, "memory.stat")).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def read_or_nothing(path: str) -> str:
    """Text of a file that may vanish at any time."""
    try:
        return read(path)
    except OSError:
        return ""


def remove_cgroup(path: str) -> None:
    """Remove a cgroup and all below it, as far as they are empty."""
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)
        except OSError as error:
            say(f"{folder} stays: {error.strerror}")
