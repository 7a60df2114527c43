"""Pages of which some parts are generated: those between two marker lines, each with a name."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_BLOCK: Final = re.compile(
    r"(<!-- generated: ([a-z0-9-]+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL
)


def filled(page: str, blocks: Mapping[str, str]) -> str:
    """The page with each block in its place.

    Raises:
        SystemExit: the page has not exactly these blocks.
    """
    places = sorted(match[2] for match in _BLOCK.finditer(page))
    if places != sorted(blocks):
        raise SystemExit(f"the page has the blocks {places}, made were {sorted(blocks)}")
    return _BLOCK.sub(lambda match: f"{match[1]}{blocks[match[2]].strip()}\n{match[3]}", page)


def row(*cells: str) -> str:
    """One line of a table, also of docstrings that have several."""
    lines = (" ".join(cell.split("\n")) for cell in cells)
    return f"| {' | '.join(line.replace('|', chr(92) + '|') for line in lines)} |"


def table(header: tuple[str, ...], rows: list[str]) -> str:
    """A table of rows that `row` made."""
    return "\n".join([row(*header), "|---" * len(header) + "|", *rows])


def write_or_check(about: str | None, files: Mapping[Path, Callable[[], str]]) -> int:
    """Write files that differ from what they should be, or with ``--check`` only name them.

    Args:
        about: docstring of the script.
        files: path to what makes its text.

    Returns:
        The exit code: 1 when something differs and was not written.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on difference")
    check = parser.parse_args().check
    changed = False
    for path, make in files.items():
        text = make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        changed = True
        sys.stdout.write(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}\n")
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and changed else 0
