"""Options of the clusters in an inventory: what follows from it, and what contradicts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from kubedcos.errors import Problem

DEFAULT_NAME = "kubernetes"
DEFAULT_OVERLAY = "kubernetes"


def complete(
    clusters: object,
    *,
    overlays: object = None,
    host_networks: object = None,
    service_networks: object = None,
    artifact_url: str = "",
) -> object:
    """The options with what follows from the inventory beneath what each of them says itself.

    What is not as it should be stays as it is, for `form_problems` to name.

    Args:
        clusters: list of options as in their files.
        overlays: as in the inventory.
        host_networks: region → CIDR.
        service_networks: cluster → CIDR.
        artifact_url: of the artefact server.
    """
    if not _is_list(clusters):
        return clusters
    return [
        _merged(
            {
                "network": _network(options, _mappings(overlays), host_networks, service_networks),
                "artifacts": {"url": artifact_url},
            },
            options,
        )
        if isinstance(options, Mapping)
        else options
        for options in clusters
    ]


def form_problems(clusters: object) -> list[Problem]:
    """Clusters that are no list of mappings, or share a name."""
    if clusters is None:
        return []
    if not _is_list(clusters):
        return [_misshapen("clusters", clusters)]
    problems = [
        _misshapen(f"clusters[{number}]", options)
        for number, options in enumerate(clusters)
        if not isinstance(options, Mapping)
    ]
    names = Counter(str(each.get("name", DEFAULT_NAME)) for each in _mappings(clusters))
    return problems + [
        Problem(
            f"cluster {name}",
            f"{count} clusters of that name",
            "another name for each cluster",
            "cluster-name-duplicate",
        )
        for name, count in names.items()
        if count > 1
    ]


def overlay_problems(
    where: str, network: object, overlays: Iterable[Mapping[str, Any]]
) -> list[Problem]:
    """An overlay that the inventory does not have, or whose subnet is another.

    Args:
        where: the cluster, for messages.
        network: that section of its options.
        overlays: those of the inventory.
    """
    section = network if isinstance(network, Mapping) else {}
    overlay = str(section.get("overlay", DEFAULT_OVERLAY))
    subnets = {str(each.get("name")): str(each.get("subnet")) for each in overlays}
    if overlay not in subnets:
        return [
            Problem(
                f"{where}: network.overlay",
                repr(overlay),
                f"one of {', '.join(subnets)}" if subnets else "an overlay, of which there is none",
                "cluster-overlay-unknown",
                "The variable overlays lists them.",
            )
        ]
    if section.get("pod_cidr", subnets[overlay]) != subnets[overlay]:
        return [
            Problem(
                f"{where}: network.pod_cidr",
                str(section["pod_cidr"]),
                f"{subnets[overlay]}, the subnet of overlay {overlay}",
                "cluster-pod-network",
                "Leave it out: it follows from the overlay.",
            )
        ]
    return []


def _network(
    options: Mapping[str, Any],
    overlays: Sequence[Mapping[str, Any]],
    host_networks: object,
    service_networks: object,
) -> dict[str, Any]:
    own = options.get("network")
    wanted = own.get("overlay", DEFAULT_OVERLAY) if isinstance(own, Mapping) else DEFAULT_OVERLAY
    other = {f"vtep-{each.get('name')}": each.get("vtep_subnet") for each in overlays}
    network: dict[str, Any] = {"other_cidrs": other}
    for each in overlays:
        if each.get("name") == wanted:
            network |= {"pod_cidr": each.get("subnet"), "node_prefix": each.get("prefix")}
        else:
            other[f"overlay-{each.get('name')}"] = each.get("subnet")
    if isinstance(host_networks, Mapping):
        other |= {f"hosts-{region}": cidr for region, cidr in host_networks.items()}
    name = options.get("name", DEFAULT_NAME)
    if isinstance(service_networks, Mapping) and isinstance(name, str) and name in service_networks:
        network["service_cidr"] = service_networks[name]
    return network


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        if isinstance(lower, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(lower, value)
        else:
            merged[key] = value
    return merged


def _misshapen(where: str, seen: object) -> Problem:
    return Problem(
        where,
        repr(seen),
        "a list of clusters, each a mapping such as {name: kubernetes}",
        "clusters-invalid",
    )


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _mappings(value: object) -> list[Mapping[str, Any]]:
    if not _is_list(value):
        return []
    return [each for each in value if isinstance(each, Mapping)]
