"""When an add-on is there: the objects that tell, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubedcos.kubernetes.addons import ADMINISTRATORS, KIND_PREFIX
from kubedcos.kubernetes.approval import APPROVER_USER
from kubedcos.scheduler.workload import Readiness

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/kube-system/deployments"


@dataclass(frozen=True, slots=True)
class Witness:
    """An object whose existence, or whose condition, shows that an add-on is there.

    Attributes:
        path: of the API.
        condition: type of a condition that has to be True; empty: existence is enough.
    """

    path: str
    condition: str = ""


WITNESSES: Mapping[str, tuple[Witness, ...]] = {
    f"{KIND_PREFIX}cluster-roles": (
        Witness(f"{_RBAC}/clusterroles/{APPROVER_USER}"),
        Witness(f"{_RBAC}/clusterrolebindings/{ADMINISTRATORS}"),
    ),
    f"{KIND_PREFIX}tls-bootstrapping": (
        Witness(f"{_RBAC}/clusterrolebindings/kubedcos:node-bootstrappers"),
    ),
    f"{KIND_PREFIX}dns": (Witness(f"{_DEPLOYMENTS}/coredns", "Available"),),
    f"{KIND_PREFIX}metrics-server": (
        Witness(f"{_DEPLOYMENTS}/metrics-server", "Available"),
        Witness("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io", "Available"),
    ),
}


def judge(witness: Witness, seen: Mapping[str, Any]) -> Readiness:
    """What an object (JSON) says about its add-on."""
    if not witness.condition:
        return Readiness(ready=True)
    name = f"{seen.get('kind', 'object')} {seen['metadata']['name']}"
    for condition in seen.get("status", {}).get("conditions", ()):
        if condition["type"] == witness.condition:
            if condition["status"] == "True":
                return Readiness(ready=True)
            text = condition.get("message", "")
            return Readiness(ready=False, reason=f"{name} is not {witness.condition}: {text}")
    return Readiness(ready=False, reason=f"{name} has not reported {witness.condition} yet")
