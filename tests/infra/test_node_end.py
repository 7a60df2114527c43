"""A node whose task dies leaves nothing on its host, and comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import pytest
from testinfra.host import Host

from .kubernetes import Kubernetes, pod
from .mesos import Mesos
from .test_pods import SLEEP, container_of
from .waiting import until

# Everything of a container: its processes, its cgroups, the mount namespaces that are its own and
# who is in them, mounts of nodes that the host itself sees, and interfaces of pods.
TRACES = """
import glob, json, os, sys
container, *namespaces = sys.argv[1:]
processes, own, left = [], set(), []
host = os.readlink("/proc/1/ns/mnt")
for folder in glob.glob("/proc/[0-9]*"):
    try:
        namespace = os.readlink(folder + "/ns/mnt")
        dead = ") Z " in open(folder + "/stat").read()
        if container in open(folder + "/cgroup").read() and not dead:
            processes.append(folder)
            own.add(namespace)
        if namespace in namespaces:
            left.append(folder)
    except OSError:
        pass
marks = ("/run/kubedcos-task", "/run/containerd", "/var/lib/kubelet/pods")
mounts = [line.split()[4] for line in open("/proc/1/mountinfo")]
ports = []
for link in glob.glob("/sys/class/net/*/master"):
    try:
        if "/m-" in os.readlink(link):
            ports.append(link.split("/")[4])
    except OSError:
        pass
print(json.dumps({
    "processes": processes,
    "cgroups": [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if container in folder],
    "namespaces": sorted(own - {host}),
    "in_namespaces": left,
    "host_mounts": [mount for mount in mounts if mount.startswith(marks)],
    "ports": ports,
}))
"""
# The executor is what Mesos watches: as if the machine had killed it.
KILL = """
import glob, os, signal, sys
container = sys.argv[1]
found = []
for folder in glob.glob("/proc/[0-9]*"):
    try:
        if container in open(folder + "/cgroup").read():
            parent = int(open(folder + "/stat").read().rpartition(")")[2].split()[1])
            found.append((int(folder[6:]), parent))
    except OSError:
        pass
inside = {pid for pid, _ in found}
for pid, parent in found:
    if parent not in inside:
        os.kill(pid, signal.SIGKILL)
        print(pid)
"""


def traces(host: Host, container: str, namespaces: Sequence[str] = ()) -> Any:
    words = " ".join(f"'{word}'" for word in (container, *namespaces))
    return json.loads(host.check_output(f"python3 -c %s {words}", TRACES))


@pytest.mark.destructive
def test_a_killed_node_leaves_nothing_and_comes_back(
    kubernetes: Kubernetes, mesos: Mesos, hosts: dict[str, Host]
) -> None:
    name, node = max(kubernetes.nodes().items(), key=itemgetter(0))
    kubernetes.apply(pod("victim", name, *SLEEP))
    kubernetes.ready_pod("victim")
    place, task, executor = container_of(mesos, kubernetes, node)
    host, container = hosts[place], executor["container"]
    before = traces(host, container)
    assert len(before["processes"]) > 3
    assert before["cgroups"]
    assert before["namespaces"]
    assert before["ports"]

    assert host.check_output(f"python3 -c %s {container}", KILL)

    def left() -> Any:
        now = traces(host, container, before["namespaces"])
        return {key: now[key] for key in ("processes", "cgroups", "in_namespaces") if now[key]}

    until(lambda: not left(), "no process, mount namespace or cgroup is left", seconds=20)
    after = traces(host, container)
    assert not after["host_mounts"]
    assert not set(after["ports"]) & set(before["ports"]), "its pods' interfaces are gone"

    def replaced() -> Any:
        running = mesos.running(kubernetes.name, "kubelet", mesos.look())
        return [t for t in running if t["id"] != task["id"] and t["slave_id"] == task["slave_id"]]

    until(replaced, "another task took its place", seconds=90, pause=1)

    def ready() -> bool:
        conditions = kubernetes.nodes()[name]["status"]["conditions"]
        (found,) = [c for c in conditions if c["type"] == "Ready"]
        return bool(found["status"] == "True")

    until(ready, f"node {name} is ready again", seconds=120, pause=1)
    kubernetes.apply(pod("successor", name, *SLEEP))
    kubernetes.ready_pod("successor")
