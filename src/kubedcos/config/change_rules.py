"""The table itself: for each option whether it may change, what restarts, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Changeable(StrEnum):
    """Whether an option of a running cluster may change."""

    FREE = "free"
    """At any time, in any direction."""
    ONCE = "once"
    """In one direction; there is no way back."""
    NEVER = "never"
    """Not while the cluster exists."""


class Way(StrEnum):
    """The direction in which an option that is changeable once may go."""

    ON = "false to true"
    UP = "to more"


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for one option.

    Attributes:
        restarts: what is started anew with the new value: ``POD/TASK``, ``POD`` for all tasks of
            it, or the name of a task that nodes of all pools have; in rules for parts of a list
            ``*`` stands for the part's name.
        why: reason of the rule: a clause without a full stop.
        way: of options that are changeable once.
    """

    changeable: Changeable
    why: str
    restarts: tuple[str, ...] = ()
    way: Way | None = None

    def forbids(self, old: Any, new: Any) -> str | None:
        """What would be right instead of `new`; None when the change is allowed."""
        if self.changeable is Changeable.NEVER:
            return f"{_text(old)}: this option never changes while the cluster exists"
        if self.way is Way.ON and not (new is True and old is False):
            return f"{_text(old)}: this option changes once, from false to true"
        if self.way is Way.UP and not new > old:
            return f"{_text(old)} or more: this option never goes back"
        return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _free(why: str, *restarts: str) -> Rule:
    return Rule(Changeable.FREE, why, restarts)


def _once(way: Way, why: str, *restarts: str) -> Rule:
    return Rule(Changeable.ONCE, why, restarts, way)


def _never(why: str) -> Rule:
    return Rule(Changeable.NEVER, why)


def _grant(*restarts: str) -> Rule:
    return _free("Mesos grants resources to a task when it starts", *restarts)


def _at_start(*restarts: str) -> Rule:
    return _free("it is read when the task starts", *restarts)


_ADDRESSES: Final = "addresses that are in use follow from it"
_VOLUME: Final = "the members' data lie on volumes of this shape"
_NEXT_PLACEMENT: Final = "it holds for placements to come; nothing that runs is moved"
_NEXT_LOSS: Final = "the framework scheduler goes by it from now on"
_COUNT: Final = "nodes come side by side, and go one by one after they were drained"
_REGISTERED: Final = (
    "a kubelet registers its node with them once; a pool of another name may have others"
)
_NEXT_LAUNCH: Final = "it holds for launches to come"
_ONE: Final = "members of the control plane are added, never taken away"

