"""Names of inventory variables: which ones mean something, and what a misspelt one was meant to be.

A variable that nothing reads is the commonest silent mistake in an inventory: its author believes
that it has an effect. Roles declare theirs in ``meta/argument_specs.yml``; the rest stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from kubedcos.errors import Problem

# Read by playbooks, by several roles, or by the lab.
SHARED_VARIABLES = frozenset(
    {
        "cluster_name",
        "cluster_networks",
        "clusters",
        "export_dir",
        "host_index",
        "kubernetes_version",
        "overlay_mtu",
        "overlays",
        "region",
        "secrets_dir",
        "service_networks",
        "underlay_mtu",
        "zone",
    }
)
# The lab has many, checks them itself, and no role may read them.
FOREIGN_PREFIXES = ("lab_", "molecule_")
# Ansible's own; connection variables and facts are too many to list.
ANSIBLE_PREFIXES = ("ansible_", "inventory_", "molecule_")
ANSIBLE_NAMES = frozenset(
    {
        "environment",
        "group_names",
        "groups",
        "hostvars",
        "module_setup",
        "omit",
        "play_hosts",
        "playbook_dir",
        "role_name",
        "role_names",
        "role_path",
        "vars",
    }
)


def unknown_variables(
    seen: Mapping[str, Iterable[str]], role_variables: Iterable[str]
) -> list[Problem]:
    """Variables that nothing reads.

    Args:
        seen: host name → names of its variables.
        role_variables: names that the roles declare.
    """
    known = SHARED_VARIABLES | set(role_variables)
    holders: dict[str, list[str]] = {}
    for host, names in seen.items():
        for name in names:
            if not _is_known(name, known):
                holders.setdefault(name, []).append(host)
    return [_problem(name, hosts, known, len(seen)) for name, hosts in sorted(holders.items())]


def _is_known(name: str, known: frozenset[str] | set[str]) -> bool:
    # A leading underscore marks what a role keeps to itself.
    return (
        name in known
        or name in ANSIBLE_NAMES
        or name.startswith("_")
        or name.startswith(ANSIBLE_PREFIXES)
        or name.startswith(FOREIGN_PREFIXES)
    )


def _problem(name: str, hosts: list[str], known: Iterable[str], total: int) -> Problem:
    close = get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    where = "all hosts" if len(hosts) == total else f"host {', '.join(sorted(hosts)[:5])}"
    return Problem(
        f"variable {name} ({where})",
        "a name that no role reads",
        f"{close[0]!r}?" if close else "a documented variable",
        "variable-unknown",
        f"Did you mean {close[0]}?"
        if close
        else "A variable of your own may begin with an underscore.",
    )
