"""What two clusters must not share is refused with both names."""

from __future__ import annotations

import pytest

from kubedcos.config import cluster
from kubedcos.config.clashes import all_clashes, clashes
from kubedcos.config.cluster import ClusterOptions

ONE = cluster.load("name: one", "one.yml")
APART = """
name: two
network: {overlay: apps, pod_cidr: 10.245.0.0/16, service_cidr: 10.97.0.0/16}
"""


def two(more: str = "", text: str = APART) -> ClusterOptions:
    return cluster.load(text + more, "two.yml")


def test_clusters_that_are_apart() -> None:
    assert clashes(two(), [ONE], "two.yml") == []


def test_a_cluster_does_not_clash_with_itself() -> None:
    assert clashes(ONE, [ONE], "one.yml") == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (APART + "role: one", "role"),
        (APART.replace("apps", "kubernetes"), "network.overlay"),
        (APART.replace("10.245.0.0", "10.244.0.0"), "network.pod_cidr"),
        (APART.replace("10.97.0.0", "10.96.0.0"), "network.service_cidr"),
        (APART.replace("10.97.0.0/16", "10.244.128.0/17"), "network.service_cidr"),
        (APART + "node_pools: {gpu: {role: one}}", "node_pools.gpu.role"),
        (APART + "node: {role: one}", "node.role"),
    ],
)
def test_what_is_shared_is_named_with_both_clusters(text: str, key: str) -> None:
    (problem,) = clashes(two(text=text), [ONE], "two.yml")
    assert problem.where == f"two.yml: {key}"
    assert "cluster two" in problem.seen
    assert "cluster one" in problem.seen
    assert problem.id == "cluster-clash"


def test_clusters_of_one_inventory_are_held_against_each_other() -> None:
    twin = cluster.load("name: twin", "twin.yml")
    assert all_clashes([ONE, two()]) == []
    assert {p.where for p in all_clashes([ONE, two(), twin])} == {
        "cluster twin: network.overlay",
        "cluster twin: network.pod_cidr",
        "cluster twin: network.service_cidr",
    }
