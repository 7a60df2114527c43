#!/usr/bin/env python3
"""Run containerd and a kubelet inside the mount namespace and the cgroup of their Mesos task.

Argument: a JSON file, see `run`. What this leaves on the host when it ends is the node's folder
with images; mounts are gone with the namespace, processes and cgroups with the task's own cgroup.

Exit codes: 0 told to end; 1 impossible on this host, or containerd or kubelet ended too often.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

PRIVATE = "/run/kubedcos-task"
CNI_NOTES = "/var/lib/cni"
"""Where libcni keeps the results of its calls."""
HOST_LOCAL_STORE = "/var/lib/cni/networks"
"""Where the plugin host-local keeps leases when its configuration does not say."""
MS_BIND, MS_REC = 0x1000, 0x4000
PR_SET_PDEATHSIG = 1
CONTAINERD_DEADLINE = 60.0
MOST_RESTARTS = 3
RESTART_WINDOW = 600.0
MEBIBYTE = 1 << 20
SPARE_MEMORY = 64 * MEBIBYTE
"""Of the task's memory: what containerd, shims and kubelet may take between two looks."""
STEP_MEMORY = 8 * MEBIBYTE
"""Smaller changes of the pods' limit are not worth it."""
LOOK_SECONDS = 1.0
KUBELET_CONTROLLERS = ("cpu", "cpuset", "hugetlb", "memory", "pids")
"""Without one of these in its cgroup v2, where the kernel has it, a kubelet does not start."""
TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""Kernel settings that a kubelet wants. They are the host's, which the node shares with others."""


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


# --- mounts --------------------------------------------------------------------------------------


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount, as the system call of that name does."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (source.encode(), target.encode(), kind.encode() if kind else None)
    if libc.mount(*arguments, ctypes.c_ulong(flags), data.encode()) != 0:
        raise Failure(f"mount {source} on {target}: {os.strerror(ctypes.get_errno())}")


def make_mounts(data: str) -> None:
    """The kubelet's and containerd's usual places, kept in `data` or in memory, for us alone."""
    for inner, place in (
        ("kubelet", "/var/lib/kubelet"),
        ("log/pods", "/var/log/pods"),
        ("log/containers", "/var/log/containers"),
        ("cni", CNI_NOTES),
    ):
        source = os.path.join(data, inner)
        os.makedirs(source, mode=0o700, exist_ok=True)
        os.makedirs(place, exist_ok=True)
        mount(source, place, None, MS_BIND | MS_REC)
    os.makedirs("/run/containerd", exist_ok=True)
    mount("node", "/run/containerd", "tmpfs", 0, "mode=0711,size=256m")
    # Pods of an earlier node on this host are gone; what it noted about them is not wanted.
    subprocess.run(["rm", "-rf", os.path.join(data, "kubelet", "pods")], check=False)


