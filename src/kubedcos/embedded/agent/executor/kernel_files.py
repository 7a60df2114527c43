"""Small files of the kernel, those of cgroups and of /proc: what is not there is empty."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str:
    """All of a file; empty when there is none, as when its container has just ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """A file's one number; None when it holds another word, such as ``max``."""
    found = text(path).strip()
    return int(found) if found.isdigit() else None


def fields(path: Path) -> dict[str, int]:
    """Lines of a name and a number; others are passed over."""
    pairs = (line.split() for line in text(path).splitlines())
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].lstrip("-").isdigit()}
