"""The zone file that CoreDNS serves.

Names that DNS cannot carry (an empty label, a label over 63 characters) are left out: Mesos-DNS
lists them in `/v1/axfr` but cannot answer for them, and one of them would make CoreDNS refuse the
whole zone. SRV lines are written in random order, since CoreDNS shuffles only addresses.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence
from typing import Final

from kubedcos.embedded.mesos_dns.config import Config
from kubedcos.embedded.mesos_dns.records import Records

MAX_LABEL = 63  # RFC 1035, 2.3.4
MAX_NAME = 253
REVERSE_ZONES: Final = ("in-addr.arpa", "ip6.arpa")


def render(
    records: Records,
    config: Config,
    serial: int,
    shuffle: Callable[[list[str]], None] = random.shuffle,
) -> str:
    """Zone text (RFC 1035, 5) of `config.domain` with the given SOA serial."""
    lines = _head(config.domain, config, serial)
    zone = f".{config.domain}."
    for kind, table in (("A", records.a), ("AAAA", records.aaaa)):
        for name in sorted(table):
            if servable(name) and name.endswith(zone):
                lines.extend(f"{name.lower()} IN {kind} {value}" for value in table[name])
    weight = config.srv_record_default_weight
    services: list[str] = []
    for name in sorted(records.srv):
        if servable(name) and name.endswith(zone):
            services.extend(
                f"{name.lower()} IN SRV 0 {weight} {port & 0xFFFF} {target.lower()}"
                for target, port in map(_target, records.srv[name])
                if servable(target)
            )
    shuffle(services)
    return "\n".join([*lines, *_unique(services)]) + "\n"


def render_reverse(records: Records, config: Config, serial: int, zone: str) -> str:
    """Zone text of one of `REVERSE_ZONES`: the names of tasks by address.

    An address with two names has none, as in Mesos-DNS.
    """
    lines = _head(zone, config, serial)
    for address, names in sorted(records.ptr.items()):
        owner = ipaddress.ip_address(address).reverse_pointer
        if len(names) == 1 and owner.endswith(zone) and servable(names[0]):
            lines.append(f"{owner}. IN PTR {names[0]}")
    return "\n".join(lines) + "\n"


def _head(zone: str, config: Config, serial: int) -> list[str]:
    # TTL -1 reads as 4294967295 in Mesos-DNS; the largest that DNS allows is 2^31-1 (RFC 2181, 8).
    ttl = config.ttl if config.ttl >= 0 else 2**31 - 1
    return [
        f"$TTL {ttl}",
        (
            f"{zone}. IN SOA {config.soa_mname} {config.soa_rname} {serial} "
            f"{config.soa_refresh} {config.soa_retry} {config.soa_expire} {ttl}"
        ),
    ]


def servable(name: str) -> bool:
    """Whether DNS can carry an absolute name."""
    if len(name) > MAX_NAME + 1:
        return False
    return all(
        label and len(label) <= MAX_LABEL and _plain(label) for label in name[:-1].split(".")
    )


def _plain(label: str) -> bool:
    # A slash comes with names of Marathon's applications; Mesos-DNS answers for them.
    return all(char.isascii() and (char.isalnum() or char in "-_/") for char in label)


def _target(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    return host, int(port)


def _unique(lines: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(lines))
