"""The data centres' networks: made by podman, routed between each other without NAT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Any

from kubedcos.errors import Problem
from kubedcos.lab.engine import HOST_LABEL, LAB_LABEL, Podman, label
from kubedcos.lab.program import Runner, run
from kubedcos.lab.spec import LabSpec, NetworkSpec


def conflicts(
    spec: LabSpec,
    *,
    networks: Sequence[Mapping[str, Any]],
    containers: Sequence[Mapping[str, Any]],
    routes: Sequence[Mapping[str, Any]],
) -> list[Problem]:
    """Names and subnets that somebody else has taken; pure.

    Args:
        spec: the lab to be made.
        networks: podman's networks.
        containers: podman's containers.
        routes: the machine's routes, as `ip -json route` prints them.
    """
    problems: list[Problem] = []
    own_bridges = set()
    for network in networks:
        name, owner = str(network.get("name", "")), label(network, LAB_LABEL)
        if owner == spec.name:
            own_bridges.add(str(network.get("network_interface", "")))
        problems += _network_conflicts(spec, name, owner, _subnets(network))
    for container in containers:
        names = container.get("Names") or []
        for host in spec.hosts:
            if host.container in names and label(container, LAB_LABEL) != spec.name:
                problems.append(
                    Problem(
                        f"podman container {host.container}",
                        "a container that this lab did not make",
                        "a free name",
                        id="lab-container-taken",
                        fix="Choose another lab_name, or remove it",
                    )
                )
    for route in routes:
        subnet, device = _network(str(route.get("dst", ""))), str(route.get("dev", ""))
        if subnet is None or device in own_bridges or device.startswith("podman"):
            continue
        problems += [
            Problem(
                f"lab_networks.{network.region}.subnet",
                f"{network.subnet}, which overlaps the machine's route {subnet} by {device}",
                "a subnet that this machine does not use",
                id="lab-subnet-taken",
            )
            for network in spec.networks
            if network.subnet.overlaps(subnet)
        ]
    return problems


def _network_conflicts(
    spec: LabSpec, name: str, owner: str, subnets: Sequence[IPv4Network]
) -> list[Problem]:
    """What one podman network has against this lab."""
    problems: list[Problem] = []
    for wanted in spec.networks:
        if name == wanted.name and owner == spec.name:
            if list(subnets) != [wanted.subnet]:
                problems.append(
                    Problem(
                        f"lab_networks.{wanted.region}.subnet",
                        f"{wanted.subnet}, but the running lab has {', '.join(map(str, subnets))}",
                        "the subnet that the lab was made with",
                        id="lab-network-changed",
                        fix="Run `kubedcos lab down` first",
                    )
                )
        elif name == wanted.name:
            problems.append(
                Problem(
                    f"podman network {name}",
                    "a network that this lab did not make",
                    "a free name",
                    id="lab-network-taken",
                    fix="Choose another lab_name, or remove it",
                )
            )
        else:
            problems += [
                Problem(
                    f"lab_networks.{wanted.region}.subnet",
                    f"{wanted.subnet}, which overlaps {subnet} of the podman network {name}",
                    "a subnet that no podman network has",
                    id="lab-subnet-taken",
                )
                for subnet in subnets
                if subnet.overlaps(wanted.subnet)
            ]
    return problems


def routes(runner: Runner = run) -> list[Mapping[str, Any]]:
    """The machine's IPv4 routes."""
    answer: list[Mapping[str, Any]] = json.loads(
        runner(["ip", "-json", "-4", "route", "show"]).stdout or "[]"
    )
    return answer


def ensure(spec: LabSpec, podman: Podman, *, runner: Runner = run) -> list[str]:
    """Make the networks that are missing, and let them reach each other under their own addresses.

    Returns:
        Names of what was made.
    """
    made = []
    known = {str(network.get("name", "")) for network in podman.networks()}
    for network in spec.networks:
        if network.name in known:
            continue
        podman(
            "network",
            "create",
            "--disable-dns",
            f"--subnet={network.subnet}",
            f"--gateway={network.gateway}",
            f"--label={LAB_LABEL}={spec.name}",
            f"--label={HOST_LABEL}-region={network.region}",
            network.name,
        )
        made.append(network.name)
    rules = routing_rules(spec.name, spec.networks)
    if rules and not _table_holds(spec, runner):
        runner(["nft", "-f", "-"], stdin=rules)
        made.append(table(spec.name))
    return made


def remove(lab: str, podman: Podman, *, runner: Runner = run) -> list[str]:
    """Remove the lab's networks and rules.

    Returns:
        Names of what was removed.
    """
    removed = []
    if runner(["nft", "list", "table", "ip", table(lab)], check=False).returncode == 0:
        runner(["nft", "delete", "table", "ip", table(lab)])
        removed.append(table(lab))
    for network in podman.networks():
        if label(network, LAB_LABEL) == lab:
            podman("network", "rm", str(network["name"]))
            removed.append(str(network["name"]))
            # A start that was killed leaves the bridge behind, and the subnet with it.
            bridge = str(network.get("network_interface", ""))
            if bridge and runner(["ip", "link", "show", bridge], check=False).returncode == 0:
                runner(["ip", "link", "delete", bridge])
    return removed


def table(lab: str) -> str:
    """Name of the nftables table of a lab."""
    return f"kubedcos-lab-{lab}"


def routing_rules(lab: str, networks: Sequence[NetworkSpec]) -> str:
    """Nftables text that keeps source addresses between data centres; empty for a single one.

    Podman masquerades what leaves a network's subnet, also towards its other networks; VXLAN peers
    must see who sent a packet. A connection that has its mapping already is not mapped again, so
    each subnet is mapped to itself before podman's own chains are asked.
    """
    pairs = [(a, b) for a in networks for b in networks if a.region != b.region]
    if not pairs:
        return ""
    rules = "\n".join(
        f"    ip saddr {a.subnet} ip daddr {b.subnet} snat ip prefix to {a.subnet}"
        for a, b in pairs
    )
    return (
        f"add table ip {table(lab)}\n"
        f"delete table ip {table(lab)}\n"
        f"table ip {table(lab)} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat - 10; policy accept;\n"
        f"{rules}\n"
        "  }\n"
        "}\n"
    )


def _table_holds(spec: LabSpec, runner: Runner) -> bool:
    """Whether the rules stand already, for exactly these networks."""
    answer = runner(["nft", "list", "table", "ip", table(spec.name)], check=False)
    if answer.returncode != 0:
        return False
    wanted = [
        f"ip saddr {a.subnet} ip daddr {b.subnet} "
        for a in spec.networks
        for b in spec.networks
        if a.region != b.region
    ]
    return answer.stdout.count("prefix to") == len(wanted) and all(
        text in answer.stdout for text in wanted
    )


def _subnets(network: Mapping[str, Any]) -> list[IPv4Network]:
    texts = [str(entry.get("subnet", "")) for entry in network.get("subnets") or []]
    return [subnet for text in texts if (subnet := _network(text)) is not None]


def _network(text: str) -> IPv4Network | None:
    """`text` as an IPv4 network; none for the default route and for IPv6."""
    try:
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None
