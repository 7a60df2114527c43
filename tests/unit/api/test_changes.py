"""Changes over the API: shown, refused as a whole, made once, and taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubedcos.api.hosted import Links
from kubedcos.api.hosting import Clusters
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import InvalidInput, Problem
from kubedcos.kubernetes import components
from kubedcos.model.offer import Agent
from kubedcos.state import documents, records
from kubedcos.state.records import TaskRecord

from .house import Ask, House, Kept, Quiet, serve


class Shaped(Quiet):
    """Nothing behind it, but of a real cluster's shape."""

    def __init__(self, options: ClusterOptions, links: Links) -> None:
        super().__init__(options.name)
        self.spec = components.service(options, links.lineage)
        self.objections: list[Problem] = []

    async def objections_to_leaving(self, _instances: Any) -> list[Problem]:
        return self.objections


class RealHouse(House):
    """Makes workloads of the real shape."""

    async def make(self, options: ClusterOptions, links: Links) -> Kept:
        kept = await super().make(options, links)
        return replace(kept, kubernetes=Shaped(options, links))


async def created(ask: Ask, clusters: Clusters, **options: Any) -> dict[str, Any]:
    """A cluster whose tasks all run, as far as its records say."""
    await ask("POST", "/v1/clusters", {"name": "k1", **options})
    world = clusters.get("k1").scheduler.world
    spec = clusters.get("k1").workload.kubernetes.spec
    agent = Agent("S1", "a1", "10.0.0.1", "dc-a", "a-1")
    world.commit(
        TaskRecord(
            task_id=f"{pod.instance(index)}-{task.name}__1",
            pod=pod.name,
            index=index,
            spec=task,
            agent=agent,
            state="TASK_RUNNING",
            ready=True,
            configuration=spec.target,
        )
        for pod in spec.pods
        for index in pod.indices
        for task in pod.tasks
    )
    found: dict[str, Any] = (await ask("GET", "/v1/clusters/k1")).json()["options"]
    return found


def with_(options: dict[str, Any], **sections: dict[str, Any]) -> dict[str, Any]:
    return {**options, **{name: {**options[name], **new} for name, new in sections.items()}}


def test_a_dry_run_tells_all_and_changes_nothing() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        options = await created(ask, clusters)
        before = clusters.get("k1").scheduler
        new = with_(options, node={"mem_mb": 2048, "count": 3}, etcd={"cpus": 1.0})
        answer = await ask("PUT", "/v1/clusters/k1?dry_run=true", new)
        found = answer.json()
        assert answer.status_code == 200
        assert (found["changed"], found["dry_run"], found["configuration"]) == (True, True, 2)
        assert {c["option"]: (c["old"], c["new"], c["changeable"]) for c in found["changes"]} == {
            "etcd.cpus": (0.2, 1.0, "free"),
            "node.count": (2, 3, "free"),
            "node.mem_mb": (1024, 2048, "free"),
        }
        assert [(s["pod_instance"], s["doing"], s["tasks"]) for s in found["steps"]] == [
            ("etcd-0", "restart", ["peer"]),
            ("kube-node-0", "restart", ["kubelet"]),
            ("kube-node-1", "restart", ["kubelet"]),
            ("kube-node-2", "start", ["kubelet", "kube-proxy", "coredns"]),
        ]
        assert found["restarts"] == ["etcd-0", "kube-node-0", "kube-node-1"]
        assert clusters.get("k1").scheduler is before
        assert (await ask("GET", "/v1/clusters/k1")).json()["options"] == options

    serve(RealHouse(), story)


