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
# Whoever misspells one of these waits for a connection that can not come.
CONNECTION_VARIABLES = (
    "ansible_become",
    "ansible_become_method",
    "ansible_become_password",
    "ansible_become_user",
    "ansible_connection",
    "ansible_host",
    "ansible_password",
    "ansible_port",
    "ansible_python_interpreter",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_ssh_private_key_file",
    "ansible_user",
)
# One letter of a dozen; Ansible's other names are farther away.
_NEARNESS = 0.92
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
    known = {*SHARED_VARIABLES, *role_variables, *CONNECTION_VARIABLES}
    holders: dict[str, list[str]] = {}
    for host, names in seen.items():
        for name in names:
            if not _is_known(name, known):
                holders.setdefault(name, []).append(host)
    return [_problem(name, hosts, known, len(seen)) for name, hosts in sorted(holders.items())]


def _is_known(name: str, known: set[str]) -> bool:
    # A leading underscore marks what a role keeps to itself.
    return (
        name in known
        or name in ANSIBLE_NAMES
        or name.startswith("_")
        or (name.startswith(ANSIBLE_PREFIXES) and not _is_nearly_a_connections(name))
        or name.startswith(FOREIGN_PREFIXES)
    )


def _is_nearly_a_connections(name: str) -> bool:
    return bool(get_close_matches(name, CONNECTION_VARIABLES, n=1, cutoff=_NEARNESS))


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
