"""Values of inventory variables that roles would refuse, found before the first role has run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubedcos.errors import Problem

_LONGEST = 60


def input_problems(
    hostvars: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    specs: Mapping[str, Mapping[str, Any]],
    refusals: Callable[[str, Mapping[str, Any], object], Sequence[str]],
) -> list[Problem]:
    """Values that the roles' own specifications of their inputs do not allow.

    Args:
        hostvars: host name → variables; looking at a value may raise what is wrong with it.
        names: the hosts.
        specs: input → its specification, as in ``meta/argument_specs.yml``.
        refusals: says what is wrong with the value of an input.
    """
    holders: dict[tuple[str, str, str], list[str]] = {}
    known: dict[tuple[str, str], Sequence[str]] = {}
    for host in names:
        found = hostvars[host]
        for name in sorted(set(found) & set(specs)):
            try:
                value = found[name]
                # What is undefined may show itself only now.
                text = str(value)
            # Whatever a template raises is what its author has to hear.
            except Exception as error:
                text = str(error).strip().splitlines()[0]
                holders.setdefault((name, text, "a template that has a value"), []).append(host)
                continue
            shown = "a secret" if specs[name].get("no_log") else _shown(value)
            key = (name, text)
            if key not in known:
                known[key] = refusals(name, specs[name], value)
            for refusal in known[key]:
                holders.setdefault((name, shown, refusal), []).append(host)
    return [
        Problem(
            f"variable {name} ({_whose(hosts, len(names))})",
            shown,
            refusal,
            "variable-value",
        )
        for (name, shown, refusal), hosts in holders.items()
    ]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _whose(hosts: Sequence[str], total: int) -> str:
    return "all hosts" if len(hosts) == total else f"host {', '.join(sorted(hosts)[:5])}"
