"""Which nodes cannot be emptied, and why."""

from __future__ import annotations

from typing import Any

import pytest

from kubedcos.kubernetes.eviction_check import Contents, objections, requests, selects


def node(name: str, cpu: str = "2", memory: str = "2Gi", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(name: str, at: str, cpu: str = "100m", memory: str = "64Mi", **more: Any) -> dict[str, Any]:
    wanted = {"requests": {"cpu": cpu, "memory": memory}}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, **more},
        "spec": {"nodeName": at, "containers": [{"resources": wanted}]},
        "status": {"phase": "Running"},
    }


def budget(allowed: int, app: str = "web") -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 2},
    }


def test_nothing_speaks_against_nodes_whose_pods_find_room() -> None:
    contents = Contents([node("a"), node("b")], [pod("w1", "b"), pod("w2", "a")], [budget(1)])
    assert objections({"b"}, contents) == []


def test_empty_nodes_may_go_whatever_the_others_hold() -> None:
    contents = Contents([node("a", "1"), node("b")], [pod("w", "a", "1")], [budget(0)])
    assert objections({"b"}, contents) == []


def test_pods_that_find_no_room_are_an_objection_with_figures() -> None:
    contents = Contents(
        [node("a", "1"), node("b")], [pod("w1", "a", "600m"), pod("w2", "b", "500m")], []
    )
    [problem] = objections({"b"}, contents)
    assert problem.id == "scale-down-no-room"
    assert "0.5 CPUs" in problem.seen
    assert "0.4" in problem.wanted


def test_nodes_that_take_no_pods_are_no_room() -> None:
    contents = Contents([node("a", unschedulable=True), node("b")], [pod("w", "b")], [])
    assert {problem.id for problem in objections({"b"}, contents)} == {"scale-down-no-room"}


def test_a_budget_that_allows_nothing_is_an_objection_only_for_its_own_pods() -> None:
    nodes = [node("a"), node("b")]
    [problem] = objections({"b"}, Contents(nodes, [pod("w1", "b")], [budget(0)]))
    assert problem.where == "PodDisruptionBudget default/web"
    assert "w1" in problem.seen
    assert objections({"b"}, Contents(nodes, [pod("w1", "b")], [budget(0, "other")])) == []


@pytest.mark.parametrize(
    "left_alone",
    [
        {"ownerReferences": [{"kind": "DaemonSet", "controller": True}]},
        {"annotations": {"kubernetes.io/config.mirror": "x"}},
    ],
)
def test_what_a_drain_leaves_alone_is_no_objection(left_alone: dict[str, Any]) -> None:
    contents = Contents([node("b")], [pod("w", "b", **left_alone)], [budget(0)])
    assert objections({"b"}, contents) == []


def test_a_pod_that_has_ended_is_no_objection() -> None:
    ended = {**pod("w", "b"), "status": {"phase": "Succeeded"}}
    assert objections({"b"}, Contents([node("b")], [ended], [budget(0)])) == []


def test_requests_are_reckoned_as_kube_scheduler_does() -> None:
    def part(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    found = pod("w", "a")
    found["spec"]["containers"] = [part("100m"), part("200m")]
    found["spec"]["initContainers"] = [part("250m"), part("50m", restartPolicy="Always")]
    assert requests(found)["cpu"] == pytest.approx(0.35)
    found["spec"]["initContainers"] = [part("1")]
    assert requests(found)["cpu"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Near"}]}, False),
    ],
)
def test_selectors(selector: Any, matches: bool) -> None:
    assert selects(selector, {"app": "web"}) is matches
