"""What a CNI plugin answers, and what a container's network files say because of it. Pure.

Mesos knows the result format from before CNI 0.3: ``ip4`` and ``ip6``. A plugin whose
configuration names a later `cniVersion` attaches the container all the same, but nobody hears of
its addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.messages import IPAddress, NetworkInfo

_FLAG = "flag --default_container_dns"


class Dns(msgspec.Struct, frozen=True):
    """A resolver's configuration."""

    nameservers: tuple[str, ...] = ()
    domain: str | None = None
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def merged(self, other: Dns) -> Dns:
        """Lists one after the other; the later domain wins."""
        return Dns(
            self.nameservers + other.nameservers,
            other.domain or self.domain,
            self.search + other.search,
            self.options + other.options,
        )


class IpConfig(msgspec.Struct, frozen=True):
    """An address in CIDR notation."""

    ip: str


class CniResult(msgspec.Struct, frozen=True):
    """A plugin's answer to ADD."""

    ip4: IpConfig | None = None
    ip6: IpConfig | None = None
    dns: Dns | None = None


def parse_result(text: str | bytes) -> CniResult:
    """A plugin's answer.

    Raises:
        ValueError: it is none; the text says why.
    """
    try:
        found = msgspec.json.decode(text, type=CniResult)
        if found.ip4 is not None:
            ipaddress.IPv4Interface(found.ip4.ip)
    except msgspec.ValidationError as error:
        raise ValueError(f"Protobuf parse failed: {error}") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"JSON parse failed: {error}") from error
    return found


def reported(wanted: NetworkInfo, result: CniResult) -> NetworkInfo:
    """What `container_status` says of a network: the wish with the addresses that were given."""
    addresses = []
    if result.ip4 is not None:
        addresses.append(IPAddress("IPv4", str(ipaddress.IPv4Interface(result.ip4.ip).ip)))
    if result.ip6 is not None:
        # As the plugin wrote it, prefix length included: so does Mesos.
        addresses.append(IPAddress("IPv6", result.ip6.ip))
    return msgspec.structs.replace(wanted, ip_addresses=tuple(addresses))


def hosts_text(hostname: str, results: Iterable[CniResult]) -> str:
    """Content of /etc/hosts: the container's name leads to the first IPv4 address."""
    text = "127.0.0.1 localhost\n"
    for result in results:
        if result.ip4 is not None:
            return text + f"{ipaddress.IPv4Interface(result.ip4.ip).ip} {hostname}\n"
    return text


@dataclass(frozen=True, slots=True)
class DefaultDns:
    """`--default_container_dns` for CNI networks: by name, and for all others."""

    by_network: Mapping[str, Dns]
    others: Dns | None = None

    def of(self, results: Mapping[str, CniResult]) -> Dns:
        """The resolvers of a container: what plugins answer goes before the flag."""
        found = Dns()
        for name, result in results.items():
            if result.dns is not None and result.dns.nameservers:
                found = found.merged(result.dns)
            elif name in self.by_network:
                found = found.merged(self.by_network[name])
            elif self.others is not None:
                found = found.merged(self.others)
        return found


NO_DNS = DefaultDns({})


def resolver_text(dns: Dns) -> str:
    """Content of /etc/resolv.conf."""
    lines = []
    if dns.domain is not None:
        lines.append(f"domain {dns.domain}")
    if dns.search:
        lines.append(f"search {' '.join(dns.search)}")
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "".join(f"{line}\n" for line in (*lines, *(f"nameserver {n}" for n in dns.nameservers)))


def parse_default_dns(value: Any) -> DefaultDns:
    """The flag's JSON; its part for Docker is checked no further, as nothing uses it.

    Raises:
        InvalidInput: with Mesos' words.
    """
    found = NO_DNS
    if value is None:
        return found
    try:
        entries = msgspec.convert(value, _DnsInfo).mesos
    except msgspec.ValidationError as error:
        wanted = '{"mesos": [{"network_mode": "CNI", "dns": {"nameservers": [...]}}]}'
        raise InvalidInput([Problem(_FLAG, str(error), wanted, "flag-value")]) from error
    for entry in entries:
        if entry.network_mode == "HOST":
            raise _wrong(
                "Configuring DNS for HOST network with `--default_container_dns` is not yet "
                "supported"
            )
        if entry.network_mode != "CNI":
            raise _wrong("UNKNOWN network mode configured in `--default_container_dns`")
        name = entry.network_name
        if name is None and found.others is not None:
            raise _wrong(
                "Multiple DNS configuration without network name for CNI network in "
                "`--default_container_dns` is not allowed"
            )
        if name is not None and name in found.by_network:
            raise _wrong(
                f"Multiple DNS configuration with the same network name '{name}' for CNI network "
                "in `--default_container_dns` is not allowed"
            )
        if name is None:
            found = replace(found, others=entry.dns)
        else:
            found = replace(found, by_network={**found.by_network, name: entry.dns})
    return found


class _MesosDns(msgspec.Struct, frozen=True):
    dns: Dns
    network_mode: str = "UNKNOWN"
    network_name: str | None = None


class _DnsInfo(msgspec.Struct, frozen=True):
    mesos: tuple[_MesosDns, ...] = ()


def _wrong(text: str) -> InvalidInput:
    return InvalidInput([Problem(_FLAG, text, "each network once, with network_mode CNI")])
