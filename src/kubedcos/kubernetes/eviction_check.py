"""Whether nodes can be emptied: would their pods find room elsewhere, and may they be evicted.

Asked before nodes are taken away. What it finds holds for the moment; a drain still respects every
PodDisruptionBudget, one eviction after the other. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubedcos.errors import Problem
from kubedcos.kubernetes.quantity import parse_quantity

_UNITS: Final = {"cpu": (1, "CPUs"), "memory": (1 << 20, "MiB of memory")}
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_MIRROR: Final = "kubernetes.io/config.mirror"
_HINT: Final = "Scale down less, or add room first; --force removes the nodes all the same"
_NAMED_AT_MOST: Final = 3

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a cluster holds, as its API lists it."""

    nodes: Sequence[Object]
    pods: Sequence[Object]
    budgets: Sequence[Object]


def objections(leaving: Collection[str], contents: Contents) -> list[Problem]:
    """What speaks against emptying nodes.

    Args:
        leaving: names of the nodes.
        contents: of the cluster.
    """
    alive = [pod for pod in contents.pods if _runs(pod)]
    moving = [pod for pod in alive if _node_of(pod) in leaving and not _stays(pod)]
    if not moving:
        return []
    staying = [node for node in contents.nodes if _name(node) not in leaving and _usable(node)]
    return [*_without_room(moving, staying, alive), *_without_leave(moving, contents.budgets)]


def requests(pod: Object) -> dict[str, float]:
    """What a pod asks of a node: CPUs, and memory in bytes.

    The greater of the sum of its containers and the greatest of its init containers, as
    kube-scheduler reckons; init containers that go on running count as containers.
    """
    spec = pod.get("spec", {})
    found = {}
    for name in _UNITS:
        lasting = [_request(part, name) for part in spec.get("containers", ())]
        once = []
        for part in spec.get("initContainers", ()):
            if part.get("restartPolicy") == "Always":
                lasting.append(_request(part, name))
            else:
                once.append(_request(part, name))
        overhead = _amount(spec.get("overhead", {}).get(name, "0"))
        found[name] = max(sum(lasting), max(once, default=0.0)) + overhead
    return found


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; an empty one matches all, none at all matches nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_fulfils(rule, labels) for rule in selector.get("matchExpressions", ()))


def _fulfils(rule: Object, labels: Mapping[str, str]) -> bool:
    key, values = rule.get("key", ""), rule.get("values", ())
    match rule.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def _without_room(
    moving: Sequence[Object], staying: Sequence[Object], alive: Iterable[Object]
) -> list[Problem]:
    used: dict[str, dict[str, float]] = {}
    for pod in alive:
        at = used.setdefault(_node_of(pod), dict.fromkeys(_UNITS, 0.0))
        for name, amount in requests(pod).items():
            at[name] += amount
    found = []
    for name, (unit, words) in _UNITS.items():
        needed = sum(requests(pod)[name] for pod in moving)
        free = 0.0
        for node in staying:
            has = _amount(node["status"].get("allocatable", {}).get(name, "0"))
            free += max(0.0, has - used.get(_name(node), {}).get(name, 0.0))
        if needed > free:
            found.append(
                Problem(
                    "nodes that are to go",
                    f"pods that request {needed / unit:.4g} {words}",
                    f"at most {free / unit:.4g}, which is free on the nodes that stay",
                    id="scale-down-no-room",
                    fix=f"{_HINT}.",
                )
            )
    return found


def _without_leave(moving: Sequence[Object], budgets: Iterable[Object]) -> list[Problem]:
    found = []
    for budget in budgets:
        status = budget.get("status", {})
        if status.get("disruptionsAllowed", 0) > 0:
            continue
        namespace = budget["metadata"].get("namespace", "")
        held = [
            pod
            for pod in moving
            if pod["metadata"].get("namespace", "") == namespace
            and selects(budget["spec"].get("selector"), pod["metadata"].get("labels", {}))
        ]
        if not held:
            continue
        names = ", ".join(_name(pod) for pod in held[:_NAMED_AT_MOST])
        more = f" and {len(held) - _NAMED_AT_MOST} more" if len(held) > _NAMED_AT_MOST else ""
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        found.append(
            Problem(
                f"PodDisruptionBudget {namespace}/{_name(budget)}",
                f"{names}{more} on nodes that are to go, and no eviction allowed"
                f" ({healthy} healthy, {wanted} wanted)",
                "at least one allowed disruption",
                id="scale-down-budget",
                fix="Have more replicas first; --force removes the nodes all the same.",
            )
        )
    return found


def _request(container: Object, name: str) -> float:
    asked = container.get("resources", {}).get("requests", {}).get(name, "0")
    return _amount(asked)


def _amount(text: object) -> float:
    """A quantity as a number; what nobody can read asks for nothing."""
    try:
        return float(parse_quantity(str(text)))
    except ValueError:
        return 0.0


def _runs(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") not in _ENDED


def _stays(pod: Object) -> bool:
    """Whether a drain leaves it alone: it would come back at once, or no API can end it."""
    metadata = pod.get("metadata", {})
    owners = metadata.get("ownerReferences", ())
    daemon = any(owner.get("kind") == "DaemonSet" and owner.get("controller") for owner in owners)
    return daemon or _MIRROR in metadata.get("annotations", {})


def _usable(node: Object) -> bool:
    if node.get("spec", {}).get("unschedulable"):
        return False
    conditions = node.get("status", {}).get("conditions", ())
    return any(part.get("type") == "Ready" and part.get("status") == "True" for part in conditions)


def _node_of(pod: Object) -> str:
    return str(pod.get("spec", {}).get("nodeName", ""))


def _name(thing: Object) -> str:
    return str(thing["metadata"]["name"])
