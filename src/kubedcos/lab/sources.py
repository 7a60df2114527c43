"""Where Debian packages come from on this machine: its own apt sources and settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>.+)$")
_KEPT_SETTINGS = re.compile(
    r"^(Acquire::(?:https?|ftp)::(?:\S+::)?(?:Proxy|Timeout)|Acquire::Retries"
    r"|Acquire::Check-Valid-Until|Acquire::Check-Date|Acquire::Languages|Acquire::GzipIndexes)"
    r"\s+\"(?P<value>[^\"]+)\";$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Source:
    """One apt source of binary packages."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def line(self) -> str:
        """As apt's one-line format says it."""
        return f"deb {self.uri} {self.suite} {' '.join(self.components)}"


def parse_one_line(text: str) -> list[Source]:
    """Sources of a ``sources.list`` file; comments and source packages are left out."""
    sources = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.split("#", 1)[0].strip())
        if match is None:
            continue
        suite, *components = match["rest"].split()
        options = dict(
            option.split("=", 1) for option in (match["options"] or "").split() if "=" in option
        )
        sources.append(Source(match["uri"], suite, tuple(components), options.get("signed-by", "")))
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Sources of a ``*.sources`` file."""
    sources = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        sources += [
            Source(
                uri,
                suite,
                tuple(fields.get("components", "").split()),
                fields.get("signed-by", ""),
            )
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return sources


def _fields(stanza: str) -> dict[str, str]:
    """The fields of one stanza; a line that begins with a space continues the one before."""
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and key:
            fields[key] += f" {line.strip()}"
        elif ":" in line:
            key, value = line.split(":", 1)
            key = key.strip().lower()
            fields[key] = value.strip()
    return fields


def of_release(sources: Sequence[Source], suite: str) -> list[Source]:
    """Those that bring Debian's own release `suite`; what third parties add is left out."""
    wanted = {suite, f"{suite}-updates", f"{suite}-security", f"{suite}/updates"}
    return [
        source
        for source in sources
        if source.suite in wanted
        and "main" in source.components
        and (not source.signed_by or "debian-archive" in source.signed_by)
    ]


def settings(apt_config_dump: str) -> Mapping[str, str]:
    """Proxies and download settings among what `apt-config dump` prints."""
    kept = {}
    for line in apt_config_dump.splitlines():
        match = _KEPT_SETTINGS.match(line.strip())
        if match is not None:
            kept[match[1]] = match["value"]
    return kept
