"""Values of `config.json` that Mesos-DNS refuses, each with the text that it would log.

What begins with `check_` returns for a good value and raises `ConfigError` for another one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from kubedcos.errors import ExitCode, KubedcosError

IP_SOURCES = ("host", "docker", "mesos", "netinfo")

_DOMAIN_LABEL = re.compile(r"[A-Za-z0-9-]+")


class ConfigError(KubedcosError):
    """A configuration that Mesos-DNS would refuse; the text is the one that it would log."""

    exit_code = ExitCode.FAILED


def check_masters(masters: tuple[str, ...]) -> None:
    """Refuse a master that is no `host:port`, or stands twice."""
    seen = set()
    for master in masters:
        host_port(master, "masters")
        if master in seen:
            raise ConfigError(f"error validating masters: duplicate found: {master}")
        seen.add(master)


def host_port(text: str, what: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets.

    Args:
        text: what is written.
        what: name of the key, for the refusal.

    Raises:
        ConfigError: not of that form, or a port outside of 1 to 65535.
    """
    start = f"error validating {what}: illegal host:port specified: {text}"
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or not rest.startswith(":"):
            raise ConfigError(f"{start}. Error: address {text}: missing port in address")
        port = rest[1:]
    else:
        host, colon, port = text.rpartition(":")
        if not colon:
            place = f"address {text}: " if text else ""
            raise ConfigError(f"{start}. Error: {place}missing port in address")
        if ":" in host:
            raise ConfigError(f"{start}. Error: address {text}: too many colons in address")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(start)
    return host, int(port)


def check_ip_sources(sources: tuple[str, ...]) -> None:
    """Refuse a source that is unknown or stands twice, and none at all."""
    start = "IPSources validation failed:"
    if not sources:
        raise ConfigError(f"{start} empty ip sources")
    if len(set(sources)) != len(sources):
        raise ConfigError(f"{start} duplicate ip source specified")
    for source in sources:
        if source not in IP_SOURCES:
            raise ConfigError(f'{start} invalid ip source "{source}"')


def is_domain(name: str) -> bool:
    """Whether every label has letters, digits and hyphens alone."""
    return all(_DOMAIN_LABEL.fullmatch(label) is not None for label in name.split("."))


def check_resolvers(resolvers: tuple[str, ...]) -> None:
    """Refuse a resolver that `resolver_address` refuses, or that stands twice."""
    seen = set()
    for resolver in resolvers:
        key = resolver_address(resolver)
        if key in seen:
            raise ConfigError(f"error validating resolvers: duplicate found: {resolver}")
        seen.add(key)


def resolver_address(text: str) -> tuple[str, int]:
    """Address and port of a resolver (`IP` or `IP:port`; port 53 when left out).

    Raises:
        ConfigError: not an IP address, or an illegal port.
    """
    try:
        return str(ipaddress.ip_address(text)), 53
    except ValueError:
        pass
    if not re.search(r":\d+$", text):
        raise ConfigError(f"error validating resolvers: illegal ip specified: {text}")
    host, port = host_port(text, "resolvers")
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        raise ConfigError(f"error validating resolvers: illegal ip specified: {host}") from None


def check_zone_resolvers(zones: Mapping[str, tuple[str, ...]], domain: str) -> None:
    """Refuse zones without resolvers, and zones that hide each other or `domain`."""
    for zone, resolvers in zones.items():
        if not resolvers:
            raise ConfigError(f"field ZoneResolver {zone} is empty")
        check_resolvers(resolvers)
        if not is_domain(zone):
            raise ConfigError(f"invalid domain name: {zone}")
        if zone == domain:
            raise ConfigError(f"can't specify ZoneResolver for Mesos domain ({domain})")
    suffixes = [f".{zone}" for zone in (*zones, domain)]
    for zone in suffixes:
        for other in suffixes:
            if zone != other and zone.endswith(other):
                raise ConfigError(f"ambiguous zone resolvers: {zone} is masked by {other}")
