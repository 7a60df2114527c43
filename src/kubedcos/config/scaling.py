"""How many nodes there are, by pod: what may grow and shrink while a cluster runs."""

from __future__ import annotations

from typing import Any

from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.pools import NODE_POD, pod_name


def node_counts(options: ClusterOptions) -> dict[str, int]:
    """Instances of each pod that is a pool of nodes."""
    return {pod: pool.count for pod, pool in options.pools.items()}


def with_count(options: ClusterOptions, pod: str, count: int) -> dict[str, Any]:
    """The options as plain data with another number of nodes in one pool; they are not checked.

    Raises:
        KeyError: no pool has such a pod.
    """
    if pod not in options.pools:
        raise KeyError(pod)
    document = options.model_dump(mode="json")
    if pod == NODE_POD:
        document["node"]["count"] = count
    else:
        name = next(name for name in options.node_pools if pod_name(name) == pod)
        document["node_pools"][name]["count"] = count
    return document
