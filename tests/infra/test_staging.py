"""How Mesos recorded the staging: the order, the places."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from .inventory import Inventory
from .mesos import Mesos, component, started

ORDER = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"]
CONTROL_PLANE = ORDER[:-1]
NODE = ["kubelet", "kube-proxy", "coredns"]


FORGOTTEN = "a master that was restarted does not know tasks that ended before"


@pytest.fixture
def starts(cluster: str, mesos: Mesos) -> dict[str, list[float]]:
    """Component → when each of its tasks started, in order."""
    framework = mesos.framework(cluster)
    found: dict[str, list[float]] = {}
    for task in framework["tasks"] + framework["completed_tasks"]:
        if task["statuses"]:
            found.setdefault(component(task), []).append(started(task))
    return {kind: sorted(times) for kind, times in found.items()}


def test_components_started_in_order(starts: dict[str, list[float]]) -> None:
    firsts = [starts[kind][0] for kind in ORDER]
    assert firsts == sorted(firsts), dict(zip(ORDER, firsts, strict=True))


def test_what_nodes_need_came_before_them_and_other_addons_after(
    starts: dict[str, list[float]],
) -> None:
    addons = sorted((times[0], kind) for kind, times in starts.items() if kind.startswith("addon-"))
    if not addons:
        pytest.skip(FORGOTTEN)
    order = [kind for _, kind in sorted([*addons, (starts["kubelet"][0], "kubelet")])]
    before, after = order[: order.index("kubelet")], order[order.index("kubelet") + 1 :]
    assert set(before) == {"addon-cluster-roles", "addon-tls-bootstrapping"}
    assert "addon-dns" in after


def test_addons_have_ended_well(cluster: str, mesos: Mesos) -> None:
    framework = mesos.framework(cluster)
    states = {
        task["name"]: task["state"]
        for task in framework["tasks"] + framework["completed_tasks"]
        if component(task).startswith("addon-")
    }
    if not states:
        pytest.skip(FORGOTTEN)
    assert set(states.values()) == {"TASK_FINISHED"}, states


def test_every_component_runs(cluster: str, mesos: Mesos) -> None:
    for kind in [*CONTROL_PLANE, *NODE]:
        assert mesos.running(cluster, kind), kind


def test_at_most_one_node_on_an_agent(cluster: str, mesos: Mesos) -> None:
    agents = Counter(task["slave_id"] for task in mesos.running(cluster, "kubelet"))
    assert max(agents.values()) == 1


def test_a_nodes_tasks_are_together(cluster: str, mesos: Mesos) -> None:
    places = [sorted(task["slave_id"] for task in mesos.running(cluster, kind)) for kind in NODE]
    assert all(left == right for left, right in pairwise(places))


def test_nodes_are_spread_over_regions(cluster: str, mesos: Mesos, inventory: Inventory) -> None:
    (options,) = [c for c in inventory.get("clusters") if c.get("name", "kubernetes") == cluster]
    allowed = options.get("placement", {}).get("regions") or {
        inventory.region(agent) for agent in inventory.agents
    }
    nodes = Counter(
        inventory.region(mesos.agent_hosts[task["slave_id"]])
        for task in mesos.running(cluster, "kubelet")
    )
    counts = [nodes[region] for region in allowed]
    assert max(counts) - min(counts) <= 1, nodes


def test_the_control_plane_is_in_the_masters_region(
    cluster: str, mesos: Mesos, inventory: Inventory
) -> None:
    regions = {
        inventory.region(mesos.agent_hosts[task["slave_id"]])
        for kind in CONTROL_PLANE
        for task in mesos.running(cluster, kind)
    }
    assert regions == {inventory.region(mesos.leader)}