RULES: Final[Mapping[str, Rule]] = {
    "name": _never("the framework, names in DNS and certificates have it"),
    "version": _never("an upgrade has an order of its own, which this version does not have yet"),
    "role": _never("the cluster's reservations belong to the role"),
    "region": _never("the control plane runs there, and etcd's data lie there"),
    "high_availability": _once(
        Way.ON,
        "members that were taken away would take the quorum of the rest with them",
        "kube-apiserver",
    ),
    "etcd.count": _once(Way.UP, _ONE, "kube-apiserver"),
    "etcd.cpus": _grant("etcd"),
    "etcd.mem_mb": _grant("etcd"),
    "etcd.disk_mb": _never(_VOLUME),
    "etcd.disk": _never(_VOLUME),
    "apiserver.count": _once(Way.UP, _ONE),
    "apiserver.cpus": _grant("kube-apiserver"),
    "apiserver.mem_mb": _grant("kube-apiserver"),
    "apiserver.always_pull_images": _at_start("kube-apiserver"),
    "controller_manager.count": _once(Way.UP, _ONE),
    "controller_manager.cpus": _grant("kube-controller-manager"),
    "controller_manager.mem_mb": _grant("kube-controller-manager"),
    "scheduler.count": _once(Way.UP, _ONE),
    "scheduler.cpus": _grant("kube-scheduler"),
    "scheduler.mem_mb": _grant("kube-scheduler"),
    "node.count": _free(_COUNT),
    "node.cpus": _grant("kube-node/kubelet"),
    "node.mem_mb": _grant("kube-node/kubelet"),
    "node.disk_mb": _grant("kube-node/kubelet"),
    "node.max_pods": _at_start("kube-node/kubelet"),
    "node.pod_pids_limit": _at_start("kube-node/kubelet"),
    "node.proxy.cpus": _grant("kube-node/kube-proxy"),
    "node.proxy.mem_mb": _grant("kube-node/kube-proxy"),
    "node.dns.cpus": _grant("kube-node/coredns"),
    "node.dns.mem_mb": _grant("kube-node/coredns"),
    "node.labels": _never(_REGISTERED),
    "node.taints": _never(_REGISTERED),
    "node.placement": _free(_NEXT_PLACEMENT),
    "node.role": _never("nodes hold resources of this role"),
    "node.runtime_dir": _at_start("kubelet"),
    "node.cni_bin_dir": _at_start("kubelet"),
    "node.registry_mirrors_dir": _at_start("kubelet"),
    "node_pools": _free(
        "nodes of a new pool come side by side; those of one that goes, one by one"
    ),
    "node_pools.*.count": _free(_COUNT),
    "node_pools.*.cpus": _grant("kube-node-*/kubelet"),
    "node_pools.*.mem_mb": _grant("kube-node-*/kubelet"),
    "node_pools.*.disk_mb": _grant("kube-node-*/kubelet"),
    "node_pools.*.max_pods": _at_start("kube-node-*/kubelet"),
    "node_pools.*.pod_pids_limit": _at_start("kube-node-*/kubelet"),
    "node_pools.*.proxy.cpus": _grant("kube-node-*/kube-proxy"),
    "node_pools.*.proxy.mem_mb": _grant("kube-node-*/kube-proxy"),
    "node_pools.*.dns.cpus": _grant("kube-node-*/coredns"),
    "node_pools.*.dns.mem_mb": _grant("kube-node-*/coredns"),
    "node_pools.*.labels": _never(_REGISTERED),
    "node_pools.*.taints": _never(_REGISTERED),
    "node_pools.*.placement": _free(_NEXT_PLACEMENT),
    "node_pools.*.role": _never("nodes hold resources of this role"),
    "network.overlay": _never(_ADDRESSES),
    "network.pod_cidr": _never(_ADDRESSES),
    "network.node_prefix": _never(_ADDRESSES),
    "network.cni_conf_dir": _at_start("kubelet"),
    "network.service_cidr": _never(_ADDRESSES),
    "network.cluster_domain": _never("names and certificates in the cluster have it"),
    "network.node_dns": _never("running Kubernetes pods ask at this address until they end"),
    "network.host_dns": _at_start("coredns"),
    "network.other_cidrs": _free("it is only checked against the cluster's own networks"),
    "placement.etcd": _free(_NEXT_PLACEMENT),
    "placement.control_plane": _free(_NEXT_PLACEMENT),
    "placement.nodes": _free(_NEXT_PLACEMENT),
    "placement.regions": _free(_NEXT_PLACEMENT),
    "placement.spread_by": _free(_NEXT_PLACEMENT),
    "placement.node_attributes": _free(_NEXT_PLACEMENT),
    "placement.control_plane_attributes": _free(_NEXT_PLACEMENT),
    "mesos.masters": _never("these masters know the framework and its tasks, others do not"),
    "mesos.agent_port": _free("the framework scheduler asks agents there"),
    "mesos.domain": _never("names and certificates have it"),
    "artifacts.url": _free(_NEXT_LAUNCH),
    "artifacts.sandbox_image": _at_start("kubelet"),
    "artifacts.dns_image": _free("the add-on is applied again", "addons/dns"),
    "artifacts.metrics_server_image": _free("the add-on is applied again", "addons/metrics-server"),
    "artifacts.demo_image": _free("it is read when the demonstration is installed"),
    "addons.dns_replicas": _free("the add-on is applied again", "addons/dns"),
    "addons.metrics_server": _once(Way.ON, "an installed add-on stays installed"),
    "recovery.replace_after.etcd": _free(_NEXT_LOSS),
    "recovery.replace_after.control_plane": _free(_NEXT_LOSS),
    "recovery.replace_after.node": _free(_NEXT_LOSS),
    "recovery.max_concurrent_replacements": _free(_NEXT_LOSS),
    "recovery.min_gap": _free(_NEXT_LOSS),
    "recovery.drain_timeout": _free(_NEXT_LOSS),
    "recovery.maintenance_lead": _free(_NEXT_LOSS),
    "update.nodes_at_once": _free("it holds from the next restart on"),
}
"""Option to rule, in the order of the options."""
