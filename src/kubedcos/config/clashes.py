"""What two clusters on one Mesos must not share; pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from itertools import combinations

from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import Problem


def clashes(new: ClusterOptions, others: Iterable[ClusterOptions], where: str) -> list[Problem]:
    """What a cluster would share with others though each needs its own; both names are told.

    Args:
        new: the cluster that is to be.
        others: those that are; one of the same name is the cluster itself.
        where: origin of the new one's options, for messages.
    """
    return [
        problem
        for other in others
        if other.name != new.name
        for problem in _between(new, other, where)
    ]


def all_clashes(clusters: Iterable[ClusterOptions]) -> list[Problem]:
    """Clashes among clusters that are to be made together."""
    return [
        problem
        for other, new in combinations(clusters, 2)
        if other.name != new.name
        for problem in _between(new, other, f"cluster {new.name}")
    ]


def _between(new: ClusterOptions, other: ClusterOptions, where: str) -> list[Problem]:
    found = []

    def note(key: str, seen: str, wanted: str, fix: str = "") -> None:
        told = f"{seen} in cluster {new.name} and in cluster {other.name}"
        found.append(Problem(f"{where}: {key}", told, wanted, id="cluster-clash", fix=fix))

    if new.mesos_role == other.mesos_role:
        note("role", new.mesos_role, "a role for each cluster, which its reservations are kept by")
    if new.network.overlay == other.network.overlay:
        note("network.overlay", new.network.overlay, "an overlay for each cluster")
    for key in ("pod_cidr", "service_cidr"):
        for theirs in ("pod_cidr", "service_cidr"):
            mine, their = getattr(new.network, key), getattr(other.network, theirs)
            if not IPv4Network(mine).overlaps(IPv4Network(their)):
                continue
            same = f"{mine}, which overlaps network.{theirs} {their},"
            note(f"network.{key}", mine if mine == their else same, "addresses of its own")
    for pod, pool in new.pools.items():
        if pool.role and pool.role == other.mesos_role:
            note(f"{_option(pod)}.role", pool.role, "a role that is no other cluster's own")
    return found


def _option(pod: str) -> str:
    return "node" if pod.count("-") == 1 else f"node_pools.{pod.split('-', 2)[2]}"
