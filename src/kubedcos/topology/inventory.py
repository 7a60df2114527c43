"""Hosts and overlays as the inventory describes them, read with every problem named at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from kubedcos.errors import InvalidInput, Problem

# Region and zone become Kubernetes label values and parts of Mesos' fault domain.
_PLACE = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_OVERLAY_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")

# An interface name has at most 15 bytes; the bridge takes two for its prefix.
OVERLAY_NAME_LENGTH = 13
# Names that container runtimes use for networks of their own.
RESERVED_OVERLAY_NAMES = frozenset({"host", "bridge", "default", "none"})

VNI_RANGE = (1, 2**24 - 1)
# Without dstport Linux takes 8472, which other overlays on the host may already use; any is fine.
PORT_RANGE = (1, 65535)


@dataclass(frozen=True, slots=True)
class Host:
    """One machine.

    Attributes:
        name: name in the inventory.
        address: underlay address, reachable from every other host without NAT.
        index: stable number, unique in the inventory; addresses follow from it.
        region: data centre.
        zone: rack or availability zone in the region.
        functions: what it does, out of ``bootstrap``, ``master``, ``zookeeper``, ``agent`` and
            ``public_agent``.
    """

    name: str
    address: IPv4Address
    index: int
    region: str
    zone: str
    functions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Overlay:
    """One VXLAN network.

    Attributes:
        name: at most `OVERLAY_NAME_LENGTH` characters.
        subnet: all container addresses of the overlay.
        prefix: prefix length of the slice that each host owns.
        vtep_subnet: addresses of the tunnel end points.
        vni: VXLAN network identifier.
        port: UDP port of the tunnel.
    """

    name: str
    subnet: IPv4Network
    prefix: int
    vtep_subnet: IPv4Network
    vni: int
    port: int


@dataclass(frozen=True, slots=True)
class Network:
    """A network that others must not overlap: of hosts, or of a cluster's services.

    Attributes:
        kind: ``host`` or ``service``.
        name: region or cluster.
        subnet: its addresses.
    """

    kind: str
    name: str
    subnet: IPv4Network


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that the address plan and the checks need.

    Attributes:
        hosts: in the inventory's order, which means nothing.
        overlays: by name.
        networks: host and service networks.
        underlay_mtu: largest IP packet in bytes that every path between two hosts carries.
        overlay_mtu: MTU of the overlays in bytes; None takes the largest that fits.
    """

    hosts: tuple[Host, ...]
    overlays: tuple[Overlay, ...]
    networks: tuple[Network, ...] = ()
    underlay_mtu: int = 1500
    overlay_mtu: int | None = None

    def with_function(self, function: str) -> tuple[Host, ...]:
        """Hosts that have the function."""
        return tuple(host for host in self.hosts if function in host.functions)

    def host(self, name: str) -> Host:
        """The host of that name; KeyError when there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)


def read_inventory(data: Mapping[str, object]) -> Inventory:
    """Read inventory data strictly.

    Raises:
        InvalidInput: with every malformed or missing value.
    """
    inventory, problems = parse_inventory(data)
    if problems:
        raise InvalidInput(problems)
    return inventory


def parse_inventory(data: Mapping[str, object]) -> tuple[Inventory, list[Problem]]:
    """Read what can be read, and name every value that can not.

    Args:
        data: ``hosts`` (list of name, address, index, region, zone, functions), ``overlays``
            (list of name, subnet, prefix, vtep_subnet, vni, port), ``host_networks`` and
            ``service_networks`` (name → CIDR), ``underlay_mtu``, ``overlay_mtu``.
    """
    problems: list[Problem] = []
    hosts = [_host(item, problems) for item in _items(data, "hosts", problems)]
    overlays = [_overlay(item, problems) for item in _items(data, "overlays", problems)]
    networks = _networks(data, "host", problems) + _networks(data, "service", problems)
    if not hosts:
        problems.append(
            Problem("inventory", "no hosts", "at least one host", "inventory-without-hosts")
        )
    underlay_mtu = _integer(data.get("underlay_mtu", 1500), (576, 65535))
    if underlay_mtu is None:
        problems.append(_bad("underlay_mtu", data, "a number of bytes, 576 to 65535"))
    overlay_mtu = None
    if data.get("overlay_mtu"):
        overlay_mtu = _integer(data["overlay_mtu"], (1, 65535))
        if overlay_mtu is None:
            problems.append(_bad("overlay_mtu", data, "a number of bytes"))
    return (
        Inventory(
            hosts=tuple(host for host in hosts if host is not None),
            overlays=tuple(overlay for overlay in overlays if overlay is not None),
            networks=tuple(networks),
            underlay_mtu=underlay_mtu or 1500,
            overlay_mtu=overlay_mtu,
        ),
        problems,
    )


def _bad(key: str, data: Mapping[str, object], wanted: str) -> Problem:
    return Problem(key, repr(data.get(key)), wanted, f"{key.replace('_', '-')}-invalid")


def _items(
    data: Mapping[str, object], key: str, problems: list[Problem]
) -> list[Mapping[str, object]]:
    value = data.get(key) or []
    if not isinstance(value, Sequence) or isinstance(value, str):
        problems.append(_bad(key, data, "a list"))
        return []
    good = [item for item in value if isinstance(item, Mapping)]
    if len(good) != len(value):
        problems.append(_bad(key, data, "a list of mappings"))
    return good


def _integer(value: object, bounds: tuple[int, int]) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if bounds[0] <= number <= bounds[1] else None


def _address(value: object) -> IPv4Address | None:
    try:
        return IPv4Address(str(value))
    except ipaddress.AddressValueError:
        return None


def _network(value: object) -> IPv4Network | None:
    text = str(value)
    try:
        return IPv4Network(text) if "/" in text else None
    except ValueError:
        return None


def _shown(value: object) -> str:
    return "nothing" if value is None or value == "" else repr(value)


def _host(item: Mapping[str, object], problems: list[Problem]) -> Host | None:
    where = f"host {item.get('name') or '?'}"
    before = len(problems)
    address = _address(item.get("address"))
    if address is None:
        problems.append(
            Problem(
                where,
                f"ansible_host {_shown(item.get('address'))}",
                "an IPv4 address that every other host reaches",
                "host-address-invalid",
            )
        )
    index = _integer(item.get("index"), (1, 2**24))
    if index is None:
        problems.append(
            Problem(
                where,
                f"host_index {_shown(item.get('index'))}",
                "a number from 1, unique in the inventory, kept for the host's whole life",
                "host-index-invalid",
            )
        )
    for key in ("region", "zone"):
        _check_place(where, key, item.get(key), problems)
    if len(problems) > before or address is None or index is None:
        return None
    functions = item.get("functions") or []
    assert isinstance(functions, Sequence | frozenset | set)
    return Host(
        name=str(item.get("name")),
        address=address,
        index=index,
        region=str(item["region"]),
        zone=str(item["zone"]),
        functions=frozenset(str(function) for function in functions),
    )


def _check_place(where: str, key: str, value: object, problems: list[Problem]) -> None:
    if value is None or value == "":
        problems.append(
            Problem(where, f"no {key}", f"a {key} for every host", f"host-{key}-missing")
        )
    elif not isinstance(value, str) or not _PLACE.fullmatch(value):
        problems.append(
            Problem(
                where,
                f"{key} {value!r}",
                "at most 63 of a-z, 0-9, '.', '-', with a letter or digit at both ends",
                f"host-{key}-invalid",
                "The name becomes a Kubernetes label value and is compared exactly by Mesos.",
            )
        )


def _overlay(item: Mapping[str, object], problems: list[Problem]) -> Overlay | None:
    before = len(problems)
    name = str(item.get("name") or "?")
    where = f"overlay {name}"
    _check_overlay_name(where, name, problems)
    unknown = sorted(set(item) - {"name", "subnet", "prefix", "vtep_subnet", "vni", "port"})
    if unknown:
        problems.append(
            Problem(
                where,
                f"unknown keys {', '.join(map(str, unknown))}",
                "name, subnet, prefix, vtep_subnet, vni, port",
                "overlay-key-unknown",
            )
        )
    networks = {key: _network(item.get(key)) for key in ("subnet", "vtep_subnet")}
    for key, network in networks.items():
        if network is None:
            problems.append(
                Problem(
                    where,
                    f"{key} {_shown(item.get(key))}",
                    "an IPv4 network without host bits, such as 10.244.0.0/16",
                    f"overlay-{key.replace('_', '-')}-invalid",
                )
            )
    numbers = {
        "prefix": _integer(item.get("prefix"), (1, 30)),
        "vni": _integer(item.get("vni"), VNI_RANGE),
        "port": _integer(item.get("port"), PORT_RANGE),
    }
    wanted = {
        "prefix": "the prefix length of a host's slice, at most 30",
        "vni": "a number from 1 to 16777215, another one for each overlay",
        "port": "a UDP port from 1 to 65535, usually 4789",
    }
    for key, number in numbers.items():
        if number is None:
            problems.append(
                Problem(
                    where,
                    f"{key} {_shown(item.get(key))}",
                    wanted[key],
                    f"overlay-{key}-invalid",
                )
            )
    if len(problems) > before:
        return None
    subnet, vtep_subnet = networks["subnet"], networks["vtep_subnet"]
    prefix, vni, port = numbers["prefix"], numbers["vni"], numbers["port"]
    assert subnet
    assert vtep_subnet
    assert prefix
    assert vni
    assert port
    return Overlay(name, subnet, prefix, vtep_subnet, vni, port)


def _check_overlay_name(where: str, name: str, problems: list[Problem]) -> None:
    if len(name) > OVERLAY_NAME_LENGTH:
        problems.append(
            Problem(
                where,
                f"a name of {len(name)} characters",
                f"at most {OVERLAY_NAME_LENGTH}",
                "overlay-name-too-long",
                "An interface name has 15 characters, of which the bridge needs two.",
            )
        )
    elif name in RESERVED_OVERLAY_NAMES:
        problems.append(
            Problem(
                where,
                "a reserved name",
                f"none of {', '.join(sorted(RESERVED_OVERLAY_NAMES))}",
                "overlay-name-reserved",
            )
        )
    elif not _OVERLAY_NAME.fullmatch(name):
        problems.append(
            Problem(
                where,
                f"the name {name!r}",
                "a-z, 0-9 and '-', a letter first, no '-' at the end",
                "overlay-name-invalid",
            )
        )


def _networks(data: Mapping[str, object], kind: str, problems: list[Problem]) -> list[Network]:
    key = f"{kind}_networks"
    value = data.get(key) or {}
    if not isinstance(value, Mapping):
        problems.append(_bad(key, data, "a mapping of name to network"))
        return []
    networks = []
    for name, cidr in value.items():
        subnet = _network(cidr)
        if subnet is None:
            problems.append(
                Problem(
                    f"{key}: {name}",
                    _shown(cidr),
                    "an IPv4 network without host bits, such as 10.96.0.0/16",
                    f"{kind}-network-invalid",
                )
            )
        else:
            networks.append(Network(kind, str(name), subnet))
    return networks
