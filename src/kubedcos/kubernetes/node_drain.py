"""Emptying a node before it goes or restarts: cordon, evict; and uncordon one that is back.

What `kubectl drain --ignore-daemonsets --delete-emptydir-data` does, in small steps that can be
repeated: pods are evicted through the eviction API, which respects PodDisruptionBudgets, and the
caller decides when it has waited long enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubedcos.kubernetes.kube_api import ApiError, KubeApi

_MIRROR: Final = "kubernetes.io/config.mirror"
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_TOO_MANY_REQUESTS: Final = 429
"""The API's answer when a PodDisruptionBudget does not allow the eviction now."""
_NAMED_AT_MOST: Final = 3
CORDONED: Final = "kubedcos.io/cordoned"
"""Annotation of a node that the scheduler has cordoned: only such a one is uncordoned by it."""


@dataclass(frozen=True, slots=True)
class PodName:
    """A Kubernetes pod."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """Of the API."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """How far a node is drained.

    Attributes:
        ending: pods that were evicted and have not ended yet.
        held: pods whose eviction was refused, with the reason.
    """

    ending: tuple[PodName, ...] = ()
    held: tuple[tuple[PodName, str], ...] = ()

    def open(self, *, reachable: bool) -> bool:
        """Whether there is something left to wait for: nobody sees pods end on a lost node."""
        return bool(self.held) or (reachable and bool(self.ending))

    def __str__(self) -> str:
        """A clause such as ``2 pods end; default/web-1 may not be evicted (…)``."""
        parts = []
        if self.ending:
            parts.append(f"{len(self.ending)} pods end")
        parts += [f"{pod} may not be evicted ({why})" for pod, why in self.held[:_NAMED_AT_MOST]]
        if len(self.held) > _NAMED_AT_MOST:
            parts.append(f"{len(self.held) - _NAMED_AT_MOST} more likewise")
        return "; ".join(parts)


def to_evict(pods: Iterable[Mapping[str, Any]]) -> tuple[tuple[PodName, bool], ...]:
    """Pods of a node that have to go, and whether each is ending already.

    Left alone are pods that ended and that nobody deletes, mirror pods of static ones, which no API
    can end, and those of DaemonSets, which would come back at once. One that is deleted has ended
    when it is gone: its kubelet takes it off the API, and nobody else does for most of a minute.
    """
    found = []
    for pod in pods:
        metadata = pod.get("metadata", {})
        owners = metadata.get("ownerReferences", ())
        daemon = any(o.get("kind") == "DaemonSet" and o.get("controller") for o in owners)
        mirror = _MIRROR in metadata.get("annotations", {})
        deleted = "deletionTimestamp" in metadata
        ended = pod.get("status", {}).get("phase") in _ENDED and not deleted
        if daemon or mirror or ended:
            continue
        found.append((PodName(metadata["namespace"], metadata["name"]), deleted))
    return tuple(found)


async def cordon(api: KubeApi, node: str) -> bool:
    """Keep new pods from a node; whether there is such a node.

    One that a person has cordoned stays that person's: it is not marked as ours.

    Raises:
        ApiError: the API refused or did not answer.
    """
    path = f"/api/v1/nodes/{node}"
    try:
        found = await api.get(path)
        if not found.get("spec", {}).get("unschedulable", False):
            marked = {"metadata": {"annotations": {CORDONED: "true"}}}
            await api.patch(path, {**marked, "spec": {"unschedulable": True}})
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


async def uncordon(api: KubeApi, node: str) -> bool:
    """Let pods onto a node again that `cordon` has kept them from; whether it had.

    Raises:
        ApiError: the API refused or did not answer.
    """
    path = f"/api/v1/nodes/{node}"
    try:
        found = await api.get(path)
        if CORDONED not in (found.get("metadata", {}).get("annotations") or {}):
            return False
        unmarked = {"metadata": {"annotations": {CORDONED: None}}}
        await api.patch(path, {**unmarked, "spec": {"unschedulable": None}})
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


async def drain(api: KubeApi, node: str) -> DrainProgress:
    """Evict what is on a node; what may not be evicted now is tried again by calling again.

    Raises:
        ApiError: the API refused or did not answer.
    """
    listed = await api.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")
    ending: list[PodName] = []
    held: list[tuple[PodName, str]] = []
    for pod, ends in to_evict(listed.get("items", ())):
        if ends:
            ending.append(pod)
            continue
        try:
            await api.post(f"{pod.path}/eviction", _eviction(pod))
        except ApiError as error:
            if error.status == 404:
                continue
            if error.status != _TOO_MANY_REQUESTS:
                raise
            held.append((pod, str(error).removeprefix("429 ")))
        else:
            ending.append(pod)
    return DrainProgress(tuple(ending), tuple(held))


async def nodes_at(api: KubeApi, address: str) -> tuple[str, ...]:
    """Names of the nodes at an agent's address.

    Raises:
        ApiError: the API refused or did not answer.
    """
    listed = await api.get("/api/v1/nodes")
    return tuple(
        node["metadata"]["name"]
        for node in listed.get("items", ())
        if any(
            found.get("type") == "InternalIP" and found.get("address") == address
            for found in node.get("status", {}).get("addresses", ())
        )
    )


def _eviction(pod: PodName) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
    }
