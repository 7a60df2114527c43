"""Ansible filters over the package's address plan, checks and templates."""

from __future__ import annotations

from functools import wraps
from pathlib import Path

import yaml
from ansible.errors import AnsibleFilterError

from kubedcos.errors import KubedcosError
from kubedcos.render import render
from kubedcos.render.findings import findings_table
from kubedcos.topology import preflight
from kubedcos.topology.hostoverlay import overlay_files


def hosts(hostvars, functions):
    """Hosts as the roles take them, out of Ansible's own view of the inventory.

    Args:
        hostvars: Ansible's variable of that name.
        functions: function (such as ``master``) → names of its hosts.
    """
    return preflight.hosts_of(hostvars, functions)


def agents(hostvars, names):
    """What the inventory tells the agents to offer."""
    return preflight.agents_of(hostvars, names)


def variables(hostvars, names):
    """Names of each host's variables."""
    return preflight.variables_of(hostvars, names)


def overlay_plan(data, host):
    """Everything that the role ``overlay`` puts on `host`; see `overlay_files`."""
    return overlay_files(data, host, render)


def render_template(values, name):
    """A shared template with `values` filled in."""
    return render(name, values)


def inventory_findings(data):
    """Problems of the inventory, as dictionaries."""
    # Ansible loads this file in every worker; pydantic would cost each of them a third of a second.
    from kubedcos.config import cluster  # noqa: PLC0415

    return preflight.as_dicts(preflight.inventory_problems(data, cluster.validate))


def host_findings(probes, data):
    """Problems of hosts, given what was found on each."""
    return preflight.as_dicts(preflight.all_host_problems(probes, data))


def table(findings):
    """Findings as text."""
    return findings_table(preflight.from_dicts(findings))


def role_variables(roles):
    """Names of all inputs that the roles below the folder declare."""
    names = set()
    for path in sorted(Path(roles).glob("*/meta/argument_specs.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for entry in (document.get("argument_specs") or {}).values():
            names |= set(entry.get("options") or {})
    return sorted(names)


def _told(function):
    @wraps(function)
    def filtered(*arguments, **options):
        try:
            return function(*arguments, **options)
        except (KubedcosError, ValueError, KeyError) as error:
            raise AnsibleFilterError(str(error)) from error

    return filtered


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        """Filters by name."""
        return {
            "kubedcos_hosts": _told(hosts),
            "kubedcos_agents": _told(agents),
            "kubedcos_variables": _told(variables),
            "kubedcos_overlay_plan": _told(overlay_plan),
            "kubedcos_render": _told(render_template),
            "kubedcos_inventory_findings": _told(inventory_findings),
            "kubedcos_host_findings": _told(host_findings),
            "kubedcos_findings_table": _told(table),
            "kubedcos_role_variables": _told(role_variables),
        }
