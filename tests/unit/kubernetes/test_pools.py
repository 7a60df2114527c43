"""Node pools and placement rules on their way from the options to pods and kubelets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kubedcos.config import cluster
from kubedcos.config.cluster import ClusterOptions
from kubedcos.kubernetes import components, node
from kubedcos.kubernetes.recipe import Situation
from kubedcos.kubernetes.vault import Vault

from .parts import situation

TEXT = """
node_pools:
  gpu:
    count: 2
    cpus: 4
    max_pods: 30
    labels: {example.org/gpu: a100, disk: ssd}
    taints: ["gpu=true:NoSchedule", "slow:NoExecute"]
    placement: "gpu:IS:yes,@region:GROUP_BY"
    role: gpus
  edge: {count: 1}
placement:
  nodes: "rack:UNLIKE:old"
  regions: [dc-a, dc-b]
"""
OPTIONS = cluster.load(TEXT, "c.yml")
SERVICE = components.service(OPTIONS)


def at(options: ClusterOptions, vault: Vault, instance: str) -> Situation:
    return replace(situation("kubelet", options, vault), options=options, pod_instance=instance)


def test_each_pool_is_a_pod_of_its_own() -> None:
    names = [pod.name for pod in SERVICE.pods]
    assert names[5:8] == ["kube-node", "kube-node-gpu", "kube-node-edge"]
    gpu = SERVICE.pod("kube-node-gpu")
    assert (gpu.count, gpu.tasks[0].cpus, gpu.role) == (2, 4, "gpus")
    assert gpu.instance(0) == "kube-node-gpu-0"
    assert SERVICE.roles == ("kubernetes", "gpus")


def test_the_nodes_of_all_pools_start_in_one_phase() -> None:
    (plan,) = SERVICE.plans
    (phase,) = [phase for phase in plan.phases if phase.name == "node"]
    assert [step.pod_instance for step in phase.steps] == [
        "kube-node-0",
        "kube-node-1",
        "kube-node-gpu-0",
        "kube-node-gpu-1",
        "kube-node-edge-0",
    ]


def test_a_pools_rules_stand_in_place_of_those_for_all_nodes() -> None:
    placements = {pod.name: pod.placement for pod in SERVICE.pods}
    assert [str(rule) for rule in placements["kube-node"].rules] == ["rack:UNLIKE:old"]
    gpu = placements["kube-node-gpu"]
    assert [str(rule) for rule in gpu.rules] == ["gpu:IS:yes", "@region:GROUP_BY"]
    assert gpu.regions == ("dc-a", "dc-b")
    # Whoever says how to spread need not be told another way.
    assert (gpu.spread_by, placements["kube-node"].spread_by) == ("", "region")
    assert set(gpu.apart_from) == {"kube-node", "kube-node-edge"}


def test_the_control_plane_is_spread_over_zones_of_the_masters_region() -> None:
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        placement = SERVICE.pod(name).placement
        assert (placement.local_region, placement.spread_by) == (True, "zone")
        assert not placement.proportional


@pytest.mark.parametrize(
    ("text", "local", "regions", "spread"),
    [
        ("region: dc-c", False, ("dc-c",), "zone"),
        ("placement: {etcd: '@region:IS:dc-b'}", False, (), "zone"),
        ("placement: {etcd: '@zone:GROUP_BY:3'}", True, (), ""),
        ("placement: {etcd: 'rack:UNIQUE'}", True, (), "zone"),
    ],
)
def test_who_says_where_etcd_is_gets_it_there(
    text: str, local: bool, regions: tuple[str, ...], spread: str
) -> None:
    placement = components.service(cluster.load(text, "c.yml")).pod("etcd").placement
    assert (placement.local_region, placement.regions, placement.spread_by) == (
        local,
        regions,
        spread,
    )


def test_labels_reach_the_kubelet_and_cannot_replace_its_own(vault: Vault) -> None:
    labels = node.node_labels(at(OPTIONS, vault, "kube-node-gpu-1"))
    assert labels["example.org/gpu"] == "a100"
    assert labels["disk"] == "ssd"
    assert labels["kubedcos/node-pool"] == "gpu"
    assert labels["kubedcos/pod-instance"] == "kube-node-gpu-1"
    assert labels["topology.kubernetes.io/region"] == "dc-a"
    assert node.node_labels(at(OPTIONS, vault, "kube-node-0"))["kubedcos/node-pool"] == "default"


def test_taints_and_limits_are_the_pools(vault: Vault) -> None:
    config = node.kubelet_config(at(OPTIONS, vault, "kube-node-gpu-0"))
    assert config["maxPods"] == 30
    assert config["registerWithTaints"] == [
        {"key": "gpu", "value": "true", "effect": "NoSchedule"},
        {"key": "slow", "effect": "NoExecute"},
    ]
    plain = node.kubelet_config(at(OPTIONS, vault, "kube-node-0"))
    assert plain["maxPods"] == 110
    assert "registerWithTaints" not in plain
    assert json.dumps(config)
