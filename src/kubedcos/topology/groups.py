"""Names of inventory groups: a misspelt one makes its hosts vanish without a word."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from kubedcos.errors import Problem

GROUPS = ("agents", "bootstrap", "masters", "public_agents", "zookeeper")
_NEARNESS = 0.8


def misspelt_groups(groups: Mapping[str, Collection[str]]) -> list[Problem]:
    """Groups that are called nearly as one of ours that has no hosts.

    Groups of the user's own pass: only where ours is empty can a likeness be a mistake.

    Args:
        groups: name → its hosts.
    """
    empty = [name for name in GROUPS if not groups.get(name)]
    problems = []
    for name, hosts in groups.items():
        near = get_close_matches(name, empty, n=1, cutoff=_NEARNESS)
        if name in GROUPS or not hosts or not near:
            continue
        problems.append(
            Problem(
                f"group {name}",
                f"a group that no playbook reads, with {', '.join(sorted(hosts)[:5])}",
                f"one of {', '.join(GROUPS)}",
                "group-unknown",
                f"Did you mean {near[0]}?",
            )
        )
    return problems
