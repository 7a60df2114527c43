"""Kubernetes nodes: ready, in their place, offering what Mesos granted."""

from __future__ import annotations

from .inventory import Inventory
from .kubernetes import REGION, ZONE, Kubernetes
from .mesos import Mesos

MEBIBYTE = 1 << 20


def quantity(text: str) -> float:
    """A Kubernetes quantity in base units."""
    units = {"Ki": 1 << 10, "Mi": MEBIBYTE, "Gi": 1 << 30, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
    for unit, factor in units.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def test_every_node_that_mesos_runs_is_ready(kubernetes: Kubernetes, mesos: Mesos) -> None:
    ready = [
        kubernetes.node_host(node)
        for node in kubernetes.nodes().values()
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
    tasks = mesos.running(kubernetes.name, "kubelet")
    assert sorted(ready) == sorted(mesos.agent_hosts[task["slave_id"]] for task in tasks)


def test_every_region_has_a_node(
    kubernetes: Kubernetes, mesos: Mesos, inventory: Inventory
) -> None:
    wanted = {inventory.region(agent) for agent in inventory.agents}
    nodes = kubernetes.nodes().values()
    found = {node["metadata"]["labels"][REGION] for node in nodes}
    assert found == wanted or len(nodes) < len(wanted)


def test_labels_say_where_the_agent_is(kubernetes: Kubernetes, inventory: Inventory) -> None:
    for name, node in kubernetes.nodes().items():
        host, labels = kubernetes.node_host(node), node["metadata"]["labels"]
        assert (labels[REGION], labels[ZONE]) == (inventory.region(host), inventory.zone(host)), (
            name
        )


def test_allocatable_is_what_mesos_granted(kubernetes: Kubernetes, mesos: Mesos) -> None:
    grants = {
        mesos.agent_hosts[task["slave_id"]]: task["resources"]
        for task in mesos.running(kubernetes.name, "kubelet")
    }
    for node in kubernetes.nodes().values():
        offered, grant = node["status"]["allocatable"], grants[kubernetes.node_host(node)]
        assert quantity(offered["cpu"]) == grant["cpus"]
        assert quantity(offered["memory"]) == grant["mem"] * MEBIBYTE
        assert quantity(offered["ephemeral-storage"]) == grant["disk"] * MEBIBYTE


def test_addons_are_available(kubernetes: Kubernetes) -> None:
    deployments = kubernetes.get("deployments", "--all-namespaces")["items"]
    waiting = {
        deployment["metadata"]["name"]: deployment["status"]
        for deployment in deployments
        if deployment["status"].get("availableReplicas", 0) < deployment["spec"]["replicas"]
    }
    assert deployments
    assert not waiting
