"""CoreDNS' configuration for the zone and for everything that is forwarded."""

from __future__ import annotations

from pathlib import Path

from kubedcos.embedded.mesos_dns.config import Config
from kubedcos.embedded.mesos_dns.refusals import resolver_address
from kubedcos.embedded.mesos_dns.zone import REVERSE_ZONES


def render(config: Config, zone_directory: Path) -> str:
    """Corefile text: the Mesos domain and reverse zones from `zone_directory`, the rest forwarded.

    Without `externalon` nothing is forwarded, and CoreDNS answers REFUSED as Mesos-DNS does.
    """
    zones = (config.domain, *(REVERSE_ZONES if config.reverse_dns_on else ()))
    blocks = [_zone(config, zone, zone_directory) for zone in zones]
    if config.external_on:
        for zone, resolvers in sorted(config.zone_resolvers.items()):
            blocks.append(_forward(config, zone.lower(), resolvers))
        if config.resolvers:
            blocks.append(_forward(config, ".", config.resolvers))
    return "\n".join(blocks)


def _zone(config: Config, zone: str, directory: Path) -> str:
    lines = [
        *_bind(config),
        "errors",
        # A name with .* in it is looked up without it, as Mesos-DNS does.
        'rewrite name substring .* ""',
        f"auto {{\n        directory {directory} (.*)\\.zone {{1}}\n        reload 1s\n    }}",
        "loadbalance",
    ]
    if config.recurse_on:
        lines.append("header {\n        response set ra\n    }")
    return _block(config, zone, lines)


def _forward(config: Config, zone: str, resolvers: tuple[str, ...]) -> str:
    targets = []
    for resolver in resolvers:
        host, port = resolver_address(resolver)
        targets.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    forward = f"forward . {' '.join(targets)} {{\n        policy sequential\n    }}"
    return _block(config, zone, [*_bind(config), "errors", forward])


def _bind(config: Config) -> list[str]:
    wildcard = config.listener in ("0.0.0.0", "::")  # noqa: S104  compared, not bound
    return [] if wildcard else [f"bind {config.listener}"]


def _block(config: Config, zone: str, lines: list[str]) -> str:
    body = "\n    ".join(lines)
    return f"{zone}:{config.port} {{\n    {body}\n}}\n"
