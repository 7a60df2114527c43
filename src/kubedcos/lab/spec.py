"""What a lab is: hosts, networks and host image, read from an Ansible inventory. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from kubedcos.errors import InvalidInput, Problem

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

DEFAULT_VOLUMES = (
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubedcos",
    "/var/lib/kubelet",
    "/var/lib/mesos",
)
VARIABLES = (
    "lab_directory",
    "lab_image_disabled_units",
    "lab_image_mirrors",
    "lab_image_packages",
    "lab_image_suite",
    "lab_name",
    "lab_networks",
    "lab_volumes",
)
REQUIRED_PACKAGES = ("openssh-server", "python3", "systemd", "systemd-sysv")


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What the host image is made of.

    Attributes:
        suite: Debian release, such as ``bookworm``.
        packages: what is installed besides the minimal system.
        disabled_units: units of these packages that are not started at boot.
        mirrors: apt source lines; empty means the machine's own Debian sources.
    """

    suite: str
    packages: tuple[str, ...]
    disabled_units: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """One data centre's network. The first address of the subnet is its gateway."""

    region: str
    name: str
    subnet: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        """The machine's own address in this network."""
        return self.subnet.network_address + 1


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host of the lab.

    `groups` are those of the inventory that name it, for people to read.
    """

    name: str
    container: str
    address: IPv4Address
    region: str
    zone: str
    network: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabSpec:
    """A whole lab."""

    name: str
    hosts: tuple[HostSpec, ...]
    networks: tuple[NetworkSpec, ...]
    image: ImageSpec
    volumes: tuple[str, ...]
    bootstrap: str

    def host(self, name: str) -> HostSpec:
        """The host called `name`.

        Raises:
            InvalidInput: there is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        wanted = "one of " + ", ".join(host.name for host in self.hosts)
        raise InvalidInput([Problem("host", repr(name), wanted, id="lab-host-unknown")])


def parse(inventory: Mapping[str, Any], source: str) -> LabSpec:
    """Read a lab from what `ansible-inventory --list` says.

    Args:
        inventory: the parsed and unwrapped document.
        source: path of the inventory, for messages.

    Raises:
        InvalidInput: with every problem found.
    """
    problems: list[Problem] = []
    host_vars: Mapping[str, Mapping[str, Any]] = inventory.get("_meta", {}).get("hostvars", {})
    if not host_vars:
        raise InvalidInput([Problem(source, "no hosts", "at least one", id="lab-no-hosts")])
    shared = next(iter(host_vars.values()))

    name = str(shared.get("lab_name", ""))
    if not _NAME.fullmatch(name):
        problems.append(
            Problem(
                f"{source}: lab_name",
                repr(name),
                "a name of at most 31 lower-case letters, digits and hyphens",
                id="lab-name",
            )
        )
    problems += _unknown(shared, source)
    networks = _networks(shared.get("lab_networks"), name, source, problems)
    hosts = tuple(
        host
        for host_name, variables in sorted(host_vars.items())
        if (host := _host(host_name, variables, name, networks, source, problems)) is not None
    )
    hosts = tuple(replace(host, groups=_groups(inventory, host.name)) for host in hosts)
    _refuse_twins(hosts, source, problems)
    spec = LabSpec(
        name=name,
        hosts=hosts,
        networks=tuple(networks.values()),
        image=_image(shared, source, problems),
        volumes=_texts(
            shared.get("lab_volumes", list(DEFAULT_VOLUMES)), "lab_volumes", source, problems
        ),
        bootstrap=_bootstrap(inventory, source, problems),
    )
    if problems:
        raise InvalidInput(problems)
    return spec


def _unknown(shared: Mapping[str, Any], source: str) -> list[Problem]:
    """Variables of the lab that nothing reads: each is a mistake that would pass in silence."""
    problems = []
    for name in sorted(shared):
        if not name.startswith("lab_") or name in VARIABLES:
            continue
        near = get_close_matches(name, VARIABLES, n=1)
        problems.append(
            Problem(
                f"{source}: {name}",
                "a name that the lab does not read",
                f"one of {', '.join(VARIABLES)}",
                id="lab-variable-unknown",
                fix=f"Did you mean {near[0]}?" if near else "",
            )
        )
    return problems