def filesystem_of(path: str) -> str:
    """Type of the filesystem that `path` is on."""
    best, kind = "", ""
    for line in read("/proc/self/mountinfo").splitlines():
        left, right = line.split(" - ", 1)
        point = left.split()[4]
        if (path + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


def show_tunables() -> None:
    """Let the kubelet see the kernel settings it wants, without changing those of the host."""
    for name, wanted in TUNABLES.items():
        path = f"/proc/sys/{name}"
        if not os.path.exists(path):
            continue
        seen = read(path).strip()
        if seen != wanted:
            say(f"{name.replace('/', '.')} is {seen}, a kubelet prefers {wanted}; left as it is")
            mask = os.path.join(PRIVATE, name.replace("/", "-"))
            write(mask, wanted)
            mount(mask, path, None, MS_BIND)


# --- cgroups -------------------------------------------------------------------------------------


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


# --- processes -----------------------------------------------------------------------------------


def die_with_parent() -> None:
    """In a child: end when this program is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A program that is started again when it ends, unless it ends too often."""

    def __init__(self, name: str, argv: list[str]) -> None:
        self.name = name
        self._argv = argv
        self._starts: list[float] = []
        self.child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts.append(time.monotonic())
        return subprocess.Popen(self._argv, preexec_fn=die_with_parent)  # noqa: PLW1509

    def keep_running(self) -> None:
        """Start it again if it ended.

        Raises:
            Failure: it ended too often.
        """
        status = self.child.poll()
        if status is None:
            return
        since = time.monotonic() - RESTART_WINDOW
        self._starts = [start for start in self._starts if start > since]
        if len(self._starts) > MOST_RESTARTS:
            raise Failure(f"{self.name} ended too often, last with status {status}")
        say(f"{self.name} ended with status {status}; starting it again")
        time.sleep(1)
        self.child = self._start()

    def stop(self, seconds: float) -> None:
        """End it: politely, then not."""
        self.child.terminate()
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def signal_all(pids: list[int], number: int) -> None:
    """Signal processes, some of which may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def end_pods(cgroups: Cgroups, seconds: float) -> None:
    """End all processes of pods: politely, then not."""
    signal_all(cgroups.pod_processes(), signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while cgroups.pod_processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    deadline = time.monotonic() + 5
    while (left := cgroups.pod_processes()) and time.monotonic() < deadline:
        signal_all(left, signal.SIGKILL)
        time.sleep(0.1)


def end_companions() -> None:
    """End what else shares our mount namespace: containerd's shims."""
    own = os.readlink("/proc/self/ns/mnt")
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if os.readlink(f"/proc/{entry}/ns/mnt") == own:
                    os.kill(int(entry), signal.SIGKILL)
            except OSError:
                continue


def remove_chains() -> None:
    """Remove the packet filter chains that every kubelet makes; pods' own ports are not in them."""
    for program in ("iptables", "ip6tables"):
        for chain in ("INPUT", "OUTPUT"):
            quietly(program, "-t", "filter", "-D", chain, "-j", "KUBE-FIREWALL")
        for table in ("filter", "mangle", "nat"):
            for chain in ("KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT"):
                quietly(program, "-w", "2", "-t", table, "-F", chain)
                quietly(program, "-w", "2", "-t", table, "-X", chain)


def quietly(*command: str) -> None:
    """Run a command that may have nothing to do."""
    try:
        subprocess.run(command, check=False, capture_output=True)
    except OSError as error:
        say(f"{command[0]}: {error.strerror}")


def wait_for_socket(path: str, program: Program) -> None:
    """Wait until containerd accepts connections."""
    deadline = time.monotonic() + CONTAINERD_DEADLINE
    while time.monotonic() < deadline:
        program.keep_running()
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
            except OSError:
                time.sleep(0.2)
                continue
            return
    raise Failure(f"containerd does not listen at {path}")


# --- the way through -----------------------------------------------------------------------------


def lease_stores(source: str) -> list[str]:
    """Where the overlay's CNI configuration keeps leases of addresses, for all on this host.

    Raises:
        Failure: there is no configuration.
    """
    files = sorted(glob.glob(f"{source}/*.conflist"))
    if not files:
        raise Failure(f"no CNI configuration in {source}: is the overlay set up on this host?")
    plugins = [plugin for file in files for plugin in json.loads(read(file))["plugins"]]
    return sorted({p["ipam"].get("dataDir", HOST_LOCAL_STORE) for p in plugins if "ipam" in p})


def return_leases(stores: list[str]) -> None:
    """Give back the addresses of this node's pods, all of which have ended.

    The stores are shared with Mesos' containers and with other nodes: a lease is ours when it
    names a container in the results that libcni keeps for us.
    """
    for result in glob.glob(f"{CNI_NOTES}/results/*"):
        try:
            noted = json.loads(read_or_nothing(result))
            network, container = noted["networkName"], noted["containerId"]
        except (ValueError, KeyError):
            say(f"{result} is not a result of libcni; its lease, if any, stays")
        else:
            for lease in [file for store in stores for file in glob.glob(f"{store}/{network}/*")]:
                if read_or_nothing(lease).split()[:1] == [container]:
                    os.unlink(lease)
        os.unlink(result)


def run(spec: dict[str, Any], ended: list[bool]) -> None:
    """Run the node until `ended` holds something.

    Args:
        spec: ``data`` (folder on the host), ``cni_conf_dir``, ``containerd`` (argv), ``socket``,
            ``balancer`` (argv; what the node's programs reach the API through), ``kubelet``
            (argv), ``kubelet_config`` (file whose ``cgroupRoot`` is filled in here),
            ``stop_seconds``.
        ended: filled by the signal handler.
    """
    os.umask(0o022)
    os.makedirs(spec["data"], mode=0o700, exist_ok=True)
    kind = filesystem_of(spec["data"])
    if kind == "overlay":
        raise Failure(f"{spec['data']} lies on overlayfs, on which no container images can lie")
    cgroups = Cgroups()
    make_mounts(spec["data"])
    show_tunables()
    stores = lease_stores(spec["cni_conf_dir"])
    return_leases(stores)
    cgroups.prepare()
    config = json.loads(read(spec["kubelet_config"]))
    config["cgroupRoot"] = cgroups.root
    write(spec["kubelet_config"], json.dumps(config))
    programs: list[Program] = []
    try:
        programs.append(Program("balancer", spec["balancer"]))
        programs.append(Program("containerd", spec["containerd"]))
        wait_for_socket(spec["socket"], programs[1])
        programs.append(Program("kubelet", spec["kubelet"]))
        looked = 0.0
        while not ended:
            for program in programs:
                program.keep_running()
            if time.monotonic() - looked >= LOOK_SECONDS:
                cgroups.bound_pods()
                looked = time.monotonic()
            time.sleep(0.2)
    finally:
        say("ending")
        for program in programs[2:]:
            program.stop(3)
        end_pods(cgroups, spec["stop_seconds"])
        for program in programs[:2]:
            program.stop(3)
        end_companions()
        return_leases(stores)
        cgroups.remove()
        remove_chains()


def main(arguments: list[str]) -> int:
    """Entry point; see the module's text."""
    ended: list[bool] = []
    signal.signal(signal.SIGTERM, lambda _number, _frame: ended.append(True))
    signal.signal(signal.SIGINT, lambda _number, _frame: ended.append(True))
    try:
        run(json.loads(read(arguments[0])), ended)
    except Failure as failure:
        say(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
