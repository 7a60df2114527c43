"""Everything that can be wrong with an inventory, found before the first change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network
from itertools import combinations

from kubedcos.errors import Problem
from kubedcos.topology.addressplan import (
    SMALLEST_MTU,
    end_point,
    largest_mtu,
)
from kubedcos.topology.inventory import Inventory, Overlay, parse_inventory

# kube-apiserver takes no network with more than 20 host bits.
_LARGEST_SERVICE_PREFIX = 12
_COUNTS = frozenset(
    {
        "agents-none",
        "bootstrap-count",
        *(f"{kind}-{what}" for kind in ("master", "zookeeper") for what in ("count", "count-even")),
    }
)

ENSEMBLE_SIZES = (1, 3, 5)


def find_problems(data: Mapping[str, object]) -> tuple[Problem, ...]:
    """All problems of inventory data as `kubedcos.topology.inventory.parse_inventory` takes it."""
    inventory, problems = parse_inventory(data)
    whole = not any(problem.id.startswith("host-") for problem in problems)
    # A host that can not be read is missing here; its function has not too few members for that.
    problems.extend(p for p in functions(inventory) if whole or p.id not in _COUNTS)
    for check in _ADDRESS_CHECKS:
        problems.extend(check(inventory))
    return tuple(problems)


def find_address_problems(data: Mapping[str, object]) -> tuple[Problem, ...]:
    """As `find_problems`, without what masters and agents are needed for."""
    inventory, problems = parse_inventory(data)
    for check in _ADDRESS_CHECKS:
        problems.extend(check(inventory))
    return tuple(problems)


def duplicate_hosts(inventory: Inventory) -> Iterable[Problem]:
    """An index or an address that two hosts share."""
    for what, key in (("index", "host_index"), ("address", "ansible_host")):
        holders: dict[object, list[str]] = defaultdict(list)
        for host in inventory.hosts:
            holders[getattr(host, what)].append(host.name)
        for value, names in holders.items():
            if len(names) > 1:
                yield Problem(
                    f"hosts {', '.join(names)}",
                    f"{key} {value} on each of them",
                    "another one for each host",
                    f"host-{what}-duplicate",
                    "Give the newer host a number that no host ever had."
                    if what == "index"
                    else "",
                )


def functions(inventory: Inventory) -> Iterable[Problem]:
    """Counts and places of masters, ZooKeeper members, agents and the bootstrap host."""
    masters = inventory.with_function("master")
    yield from _ensemble("master", "masters", [host.name for host in masters])
    members = inventory.with_function("zookeeper")
    yield from _ensemble("zookeeper", "ZooKeeper members", [host.name for host in members])
    regions = sorted({host.region for host in masters})
    if len(regions) > 1:
        places = "; ".join(
            f"{region}: {', '.join(h.name for h in masters if h.region == region)}"
            for region in regions
        )
        yield Problem(
            "masters",
            f"masters in {len(regions)} regions ({places})",
            "all masters in one region",
            "masters-in-several-regions",
            "Mesos masters of different regions refuse each other; spread them over zones.",
        )
    bootstrap = inventory.with_function("bootstrap")
    if len(bootstrap) != 1:
        names = ", ".join(host.name for host in bootstrap) or "none"
        yield Problem("bootstrap", names, "exactly one host", "bootstrap-count")
    both = [
        host.name for host in inventory.with_function("agent") if "public_agent" in host.functions
    ]
    if both:
        yield Problem(
            f"hosts {', '.join(both)}",
            "agent and public agent at once",
            "one of the two",
            "agent-twice",
        )
    if inventory.hosts and not inventory.with_function("agent"):
        yield Problem("agents", "no agent", "at least one agent", "agents-none")


def _ensemble(kind: str, words: str, names: list[str]) -> Iterable[Problem]:
    count = len(names)
    if count in ENSEMBLE_SIZES:
        return
    even = count > 0 and count % 2 == 0
    yield Problem(
        f"{words}",
        f"{count} ({', '.join(names)})" if names else "none",
        "1, 3 or 5",
        f"{kind}-count-even" if even else f"{kind}-count",
        "An even ensemble survives no more losses than one with a member less." if even else "",
    )


def duplicate_overlays(inventory: Inventory) -> Iterable[Problem]:
    """Overlays that share a name or a VNI."""
    for what in ("name", "vni"):
        holders: dict[object, list[Overlay]] = defaultdict(list)
        for overlay in inventory.overlays:
            holders[getattr(overlay, what)].append(overlay)
        for value, overlays in holders.items():
            if len(overlays) > 1:
                ports = ", ".join(f"{o.name} (port {o.port})" for o in overlays)
                yield Problem(
                    f"overlays {ports}",
                    f"{what} {value} on each of them",
                    "another one for each overlay",
                    f"overlay-{what}-duplicate",
                )


def overlay_sizes(inventory: Inventory) -> Iterable[Problem]:
    """Overlays that are too small for their hosts' indices, or have no room in a slice."""
    top = max(inventory.hosts, key=lambda host: host.index, default=None)
    for overlay in inventory.overlays:
        where = f"overlay {overlay.name}"
        if overlay.prefix <= overlay.subnet.prefixlen:
            yield Problem(
                where,
                f"prefix {overlay.prefix} with subnet {overlay.subnet}",
                f"a prefix above {overlay.subnet.prefixlen}: it is the size of one host's slice",
                "overlay-prefix-too-short",
            )
            continue
        if top is None:
            continue
        slices = 1 << (overlay.prefix - overlay.subnet.prefixlen)
        if top.index >= slices:
            yield Problem(
                where,
                f"{overlay.subnet} holds {slices} slices of /{overlay.prefix}, "
                f"so indices up to {slices - 1}; {top.name} has {top.index}",
                "a subnet with a slice for the highest host_index",
                "overlay-subnet-too-small",
                "Take a larger subnet or a longer prefix.",
            )
        last = overlay.vtep_subnet.num_addresses - 2
        if top.index > last:
            yield Problem(
                where,
                f"vtep_subnet {overlay.vtep_subnet} holds addresses up to number {max(last, 0)}; "
                f"{top.name} has host_index {top.index}",
                "a tunnel address for the highest host_index",
                "vtep-subnet-too-small",
            )


