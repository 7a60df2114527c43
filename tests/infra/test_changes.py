"""A cluster that runs is changed, and changed back: one thing after the other, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from threading import Event, Thread
from typing import Any

import pytest

from .framework import Framework
from .kubernetes import Kubernetes, pod
from .mesos import Mesos, component, started
from .test_pods import SLEEP
from .waiting import until

pytestmark = pytest.mark.destructive

POOL = "changes"
"""Name of the pool that comes and goes."""


def tasks(mesos: Mesos, cluster: str) -> dict[str, Any]:
    """Running tasks by name."""
    known = mesos.framework(cluster, mesos.look())["tasks"]
    return {task["name"]: task for task in known if task["state"] == "TASK_RUNNING"}


def in_use(kubernetes: Kubernetes) -> dict[str, bool]:
    """Node → whether it is ready and takes pods."""
    return {
        name: not node["spec"].get("unschedulable")
        and any(
            found["type"] == "Ready" and found["status"] == "True"
            for found in node["status"]["conditions"]
        )
        for name, node in kubernetes.nodes().items()
    }


@contextmanager
def watched(look: Callable[[], str]) -> Iterator[list[str]]:
    """What `look` finds wrong while something goes on, each finding once."""
    found: list[str] = []
    ended = Event()

    def watch() -> None:
        while not ended.wait(0.5):
            if (wrong := look()) and wrong not in found:
                found.append(wrong)

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def whole_with(framework: Framework, number: int) -> Callable[[], bool]:
    """Whether a configuration is the target and everything is as it says."""

    def look() -> bool:
        found = framework.say("cluster", "show", framework.name)
        (target,) = [c["number"] for c in framework.run("cluster", "history") if c["target"]]
        complete = all(plan["status"] == "COMPLETE" for plan in found["plans"])
        return bool(target == number and complete and found["status"] == "COMPLETE")

    return look


def test_an_update_restarts_what_it_concerns_one_by_one_and_a_rollback_takes_it_back(
    framework: Framework, kubernetes: Kubernetes, mesos: Mesos
) -> None:
    before = tasks(mesos, framework.name)
    options = framework.options()

    def before_of(kind: str) -> list[Any]:
        return [task for task in before.values() if component(task) == kind]

    kubernetes.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}})
    name, _ = max(kubernetes.nodes().items(), key=itemgetter(0))
    kubernetes.apply(pod("tenant", name, *SLEEP))
    kubernetes.ready_pod("tenant")
    wanted = framework.options()
    wanted["etcd"]["mem_mb"] += 32
    wanted["scheduler"]["mem_mb"] += 32
    wanted["node"]["max_pods"] -= 1

    def nodes_away() -> str:
        kinds = [component(task) for task in tasks(mesos, framework.name).values()]
        away = len(before_of("kubelet")) - kinds.count("kubelet")
        return f"{away} nodes are away at once" if away > 1 else ""

    with watched(nodes_away) as wrong:
        said = framework.update(wanted)
        assert {change["option"] for change in said["changes"]} == {
            "etcd.mem_mb",
            "node.max_pods",
            "scheduler.mem_mb",
        }
        until(whole_with(framework, said["configuration"]), "it is updated", seconds=300, pause=2)
    assert wrong == []
    after = tasks(mesos, framework.name)
    assert after.keys() == before.keys()
    changed = {component(after[name]) for name in after if after[name]["id"] != before[name]["id"]}
    assert {"etcd", "kube-scheduler", "kubelet"} <= changed
    # Of the others, whoever holds a lease ends by itself when the only etcd is away for too long.
    assert not changed & {"kube-proxy", "coredns"}
    etcd_began, kubelets_began = (
        min(started(task) for task in mesos.running(framework.name, kind, mesos.look()))
        for kind in ("etcd", "kubelet")
    )
    assert etcd_began < kubelets_began, "in the plan's order"
    (etcd, *_) = mesos.running(framework.name, "etcd", mesos.look())
    assert etcd["resources"]["mem"] == wanted["etcd"]["mem_mb"]
    found = kubernetes.nodes()
    assert {node["status"]["capacity"]["pods"] for node in found.values()} == {
        str(wanted["node"]["max_pods"])
    }
    assert set(in_use(kubernetes).values()) == {True}
    gone = kubernetes.run("get", "pod", "tenant", f"--namespace={kubernetes.namespace}")
    assert "NotFound" in gone.stderr, "its node was emptied before the restart"
    kubernetes.get("configmap", "kept", f"--namespace={kubernetes.namespace}")

    back = framework.run("cluster", "rollback", "--yes")
    assert back["configuration"] == said["configuration"] + 1
    until(whole_with(framework, back["configuration"]), "it is as before", seconds=300, pause=2)
    assert framework.options() == options
    kubernetes.get("configmap", "kept", f"--namespace={kubernetes.namespace}")


def test_nodes_come_and_go(framework: Framework, kubernetes: Kubernetes, mesos: Mesos) -> None:
    before, tasks_before = kubernetes.nodes(), tasks(mesos, framework.name)
    if len(before) >= len(kubernetes.inventory.agents):
        pytest.skip("every agent has a node")
    framework.run("cluster", "scale", "--nodes", str(len(before) + 1), "--yes")
    until(
        lambda: len(in_use(kubernetes)) > len(before) and all(in_use(kubernetes).values()),
        "there is one node more",
        seconds=180,
        pause=2,
    )
    until(framework.whole, "it is complete", seconds=120, pause=2)
    (new,) = kubernetes.nodes().keys() - before.keys()
    kubernetes.apply(pod("lodger", new, *SLEEP))
    kubernetes.ready_pod("lodger")

    framework.run("cluster", "scale", "--nodes", str(len(before)), "--yes")
    until(lambda: kubernetes.nodes().keys() == before.keys(), "it is gone", seconds=180, pause=2)
    gone = kubernetes.run("get", "pod", "lodger", f"--namespace={kubernetes.namespace}")
    assert "NotFound" in gone.stderr
    until(
        lambda: framework.whole() and _same(tasks(mesos, framework.name), tasks_before),
        "its tasks ended, and the others are as they were",
        seconds=60,
        pause=2,
    )


def test_a_pool_of_nodes_comes_and_goes(
    framework: Framework, kubernetes: Kubernetes, mesos: Mesos
) -> None:
    before, tasks_before = kubernetes.nodes(), tasks(mesos, framework.name)
    options, wanted = framework.options(), framework.options()
    if len(before) >= len(kubernetes.inventory.agents):
        pytest.skip("every agent has a node")
    wanted["node_pools"][POOL] = {
        "count": 1,
        "mem_mb": 512,
        "labels": {"pool": POOL},
        "taints": [f"pool={POOL}:NoSchedule"],
    }
    framework.update(wanted)

    def there() -> list[str]:
        found = kubernetes.nodes()
        ready = in_use(kubernetes)
        return [n for n in found if ready[n] and found[n]["metadata"]["labels"].get("pool") == POOL]

    (new,) = until(there, "the pool has its node", seconds=180, pause=2)
    assert new not in before
    taints = kubernetes.nodes()[new]["spec"]["taints"]
    assert {"key": "pool", "value": POOL, "effect": "NoSchedule"} in taints
    until(framework.whole, "it is complete", seconds=120, pause=2)
    framework.update(options)
    until(lambda: kubernetes.nodes().keys() == before.keys(), "it is gone", seconds=180, pause=2)
    until(
        lambda: framework.whole() and _same(tasks(mesos, framework.name), tasks_before),
        "its tasks ended, and the others are as they were",
        seconds=60,
        pause=2,
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the same tasks run."""
    return {t["id"] for t in one.values()} == {t["id"] for t in other.values()}
