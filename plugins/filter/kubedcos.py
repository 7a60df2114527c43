"""Ansible filters over the package's address plan, checks and templates."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from kubedcos.errors import KubedcosError
from kubedcos.mesos.durations import agent_lost_seconds
from kubedcos.render import render
from kubedcos.render.findings import findings_table
from kubedcos.render.systemd import environment_line, environment_setting, exec_argument
from kubedcos.topology import clusters, preflight
from kubedcos.topology.hostoverlay import overlay_files
from kubedcos.topology.inputs import input_problems

# Ten times as fast where it was built; safe as its name says.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def artifacts(index, server):
    """Artefacts by name out of the text of the exported index, each with the URL it is served at.

    In Python, since nearly every task asks: a template of this takes a hundred times as long.
    """
    listed = json.loads(index)["artifacts"]
    return {each["name"]: {**each, "url": f"{server}/artifacts/{each['path']}"} for each in listed}


def complete_clusters(given, **inventory):
    """Options of clusters with what follows from the inventory; see `clusters.complete`."""
    return clusters.complete(given, **inventory)


def overlay_plan(data, host):
    """Everything that the role ``overlay`` puts on `host`; see `overlay_files`."""
    return overlay_files(data, host, render)


def render_template(values, name):
    """A shared template with `values` filled in."""
    return render(name, values)


def inventory_findings(data):
    """Problems of the inventory, as dictionaries."""
    # Ansible loads this file in every worker; pydantic would cost each of them a third of a second.
    from kubedcos.config import cluster  # noqa: PLC0415  see above
    from kubedcos.kubernetes import capacity  # noqa: PLC0415  see above

    found = preflight.inventory_problems(data, cluster.validate, capacity.judge)
    return preflight.as_dicts(found)


def host_findings(probes, data):
    """Problems of hosts, given what was found on each."""
    from kubedcos.config import cluster  # noqa: PLC0415  as above
    from kubedcos.kubernetes import capacity  # noqa: PLC0415  as above

    found = preflight.all_host_problems(probes, data, cluster.validate, capacity.judge)
    return preflight.as_dicts(found)


def fitting_findings(data):
    """Whether the clusters fit on the agents, as dictionaries."""
    from kubedcos.config import cluster  # noqa: PLC0415  as above
    from kubedcos.kubernetes import capacity  # noqa: PLC0415  as above

    found = preflight.fitting_problems(data, cluster.validate, capacity.judge)
    return preflight.as_dicts(found)


def lost_seconds(flags, further):
    """Seconds after which masters with these flags know that an agent is lost, rounded up."""
    return math.ceil(agent_lost_seconds(flags, further))


def table(findings):
    """Findings as text."""
    return findings_table(preflight.from_dicts(findings))


@cache
def role_inputs(roles):
    """All inputs that the roles below the folder declare, with their specifications."""
    specs = {}
    for path in sorted(Path(roles).glob("*/meta/argument_specs.yml")):
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER) or {}  # noqa: S506  safe
        for entry in (document.get("argument_specs") or {}).values():
            specs |= entry.get("options") or {}
    return specs


def role_variables(roles):
    """Names of all inputs that the roles below the folder declare."""
    return sorted(role_inputs(roles))


def input_findings(hostvars, names, roles):
    """Values of the hosts' variables that the roles below the folder do not allow."""
    return preflight.as_dicts(input_problems(hostvars, names, role_inputs(roles), refusals))


def refusals(name, spec, value):
    """What Ansible's own check of a role's inputs says of a value."""
    with suppress(TypeError, ValueError):  # no plain data: the check says so
        # The check copies the value, which is slow as long as each part of it knows its origin.
        value = json.loads(json.dumps(value))
    messages = ArgumentSpecValidator({name: spec}).validate({name: value}).error_messages
    return [_wanted(message) for message in messages]


def _wanted(message):
    """What would be right, out of Ansible's sentence on what is wrong."""
    kind = re.search(r"argument '(.+?)' is of type .* unable to convert to (\w+)", message)
    if kind:
        return f"a value of type {kind[2]} for {kind[1]}"
    choice = re.fullmatch(r"value of (\S+) must be (one of: .+?), got: .*", message)
    return f"{choice[1]}: {choice[2]}" if choice else message


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
            "kubedcos_artifacts": _told(artifacts),
            "kubedcos_clusters": _told(complete_clusters),
            "kubedcos_overlay_plan": _told(overlay_plan),
            "kubedcos_render": _told(render_template),
            "kubedcos_environment_line": _told(environment_line),
            "kubedcos_environment_setting": _told(environment_setting),
            "kubedcos_exec_argument": _told(exec_argument),
            "kubedcos_inventory_findings": _told(inventory_findings),
            "kubedcos_host_findings": _told(host_findings),
            "kubedcos_fitting_findings": _told(fitting_findings),
            "kubedcos_agent_lost_seconds": _told(lost_seconds),
            "kubedcos_findings_table": _told(table),
            "kubedcos_role_variables": _told(role_variables),
            "kubedcos_input_findings": _told(input_findings),
        }
