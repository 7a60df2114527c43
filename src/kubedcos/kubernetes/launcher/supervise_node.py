"""Run containerd and a kubelet inside the mount namespace and the cgroup of their Mesos task.

Argument: a JSON file, see `run`. What this leaves on the host when it ends is the node's folder
with images; mounts are gone with the namespace, processes and cgroups with the task's own cgroup.

Exit codes: 0 told to end; 1 impossible on this host, or containerd or kubelet ended too often.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from kubedcos.kubernetes.launcher.node_cgroups import (
    Cgroups,
    Failure,
    read,
    read_or_nothing,
    say,
    write,
)

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
LOOK_SECONDS = 1.0
TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""Kernel settings that a kubelet wants. They are the host's, which the node shares with others."""


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
        return subprocess.Popen(self._argv, preexec_fn=die_with_parent)  # noqa: PLW1509  one thread

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
