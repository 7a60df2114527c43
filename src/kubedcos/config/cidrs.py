"""Rules for the networks of a cluster: valid, large enough, and apart from each other."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from kubedcos.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_PREFIXES = (12, 24)
"""Largest and smallest service network: kube-apiserver refuses more than 20 host bits."""


def _network_text(value: str) -> str:
    try:
        IPv4Network(value)
    except ValueError as error:
        wanted = "an IPv4 network such as 10.96.0.0/16"
        if "host bits" in str(error):
            wanted += f"; did you mean {IPv4Network(value, strict=False)}?"
        raise ValueError(wanted) from None
    if "/" not in value:
        raise ValueError(f"an IPv4 network with its prefix, such as {value}/16")
    return value


def _address_text(value: str) -> str:
    try:
        IPv4Address(value)
    except ValueError:
        raise ValueError("an IPv4 address such as 169.254.20.10") from None
    return value


Network = Annotated[str, AfterValidator(_network_text)]
"""Text of an IPv4 network without host bits."""
Address = Annotated[str, AfterValidator(_address_text)]
"""Text of an IPv4 address."""


def overlap_problems(networks: Mapping[str, str], where: str) -> list[Problem]:
    """A problem for each pair of `networks` (option name to network) that shares addresses."""
    return [
        Problem(
            f"{where}: {name_b}",
            f"{b}, which overlaps {name_a} {a}",
            "networks without common addresses",
            id="network-overlap",
        )
        for (name_a, a), (name_b, b) in combinations(networks.items(), 2)
        if IPv4Network(a).overlaps(IPv4Network(b))
    ]


def service_size_problems(service_cidr: str, key: str, where: str) -> list[Problem]:
    """A problem when the service network is too small or larger than kube-apiserver takes."""
    largest, smallest = SERVICE_PREFIXES
    prefix = IPv4Network(service_cidr).prefixlen
    if largest <= prefix <= smallest:
        return []
    return [
        Problem(
            f"{where}: {key}",
            service_cidr,
            f"a prefix from /{largest} to /{smallest}",
            id="service-network-size",
        )
    ]


def slice_problems(pod_cidr: str, node_prefix: int, nodes: int, where: str) -> list[Problem]:
    """A problem when the pod network cannot give each node a slice of ``/node_prefix``."""
    network = IPv4Network(pod_cidr)
    if node_prefix <= network.prefixlen:
        return [
            Problem(
                f"{where}: network.node_prefix",
                str(node_prefix),
                f"more than {network.prefixlen}, the prefix of network.pod_cidr",
                id="pod-network-size",
            )
        ]
    # Slice 0 is never used: hosts count from 1.
    slices = 2 ** (node_prefix - network.prefixlen) - 1
    if slices >= nodes:
        return []
    return [
        Problem(
            f"{where}: network.pod_cidr",
            f"{pod_cidr}, which has {slices} slices of /{node_prefix}",
            f"at least {nodes}, one for each node",
            id="pod-network-size",
        )
    ]
