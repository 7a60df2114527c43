"""Node pools: their names, and labels and taints that a kubelet may register with."""

from __future__ import annotations

import pytest

from kubedcos.config import cluster
from kubedcos.errors import InvalidInput


def problems(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        cluster.load(text, "c.yml")
    return str(caught.value)


def test_pools_stand_beside_the_default_one() -> None:
    options = cluster.load("node_pools: {gpu: {count: 3}, edge: {count: 0}}", "c.yml")
    assert {pod: pool.count for pod, pool in options.pools.items()} == {
        "kube-node": 2,
        "kube-node-gpu": 3,
        "kube-node-edge": 0,
    }
    assert options.node_count == 5


def test_a_cluster_may_live_on_other_pools_alone_but_not_on_none() -> None:
    assert cluster.load("node: {count: 0}\nnode_pools: {a: {count: 1}}", "c.yml").node_count == 1
    assert "node.count: found 0; wanted at least 1, or a pool" in problems("node: {count: 0}")


def test_all_nodes_need_a_slice_of_the_overlay() -> None:
    text = "network: {pod_cidr: 10.244.0.0/22}\nnode_pools: {gpu: {count: 2}}"
    assert "which has 3 slices of /24; wanted at least 4" in problems(text)


@pytest.mark.parametrize("name", ["GPU", "g-", "gpu-1", "default", "a" * 17, "7b", "", "a_b"])
def test_names_that_are_none(name: str) -> None:
    assert "1 to 16 lower-case letters" in problems(f"node_pools: {{'{name}': {{}}}}")


@pytest.mark.parametrize(
    "label",
    ["disk", "example.org/disk", "node.kubernetes.io/disk", "x.kubelet.kubernetes.io/a",
     "node.kubernetes.io/instance-type"],
)  # fmt: skip
def test_labels_that_a_kubelet_may_set(label: str) -> None:
    options = cluster.load(f"node: {{labels: {{'{label}': ssd}}}}", "c.yml")
    assert options.node.labels == {label: "ssd"}


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("node-role.kubernetes.io/worker", "NodeRestriction"),
        ("node-restriction.kubernetes.io/a", "NodeRestriction"),
        ("kubernetes.io/a", "NodeRestriction"),
        ("a.k8s.io/a", "NodeRestriction"),
        ("topology.kubernetes.io/zone", "does not set itself"),
        ("kubedcos/node-pool", "does not set itself"),
        ("a b", "a label such as"),
        ("-/a", "a label such as"),
        ("a/b/c", "a label such as"),
    ],
)
def test_labels_that_are_refused(label: str, wanted: str) -> None:
    assert wanted in problems(f"node: {{labels: {{'{label}': x}}}}")


def test_label_values() -> None:
    assert "a label's value" in problems("node: {labels: {a: '-x'}}")
    assert cluster.load("node: {labels: {a: ''}}", "c.yml").node.labels == {"a": ""}


@pytest.mark.parametrize("taint", ["gpu=true:NoSchedule", "gpu:NoExecute", "a.b/c=d:NoSchedule"])
def test_taints(taint: str) -> None:
    assert cluster.load(f"node: {{taints: ['{taint}']}}", "c.yml").node.taints == (taint,)


@pytest.mark.parametrize(
    "taint", ["gpu", "gpu=true", "gpu=true:Never", "=x:NoSchedule", "a b:NoSchedule"]
)
def test_taints_that_are_none(taint: str) -> None:
    assert "KEY=VALUE:EFFECT" in problems(f"node: {{taints: ['{taint}']}}")


def test_a_taint_twice() -> None:
    text = "node: {taints: ['a=1:NoSchedule', 'a=2:NoSchedule']}"
    assert "taints that differ in key or effect" in problems(text)
    good = "node: {taints: ['a=1:NoSchedule', 'a=1:NoExecute']}"
    assert len(cluster.load(good, "c.yml").node.taints) == 2


def test_a_misspelt_key_of_a_pool() -> None:
    assert "Did you mean count?" in problems("node_pools: {gpu: {cout: 1}}")
