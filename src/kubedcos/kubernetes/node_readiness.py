"""When a node is ready: what it says of itself, and that a Kubernetes pod can run there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from kubedcos.config.cluster import ClusterOptions
from kubedcos.kubernetes.addons import NAMESPACE
from kubedcos.kubernetes.quantity import parse_quantity
from kubedcos.model.service import TaskSpec
from kubedcos.scheduler.workload import Readiness

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_MEBIBYTE = 1 << 20


def judge_node(node: Mapping[str, Any], grant: TaskSpec) -> Readiness:
    """Whether a Node (JSON) is Ready and offers exactly what its task was granted."""
    status = node.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    ready = conditions.get("Ready")
    if ready is None or ready["status"] != "True":
        message = ready.get("message", "") if ready else "the kubelet has not reported yet"
        return Readiness(ready=False, reason=f"node is not Ready: {message}")
    allocatable = status.get("allocatable", {})
    wanted = {"cpu": (grant.cpus, 1), "memory": (grant.mem_mb, _MEBIBYTE)}
    for name, (amount, unit) in wanted.items():
        seen = float(parse_quantity(allocatable.get(name, "0")))
        if abs(seen - amount * unit) > 1e-6:
            return Readiness(
                ready=False,
                reason=f"node offers {allocatable.get(name)} {name}, granted were {amount}",
            )
    return Readiness(ready=True)


def probe_pod_name(task_id: str) -> str:
    """Name of the pod that shows that pods run on the node of `task_id`."""
    return f"probe-{hashlib.sha256(task_id.encode()).hexdigest()[:16]}"


def probe_pod(task_id: str, node: str, options: ClusterOptions) -> dict[str, Any]:
    """A pod that does nothing, on `node`, placed by kube-scheduler.

    It tolerates every taint: those of a pool, and that of a node which is not in use before its
    restart is over, keep other pods away and say nothing about whether pods run there.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": probe_pod_name(task_id), "namespace": NAMESPACE},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"operator": "Exists"}],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65535,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": options.artifacts.sandbox_image,
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {
                        "requests": {"cpu": "1m", "memory": "4Mi"},
                        "limits": {"memory": "16Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def judge_pod(pod: Mapping[str, Any]) -> Readiness:
    """Whether the probe pod (JSON) runs, or what keeps it from running."""
    status = pod.get("status", {})
    phase = status.get("phase", "Pending")
    if phase == "Running":
        return Readiness(ready=True)
    causes = [
        f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
        for container in status.get("containerStatuses", ())
        if (waiting := container.get("state", {}).get("waiting")) and "reason" in waiting
    ]
    causes += [
        condition.get("message", "")
        for condition in status.get("conditions", ())
        if condition["type"] == "PodScheduled" and condition["status"] != "True"
    ]
    cause = "; ".join(cause for cause in causes if cause)
    return Readiness(ready=False, reason=f"probe pod is {phase}{f' ({cause})' if cause else ''}")