def overlaps(inventory: Inventory) -> Iterable[Problem]:
    """Networks that overlap: overlay, tunnel, service and host networks, each with each."""
    named: list[tuple[str, IPv4Network]] = []
    for overlay in inventory.overlays:
        named.append((f"overlay {overlay.name}: subnet", overlay.subnet))
        named.append((f"overlay {overlay.name}: vtep_subnet", overlay.vtep_subnet))
    named.extend((f"{n.kind} network {n.name}", n.subnet) for n in inventory.networks)
    for (name, subnet), (other_name, other) in combinations(named, 2):
        if subnet.overlaps(other):
            yield Problem(
                name,
                f"{subnet} overlaps {other} ({other_name})",
                "networks apart from each other",
                "subnet-overlap",
            )
    for name, subnet in named:
        inside = [host.name for host in inventory.hosts if host.address in subnet]
        if inside and not name.startswith("host network"):
            yield Problem(
                name,
                f"{subnet} holds the address of {', '.join(inside[:5])}",
                "a network without hosts",
                "subnet-holds-hosts",
            )


def host_networks(inventory: Inventory) -> Iterable[Problem]:
    """Hosts outside of the host networks that the inventory declares."""
    declared = [network.subnet for network in inventory.networks if network.kind == "host"]
    for host in inventory.hosts:
        if declared and not any(host.address in subnet for subnet in declared):
            yield Problem(
                f"host {host.name}",
                f"address {host.address}",
                f"an address in {', '.join(map(str, declared))}",
                "host-outside-networks",
                "Add its network to cluster_networks, so that overlaps with it are found.",
            )
    service = [network for network in inventory.networks if network.kind == "service"]
    for network in service:
        if network.subnet.prefixlen < _LARGEST_SERVICE_PREFIX:
            yield Problem(
                f"service network {network.name}",
                str(network.subnet),
                f"at most a /{_LARGEST_SERVICE_PREFIX}, as kube-apiserver takes it",
                "service-network-too-large",
            )
        if network.subnet.num_addresses < 256:
            yield Problem(
                f"service network {network.name}",
                f"{network.subnet} with {network.subnet.num_addresses} addresses",
                "at least a /24",
                "service-network-too-small",
            )


def mtu(inventory: Inventory) -> Iterable[Problem]:
    """An overlay MTU that the underlay can not carry, or that is too small to be useful."""
    if not inventory.overlays:
        return
    largest = largest_mtu(inventory.underlay_mtu)
    chosen = inventory.overlay_mtu or largest
    if chosen > largest:
        yield Problem(
            "overlay_mtu",
            f"{chosen} on an underlay of {inventory.underlay_mtu}",
            f"at most {largest}",
            "mtu-too-large",
            "VXLAN over IPv4 needs 50 bytes; larger packets are lost after the first handshake.",
        )
    if chosen < SMALLEST_MTU:
        yield Problem("overlay_mtu", str(chosen), f"at least {SMALLEST_MTU}", "mtu-too-small")


def duplicate_vteps(inventory: Inventory) -> Iterable[Problem]:
    """A tunnel address that two ends share, by whatever way it came about."""
    holders: dict[object, list[str]] = defaultdict(list)
    # Hosts with one index are named by duplicate_hosts; here one of them stands for all.
    hosts = {host.index: host for host in inventory.hosts}.values()
    for overlay in inventory.overlays:
        for host in hosts:
            try:
                point = end_point(overlay, host)
            except ValueError:
                continue  # overlay_sizes says it better
            holders[point.vtep].append(f"{host.name} ({overlay.name})")
    for vtep, names in holders.items():
        if len(names) > 1:
            yield Problem(
                f"hosts {', '.join(names)}",
                f"tunnel address {vtep} on each of them",
                "another one for each host and overlay",
                "vtep-duplicate",
                "It follows from host_index and vtep_subnet: one of them is there twice.",
            )


_ADDRESS_CHECKS: tuple[Callable[[Inventory], Iterable[Problem]], ...] = (
    duplicate_hosts,
    duplicate_overlays,
    overlay_sizes,
    overlaps,
    host_networks,
    mtu,
    duplicate_vteps,
)