def test_an_update_is_made_once_and_survives_a_restart() -> None:
    house = RealHouse()

    async def story(ask: Ask, clusters: Clusters) -> None:
        options = await created(ask, clusters)
        new = with_(options, node={"mem_mb": 2048})
        first = await ask("PUT", "/v1/clusters/k1", new)
        assert (first.status_code, first.json()["changed"]) == (202, True)
        second = await ask("PUT", "/v1/clusters/k1", new)
        assert (second.status_code, second.json()["changed"]) == (200, False)
        assert second.json()["configuration"] == 2
        plan = (await ask("GET", "/v1/clusters/k1/plans/deploy")).json()
        reasons = [s["reason"] for phase in plan["phases"] for s in phase["steps"]]
        assert any("node.mem_mb: 1024 -> 2048" in reason for reason in reasons)

    async def after(ask: Ask, _: Clusters) -> None:
        shown = (await ask("GET", "/v1/clusters/k1")).json()
        assert shown["options"]["node"]["mem_mb"] == 2048
        history = (await ask("GET", "/v1/clusters/k1/configurations")).json()
        assert [(c["number"], c["target"]) for c in history] == [(2, True), (1, False)]
        assert history[0]["why"] == "updated"
        actions = (await ask("GET", "/v1/clusters/k1/actions")).json()
        assert "configuration 2" in actions[0]["what"]
        one = (await ask("GET", "/v1/clusters/k1/configurations/1")).json()
        assert one["options"]["node"]["mem_mb"] == 1024

    serve(house, story)
    serve(house, after)


@pytest.mark.parametrize(
    ("section", "value", "path"),
    [("network", {"service_cidr": "10.97.0.0/16"}, "network.service_cidr")],
)
def test_a_forbidden_change_refuses_everything(section: str, value: Any, path: str) -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        options = await created(ask, clusters)
        new = with_(options, node={"count": 5}, **{section: value})
        answer = await ask("PUT", "/v1/clusters/k1", new)
        assert (answer.status_code, answer.json()["exit_code"]) == (409, 3)
        [problem] = answer.json()["problems"]
        assert problem["where"] == f"options: {path}"
        assert (await ask("GET", "/v1/clusters/k1")).json()["options"] == options
        history = (await ask("GET", "/v1/clusters/k1/configurations")).json()
        assert [c["number"] for c in history] == [1]

    serve(RealHouse(), story)


def test_what_the_artefact_server_lacks_refuses_before_anything_is_changed() -> None:
    house = RealHouse()

    async def story(ask: Ask, clusters: Clusters) -> None:
        options = await created(ask, clusters)
        house.refuse = InvalidInput([Problem("artefact kubelet", "none", "one")])
        answer = await ask("PUT", "/v1/clusters/k1", with_(options, node={"mem_mb": 2048}))
        assert answer.status_code == 422
        house.refuse = None
        assert (await ask("GET", "/v1/clusters/k1")).json()["options"] == options

    serve(house, story)


def test_who_was_slower_is_told_to_look_again() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        options = await created(ask, clusters)
        await ask("PUT", "/v1/clusters/k1?expect=1", with_(options, node={"mem_mb": 2048}))
        late = await ask("PUT", "/v1/clusters/k1?expect=1", with_(options, node={"mem_mb": 4096}))
        assert late.status_code == 409
        assert "look at the difference again" in late.json()["error"]

    serve(RealHouse(), story)


def test_a_rollback_returns_to_the_former_options_and_back() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        options = await created(ask, clusters)
        none = await ask("POST", "/v1/clusters/k1/rollback")
        assert none.status_code == 409
        await ask("PUT", "/v1/clusters/k1", with_(options, node={"mem_mb": 2048}))
        back = (await ask("POST", "/v1/clusters/k1/rollback")).json()
        assert (back["changed"], back["configuration"]) == (True, 3)
        assert [(c["option"], c["old"], c["new"]) for c in back["changes"]] == [
            ("node.mem_mb", 2048, 1024)
        ]
        assert back["steps"] == []  # nothing had been restarted yet, so there is no way back to go
        assert (await ask("GET", "/v1/clusters/k1")).json()["options"] == options
        forth = (await ask("POST", "/v1/clusters/k1/rollback?to=2")).json()
        assert forth["configuration"] == 4
        unknown = await ask("POST", "/v1/clusters/k1/rollback?to=9")
        assert unknown.status_code == 422

    serve(RealHouse(), story)


