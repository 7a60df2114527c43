"""Findings as text that fits a terminal and a log."""

from __future__ import annotations

from collections.abc import Iterable

from kubedcos.errors import Problem


def findings_table(problems: Iterable[Problem]) -> str:
    """A block for each finding: where, identifier, and below what is seen, wanted, to be done."""
    blocks = []
    for problem in problems:
        lines = [f"{problem.where}  [{problem.id}]"]
        lines.append(f"    seen    {problem.seen}")
        lines.append(f"    wanted  {problem.wanted}")
        if problem.fix:
            lines.append(f"    fix     {problem.fix}")
        blocks.append("\n".join(lines))
    return "\n".join(blocks)
