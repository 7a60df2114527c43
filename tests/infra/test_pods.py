"""Pods: they find each other by name across data centres, and stay within what Mesos granted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

from .kubernetes import REGION, Kubernetes, pod
from .mesos import Mesos
from .waiting import until

MEBIBYTE = 1 << 20
SLEEP = ("/bin/busybox", "sleep", "3600")
# The cgroups of the processes that belong to a pod, and the memory limit of the task above them.
LOOK = """
import glob, json, re, sys
uid, container = sys.argv[1:]
names = {uid, uid.replace("-", "_")}
paths = set()
for path in glob.glob("/proc/[0-9]*/cgroup"):
    try:
        lines = open(path).read().splitlines()
    except OSError:
        continue
    for line in lines:
        _, controllers, cgroup = line.split(":", 2)
        if controllers in ("memory", "") and any(name in cgroup for name in names):
            paths.add(cgroup)
for pattern in ("/sys/fs/cgroup/memory/**/%s", "/sys/fs/cgroup/**/%s"):
    for top in glob.glob(pattern % container, recursive=True):
        for limit, peak in (("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
                            ("memory.max", "memory.peak")):
            try:
                numbers = [int(open(f"{top}/{name}").read()) for name in (limit, peak)]
            except (OSError, ValueError):
                continue
            print(json.dumps({"pods": sorted(paths), "limit": numbers[0], "peak": numbers[1]}))
            sys.exit()
sys.exit("the container's memory cgroup was not found")
"""


@pytest.fixture(scope="module")
def nodes_by_region(kubernetes: Kubernetes) -> dict[str, str]:
    """One node of each region."""
    return {node["metadata"]["labels"][REGION]: name for name, node in kubernetes.nodes().items()}


@pytest.fixture(scope="module")
def web(kubernetes: Kubernetes, nodes_by_region: dict[str, str]) -> dict[str, str]:
    """Region → Service whose only pod is there; and a pod called ``ask-REGION``."""
    documents = []
    for region, node in nodes_by_region.items():
        name = f"web-{region}"
        labels = {"app": name}
        environment = {"POD_NAME": name, "NODE_NAME": node, "REGION": region}
        spec = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
        documents += [
            pod(name, node, labels=labels, environment=environment),
            pod(f"ask-{region}", node, *SLEEP),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec},
        ]
    kubernetes.apply(*documents)
    for region in nodes_by_region:
        kubernetes.ready_pod(f"web-{region}")
        kubernetes.ready_pod(f"ask-{region}")
    return {region: f"web-{region}" for region in nodes_by_region}


def test_a_pod_fetches_from_every_region_by_service_name(
    kubernetes: Kubernetes, web: dict[str, str]
) -> None:
    for here in web:
        for there, service in web.items():

            def fetch(asker: str = f"ask-{here}", service: str = service) -> str:
                command = ("exec", f"--namespace={kubernetes.namespace}", asker, "--")
                url = f"http://{service}/cgi-bin/index.cgi"
                return kubernetes.run(*command, "/bin/busybox", "wget", "-q", "-O", "-", url).stdout

            # A Service's address works a moment after its pod is ready.
            page = until(fetch, f"{here} fetches from {there}", seconds=15)
            assert f"region  {there}" in page


def test_full_names_and_names_of_mesos_resolve_in_pods(
    kubernetes: Kubernetes, web: dict[str, str]
) -> None:
    asker = f"ask-{next(iter(web))}"
    for name in (
        f"{web[next(iter(web))]}.{kubernetes.namespace}.svc.cluster.local",
        "kubernetes.default.svc.cluster.local",
        f"apiserver.{kubernetes.name}.mesos",
    ):
        found = kubernetes.execute(asker, "/bin/busybox", "nslookup", f"{name}.")
        assert name in found


def container_of(mesos: Mesos, kubernetes: Kubernetes, node: Any) -> tuple[str, Any, Any]:
    """Host and task of a node, and what its agent says of its container."""
    host = kubernetes.node_host(node)
    state = mesos.look()
    (task,) = [
        task
        for task in mesos.running(kubernetes.name, "kubelet", state)
        if mesos.agent_hosts[task["slave_id"]] == host
    ]
    return host, task, mesos.executor(task)


def look(host: Host, pod: Any, container: str) -> Any:
    """What the kernel says of a pod and of the Mesos container around it."""
    return json.loads(
        host.check_output(f"python3 -c %s {pod['metadata']['uid']} {container}", LOOK)
    )


def test_pods_live_below_the_cgroup_that_mesos_made(
    kubernetes: Kubernetes, web: dict[str, str], mesos: Mesos, hosts: dict[str, Host]
) -> None:
    for service in web.values():
        seen = kubernetes.pod(service)
        node = kubernetes.nodes()[seen["spec"]["nodeName"]]
        host, task, executor = container_of(mesos, kubernetes, node)
        found = look(hosts[host], seen, executor["container"])
        assert found["pods"], "the pod has processes"
        assert all(executor["container"] in cgroup for cgroup in found["pods"])
        # Mesos' own executor has a little memory of its own there.
        assert found["limit"] == executor["resources"]["mem"] * MEBIBYTE
        assert 0 <= executor["resources"]["mem"] - task["resources"]["mem"] <= 32


def test_a_pod_cannot_use_more_memory_than_the_grant(
    kubernetes: Kubernetes,
    nodes_by_region: dict[str, str],
    mesos: Mesos,
    hosts: dict[str, Host],
) -> None:
    name = max(nodes_by_region.values())
    node = kubernetes.nodes()[name]
    host, task, executor = container_of(mesos, kubernetes, node)
    # It keeps everything that it reads until the end of a line that never comes.
    kubernetes.apply(pod("hungry", name, "/bin/busybox", "tail", "/dev/zero"))

    def ended() -> Any:
        seen = kubernetes.pod("hungry")
        return seen if seen["status"]["phase"] in {"Failed", "Succeeded"} else None

    seen = until(ended, "the pod is ended", seconds=60)
    (status,) = seen["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 137, status
    found = look(hosts[host], seen, executor["container"])
    assert found["peak"] <= found["limit"]
    # The node itself is as it was: the same task, still ready.
    assert container_of(mesos, kubernetes, kubernetes.nodes()[name])[1]["id"] == task["id"]