def _networks(
    value: object, lab: str, source: str, problems: list[Problem]
) -> dict[str, NetworkSpec]:
    where = f"{source}: lab_networks"
    if not isinstance(value, Mapping) or not value:
        problems.append(
            Problem(where, repr(value), "a subnet for each region", id="lab-networks-missing")
        )
        return {}
    networks: dict[str, NetworkSpec] = {}
    for region, entry in value.items():
        text = entry.get("subnet") if isinstance(entry, Mapping) else None
        try:
            subnet = IPv4Network(str(text))
        except ValueError as error:
            problems.append(
                Problem(
                    f"{where}.{region}.subnet",
                    f"{text!r} ({error})",
                    "an IPv4 network such as 10.89.1.0/24",
                    id="lab-network-invalid",
                )
            )
            continue
        if subnet.prefixlen > 29:
            problems.append(
                Problem(
                    f"{where}.{region}.subnet",
                    str(subnet),
                    "a prefix of at most 29 bits",
                    id="lab-network-small",
                )
            )
        problems += [
            Problem(
                f"{where}.{region}.subnet",
                f"{subnet}, which overlaps {other.subnet} of {other.region}",
                "a subnet of its own for each region",
                id="lab-network-overlap",
            )
            for other in networks.values()
            if other.subnet.overlaps(subnet)
        ]
        networks[str(region)] = NetworkSpec(str(region), f"{lab}-{region}", subnet)
    return networks


def _host(
    name: str,
    variables: Mapping[str, Any],
    lab: str,
    networks: Mapping[str, NetworkSpec],
    source: str,
    problems: list[Problem],
) -> HostSpec | None:
    where = f"{source}: host {name}"
    before = len(problems)
    if not _HOST_NAME.fullmatch(name):
        problems.append(Problem(where, repr(name), "a DNS label in lower case", id="host-name"))
    region, zone = str(variables.get("region", "")), str(variables.get("zone", ""))
    for key, value in (("region", region), ("zone", zone)):
        if not value:
            problems.append(Problem(f"{where}: {key}", "nothing", f"its {key}", id=f"host-{key}"))
    network = networks.get(region)
    if region and network is None and networks:
        problems.append(
            Problem(
                f"{where}: region",
                repr(region),
                "a region that lab_networks has: " + ", ".join(networks),
                id="lab-region-unknown",
            )
        )
    address: IPv4Address | None = None
    text = variables.get("ansible_host", "")
    try:
        address = IPv4Address(str(text))
    except ValueError:
        problems.append(
            Problem(
                f"{where}: ansible_host",
                repr(text),
                "an IPv4 address; the lab gives its hosts the addresses of the inventory",
                id="lab-address-invalid",
            )
        )
    if address is not None and network is not None:
        unusable = {network.subnet.network_address, network.gateway, network.subnet[-1]}
        if address not in network.subnet or address in unusable:
            problems.append(
                Problem(
                    f"{where}: ansible_host",
                    str(address),
                    f"an address of {network.subnet} other than {network.gateway} (the gateway)",
                    id="lab-address-outside",
                )
            )
    if len(problems) > before or address is None or network is None:
        return None
    return HostSpec(name, f"{lab}-{name}", address, region, zone, network.name)


def _refuse_twins(hosts: Sequence[HostSpec], source: str, problems: list[Problem]) -> None:
    seen: dict[IPv4Address, str] = {}
    for host in hosts:
        if host.address in seen:
            problems.append(
                Problem(
                    f"{source}: host {host.name}: ansible_host",
                    f"{host.address}, which {seen[host.address]} has",
                    "an address of its own",
                    id="lab-address-twice",
                )
            )
        seen.setdefault(host.address, host.name)


def _image(shared: Mapping[str, Any], source: str, problems: list[Problem]) -> ImageSpec:
    packages = _texts(shared.get("lab_image_packages", []), "lab_image_packages", source, problems)
    return ImageSpec(
        suite=str(shared.get("lab_image_suite", "bookworm")),
        packages=tuple(sorted({*packages, *REQUIRED_PACKAGES})),
        disabled_units=_texts(
            shared.get("lab_image_disabled_units", []), "lab_image_disabled_units", source, problems
        ),
        mirrors=_texts(shared.get("lab_image_mirrors", []), "lab_image_mirrors", source, problems),
    )


def _texts(value: object, key: str, source: str, problems: list[Problem]) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    problems.append(
        Problem(f"{source}: {key}", repr(value), "a list of texts", id="lab-list-invalid")
    )
    return ()


def _groups(inventory: Mapping[str, Any], host: str) -> tuple[str, ...]:
    """Groups that name the host themselves, sorted."""
    return tuple(
        sorted(
            name
            for name, group in inventory.items()
            if name not in {"_meta", "all"} and host in group.get("hosts", [])
        )
    )


def _bootstrap(inventory: Mapping[str, Any], source: str, problems: list[Problem]) -> str:
    hosts = inventory.get("bootstrap", {}).get("hosts", [])
    if len(hosts) == 1:
        return str(hosts[0])
    problems.append(
        Problem(
            f"{source}: group bootstrap",
            f"{len(hosts)} hosts",
            "exactly one host",
            id="bootstrap-group",
        )
    )
    return ""