def test_nodes_are_removed_by_name_and_keep_their_numbers() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        await created(ask, clusters, node={"count": 4})
        gone = (await ask("POST", "/v1/clusters/k1/scale", {"remove": ["kube-node-1"]})).json()
        assert (gone["removed"], gone["configuration"]) == (["kube-node-1"], 2)
        assert [s["doing"] for s in gone["steps"]] == ["remove"]
        shown = (await ask("GET", "/v1/clusters/k1")).json()
        assert shown["options"]["node"]["count"] == 3
        names = [pod["name"] for pod in (await ask("GET", "/v1/clusters/k1/pods")).json()]
        assert [name for name in names if name.startswith("kube-node")] == [
            "kube-node-0",
            "kube-node-2",
            "kube-node-3",
        ]
        again = (await ask("PUT", "/v1/clusters/k1", shown["options"])).json()
        assert again["changed"] is False

    serve(RealHouse(), story)


def test_fewer_nodes_are_the_ones_with_the_highest_numbers() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        await created(ask, clusters, node={"count": 4})
        fewer = (await ask("POST", "/v1/clusters/k1/scale?dry_run=true", {"nodes": 2})).json()
        assert fewer["removed"] == ["kube-node-3", "kube-node-2"]

    serve(RealHouse(), story)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"remove": ["etcd-0"]}, 409, "pod replace etcd-0"),
        ({"remove": ["kube-node-9"]}, 422, "kube-node-0"),
        ({"nodes": 2, "pool": "none"}, 422, "pool"),
        ({"nodes": 0}, 422, "node.count"),
        ({"nodes": -1}, 422, "whole number"),
        ({"nodes": True}, 422, "whole number"),
        ({}, 422, "neither nodes nor remove"),
        ({"node": 3}, 422, "an unknown key"),
        (
            {"nodes": 3, "pool": "gpu"},
            422,
            "pool: found 'gpu'; wanted one of: the default pool (no name)",
        ),
        ({"nodes": 3, "remove": "kube-node-1"}, 422, "a list of pod instances"),
    ],
)
def test_a_scale_that_makes_no_sense_or_must_not_be_is_refused(
    body: dict[str, Any], status: int, word: str
) -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        options = await created(ask, clusters)
        answer = await ask("POST", "/v1/clusters/k1/scale", body)
        assert answer.status_code == status, answer.text
        assert word in answer.json()["error"]
        assert (await ask("GET", "/v1/clusters/k1")).json()["options"] == options

    serve(RealHouse(), story)


def test_nodes_that_cannot_be_drained_are_not_removed_unless_forced() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        await created(ask, clusters, node={"count": 4})
        kubernetes: Any = clusters.get("k1").workload.kubernetes
        kubernetes.objections = [Problem("default/web", "0 disruptions allowed", "1 or more")]
        refused = await ask("POST", "/v1/clusters/k1/scale", {"nodes": 3})
        assert refused.status_code == 409
        assert "0 disruptions allowed" in refused.json()["error"]
        forced = await ask("POST", "/v1/clusters/k1/scale?force=true", {"nodes": 3})
        assert forced.status_code == 202

    serve(RealHouse(), story)


def test_a_cluster_from_before_there_were_configurations_gets_its_first() -> None:
    house = RealHouse()

    async def story(ask: Ask, clusters: Clusters) -> None:
        await created(ask, clusters)

    serve(house, story)
    house.store.write("k1", [documents.remove(records.CONFIGURATION, "1")])

    async def after(ask: Ask, clusters: Clusters) -> None:
        history = (await ask("GET", "/v1/clusters/k1/configurations")).json()
        assert [c["number"] for c in history] == [1]
        world = clusters.get("k1").scheduler.world
        world.commit([replace(task, configuration=0) for task in world.tasks.values()])
        options = (await ask("GET", "/v1/clusters/k1")).json()["options"]
        new = with_(options, node={"mem_mb": 2048})
        found = (await ask("PUT", "/v1/clusters/k1?dry_run=true", new)).json()
        assert found["restarts"] == ["kube-node-0", "kube-node-1"]

    serve(house, after)
