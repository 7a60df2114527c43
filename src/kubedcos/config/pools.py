"""Node pools: nodes of one size, label set and placement, with the rules for labels and taints."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from kubedcos.config.constraints import Constraints
from kubedcos.config.section import Cpus, Mebibytes, Path, RoleName, Section

NODE_POD: Final = "kube-node"
"""Pod of the default pool; pool ``gpu`` has the pod ``kube-node-gpu``."""
DEFAULT_POOL: Final = "default"
MOST_NODES: Final = 5000
_POOL_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,14}[a-z0-9])?")
_PART: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_OWN_LABELS: Final = frozenset(
    {"topology.kubernetes.io/region", "topology.kubernetes.io/zone", "kubernetes.io/hostname"}
)
"""Labels whose values follow from the agent."""
_KUBELET_LABELS: Final = frozenset({"node.kubernetes.io/instance-type"})
_KUBELET_PREFIXES: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
"""What of kubernetes.io and k8s.io NodeRestriction lets a kubelet set on its own node:
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction"""


def _pool_name(value: str) -> str:
    if not _POOL_NAME.fullmatch(value) or re.search(r"-\d+$", value) or value == DEFAULT_POOL:
        raise ValueError(
            "1 to 16 lower-case letters, digits and hyphens, beginning with a letter, not ending "
            f"with a hyphen or a number after one, and not {DEFAULT_POOL}: options of that pool "
            "are those of node"
        )
    return value


def _qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and _DOMAIN.fullmatch(prefix)):
        return False
    return _PART.fullmatch(name) is not None


def _label_key(key: str) -> str:
    if not _qualified(key):
        raise ValueError("a label such as disk or example.org/disk")
    prefix = key.rpartition("/")[0]
    if key in _OWN_LABELS or prefix == "kubedcos":
        raise ValueError("a label that kubedcos does not set itself")
    theirs = _within(prefix, ("kubernetes.io", "k8s.io"))
    if theirs and key not in _KUBELET_LABELS and not _within(prefix, _KUBELET_PREFIXES):
        raise ValueError(
            "a label that a kubelet may set: not under kubernetes.io or k8s.io, but for "
            "node.kubernetes.io and kubelet.kubernetes.io (admission plugin NodeRestriction)"
        )
    return key


def _within(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in domains)


def _label_value(value: str) -> str:
    if value and not _PART.fullmatch(value):
        raise ValueError(
            "a label's value: at most 63 letters, digits, '-', '_' and '.', beginning and ending "
            "with a letter or digit"
        )
    return value


def _taint(text: str) -> str:
    head, colon, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    if not colon or effect not in _EFFECTS or not _qualified(key):
        raise ValueError(f"KEY=VALUE:EFFECT or KEY:EFFECT, EFFECT one of {', '.join(_EFFECTS)}")
    _label_value(value)
    return text


def _different(taints: tuple[str, ...]) -> tuple[str, ...]:
    keys = [(text.partition("=")[0].partition(":")[0], text.rpartition(":")[2]) for text in taints]
    if len(set(keys)) < len(keys):
        raise ValueError("taints that differ in key or effect")
    return taints


LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
Taint = Annotated[str, AfterValidator(_taint)]
PoolName = Annotated[str, AfterValidator(_pool_name)]


class Sidecar(Section):
    """Resources of a task that accompanies each kubelet."""

    cpus: Cpus = 0.1
    """Cores that Mesos grants it; it may use idle ones besides."""
    mem_mb: Mebibytes = 96
    """MiB of memory that Mesos grants it."""


class Pool(Section):
    """A pool of Kubernetes nodes beside the default one, by its name.

    Pods of pool ``gpu`` are called ``kube-node-gpu-0`` and so on.
    """

    count: Annotated[int, Field(ge=0, le=MOST_NODES)] = 1
    """Nodes, at most one on an agent."""
    cpus: Cpus = 0.6
    """Cores that a node offers to pods; kubelet and containerd live within them."""
    mem_mb: Annotated[int, Field(ge=512)] = 1024
    """Memory in MiB that a node offers to pods; kubelet and containerd live within it."""
    disk_mb: Annotated[int, Field(ge=1024)] = 4096
    """MiB for images, logs and scratch space of pods."""
    max_pods: Annotated[int, Field(ge=1, le=500)] = 110
    """Most Kubernetes pods of a node."""
    pod_pids_limit: Annotated[int, Field(ge=64)] = 1024
    """Most processes of one pod."""
    proxy: Sidecar = Sidecar()
    """The node's kube-proxy."""
    dns: Sidecar = Sidecar()
    """The node's own CoreDNS."""
    labels: dict[LabelKey, LabelValue] = {}  # noqa: RUF012  pydantic copies it
    """Labels that the kubelet registers its node with."""
    taints: Annotated[tuple[Taint, ...], AfterValidator(_different)] = ()
    """Taints that the kubelet registers its node with."""
    placement: Constraints = ()
    """Constraints on agents; when there are any, they stand in place of `placement.nodes`."""
    role: RoleName = ""
    """Mesos role whose offers the nodes take, such as `slave_public`; default: the cluster's."""


class Node(Pool):
    """Kubernetes nodes of the default pool: a kubelet, a kube-proxy and a CoreDNS each."""

    count: Annotated[int, Field(ge=0, le=MOST_NODES)] = 2
    """Nodes, at most one on an agent."""
    runtime_dir: Path = "/opt/kubedcos/bin"
    """Where hosts have containerd, containerd-shim-runc-v2, ctr and runc; for all pools."""
    cni_bin_dir: Path = "/opt/cni/bin"
    """Where hosts have the CNI plugins; for all pools."""
    registry_mirrors_dir: Path = "/etc/containerd/certs.d"
    """Where hosts say which registry has the images; for all pools."""


def pod_name(pool: str) -> str:
    """Name of a pool's pod; the empty name is the default pool's."""
    return f"{NODE_POD}-{pool}" if pool else NODE_POD


def pool_name(pod: str) -> str:
    """The pool whose pod it is; the inverse of `pod_name`."""
    return pod.removeprefix(NODE_POD).removeprefix("-")


def is_node_pod(pod: str) -> bool:
    """Whether a pod is some pool's, also of one that was removed."""
    return pod == NODE_POD or pod.startswith(f"{NODE_POD}-")
