"""A node is emptied as its pods' budgets allow, and goes when it has to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubedcos.kubernetes import node_drain
from kubedcos.kubernetes.kube_api import ApiError
from kubedcos.kubernetes.node_drain import DrainProgress, PodName


def pod(name: str, **more: Any) -> dict[str, Any]:
    metadata = {"namespace": "default", "name": name, **more.pop("metadata", {})}
    return {"metadata": metadata, "status": {"phase": "Running"}, **more}


DAEMON = {"ownerReferences": [{"kind": "DaemonSet", "controller": True}]}
MIRROR = {"annotations": {"kubernetes.io/config.mirror": "x"}}


class Api:
    """A kube-apiserver with some pods, of which some may not be evicted."""

    def __init__(self, pods: list[dict[str, Any]], protected: tuple[str, ...] = ()) -> None:
        self.pods = pods
        self.protected = protected
        self.calls: list[tuple[str, str]] = []
        self.node: dict[str, Any] = {"metadata": {"annotations": {}}, "spec": {}}

    async def get(self, path: str) -> Any:
        self.calls.append(("GET", path))
        if path.startswith("/api/v1/nodes/"):
            if path.endswith("nobody"):
                raise ApiError(404, "not found")
            return self.node
        return {"items": self.pods}

    async def post(self, path: str, body: Any) -> Any:
        self.calls.append(("POST", path))
        assert body["kind"] == "Eviction"
        name = body["metadata"]["name"]
        if name in self.protected:
            raise ApiError(429, "Cannot evict pod as it would violate the pod's disruption budget.")
        if not any(found["metadata"]["name"] == name for found in self.pods):
            raise ApiError(404, "not found")
        for found in self.pods:
            if found["metadata"]["name"] == name:
                found["metadata"]["deletionTimestamp"] = "2026-11-20T16:00:00Z"

    async def patch(self, path: str, body: Any) -> Any:
        self.calls.append(("PATCH", path))
        # A merge patch: what is null goes.
        parts = {
            "spec": (self.node["spec"], body["spec"]),
            "annotations": (self.node["metadata"]["annotations"], body["metadata"]["annotations"]),
        }
        for here, news in parts.values():
            here |= {key: value for key, value in news.items() if value is not None}
            for key in [key for key, value in news.items() if value is None]:
                here.pop(key, None)


def test_what_would_come_back_or_has_ended_is_left_alone() -> None:
    pods = [
        pod("web"),
        pod("log", metadata=DAEMON),
        pod("static", metadata=MIRROR),
        pod("job", status={"phase": "Succeeded"}),
        pod("going", metadata={"deletionTimestamp": "t"}),
        # Its kubelet has yet to take it off the API; without the kubelet it would stay there.
        pod("killed", metadata={"deletionTimestamp": "t"}, status={"phase": "Failed"}),
    ]
    assert node_drain.to_evict(pods) == (
        (PodName("default", "web"), False),
        (PodName("default", "going"), True),
        (PodName("default", "killed"), True),
    )


def test_pods_are_evicted_and_budgets_respected() -> None:
    api = Api([pod("web"), pod("db")], protected=("db",))
    progress = asyncio.run(node_drain.drain(api, "b1"))  # type: ignore[arg-type]
    assert api.calls[0] == ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Db1")
    assert ("POST", "/api/v1/namespaces/default/pods/web/eviction") in api.calls
    assert progress.ending == (PodName("default", "web"),)
    assert str(progress) == (
        "1 pods end; default/db may not be evicted"
        " (Cannot evict pod as it would violate the pod's disruption budget.)"
    )
    assert progress.open(reachable=True)
    again = asyncio.run(node_drain.drain(api, "b1"))  # type: ignore[arg-type]
    assert again.ending == progress.ending
    assert sum("web/eviction" in path for _, path in api.calls) == 1


def test_on_a_lost_node_nobody_waits_for_pods_to_end() -> None:
    assert DrainProgress(ending=(PodName("d", "p"),)).open(reachable=True)
    assert not DrainProgress(ending=(PodName("d", "p"),)).open(reachable=False)
    assert DrainProgress(held=((PodName("d", "p"), "budget"),)).open(reachable=False)


def test_a_node_that_is_not_there_needs_no_cordon() -> None:
    api = Api([])
    assert asyncio.run(node_drain.cordon(api, "b1"))  # type: ignore[arg-type]
    assert not asyncio.run(node_drain.cordon(api, "nobody"))  # type: ignore[arg-type]


def test_a_node_that_was_cordoned_is_uncordoned_again() -> None:
    api = Api([])
    for _ in range(2):
        asyncio.run(node_drain.cordon(api, "b1"))  # type: ignore[arg-type]
        assert api.node["spec"] == {"unschedulable": True}
    assert asyncio.run(node_drain.uncordon(api, "b1"))  # type: ignore[arg-type]
    assert api.node == {"metadata": {"annotations": {}}, "spec": {}}
    assert not asyncio.run(node_drain.uncordon(api, "b1"))  # type: ignore[arg-type]
    assert not asyncio.run(node_drain.uncordon(api, "nobody"))  # type: ignore[arg-type]


def test_a_node_that_a_person_has_cordoned_stays_cordoned() -> None:
    api = Api([])
    api.node["spec"]["unschedulable"] = True
    assert asyncio.run(node_drain.cordon(api, "b1"))  # type: ignore[arg-type]
    assert not asyncio.run(node_drain.uncordon(api, "b1"))  # type: ignore[arg-type]
    assert api.node == {"metadata": {"annotations": {}}, "spec": {"unschedulable": True}}


def test_other_refusals_are_passed_on() -> None:
    class Closed(Api):
        async def post(self, path: str, body: Any) -> Any:
            raise ApiError(403, f"{path} {body['kind']} is forbidden")

    with pytest.raises(ApiError, match="forbidden"):
        asyncio.run(node_drain.drain(Closed([pod("web")]), "b1"))  # type: ignore[arg-type]
