"""A node whose task dies leaves nothing on its host, and comes back."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

import pytest
from testinfra.host import Host

from .kubernetes import Kubernetes, pod
from .mesos import Mesos
from .test_pods import SLEEP, container_of
from .waiting import until

# Everything of a container: its cgroups, the processes in them with their start times (numbers are
# used again), interfaces of pods, and the mounts that the host or any process still sees.
TRACES = """
import glob, json, os, sys
container = sys.argv[1]
processes, mounts = {}, set()
for folder in glob.glob("/proc/[0-9]*"):
    try:
        stat = open(folder + "/stat").read()
        if container in open(folder + "/cgroup").read() and ") Z " not in stat:
            processes[folder[6:] + " " + stat.rpartition(")")[2].split()[19]] = stat.split()[1]
        for line in open(folder + "/mountinfo"):
            if "kubedcos-task" in line or "io.containerd" in line:
                mounts.add(os.readlink(folder + "/ns/mnt") + " " + line.split()[4])
    except OSError:
        pass
links = glob.glob("/sys/class/net/*/master")
print(json.dumps({
    "processes": processes,
    "cgroups": [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if container in folder],
    "namespaces": sorted({mount.split()[0] for mount in mounts}),
    "ports": [link.split("/")[4] for link in links if "/m-" in os.readlink(link)],
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


def traces(host: Host, container: str) -> Any:
    return json.loads(host.check_output(f"python3 -c %s {container}", TRACES))


@pytest.mark.destructive
def test_a_killed_node_leaves_nothing_and_comes_back(
    kubernetes: Kubernetes, mesos: Mesos, hosts: dict[str, Host]
) -> None:
    name, node = max(kubernetes.nodes().items(), key=itemgetter(0))
    kubernetes.apply(pod("victim", name, *SLEEP))
    kubernetes.ready_pod("victim")
    place, task, container = container_of(mesos, kubernetes, node)
    host = hosts[place]
    before = traces(host, container)
    assert len(before["processes"]) > 3
    assert before["cgroups"]
    assert before["namespaces"]
    assert before["ports"]

    assert host.check_output(f"python3 -c %s {container}", KILL)

    def gone() -> bool:
        now = traces(host, container)
        return not (now["processes"] or now["cgroups"])

    until(gone, "no process and no cgroup is left", seconds=20)
    after = traces(host, container)
    assert not set(after["namespaces"]) & set(before["namespaces"]), "its mounts are gone"
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
