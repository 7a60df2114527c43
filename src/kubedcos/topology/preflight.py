"""All preflight findings, from plain data as Ansible has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kubedcos.errors import InvalidInput, Problem
from kubedcos.topology.capacity import Agent, NodeRequest, capacity_problems
from kubedcos.topology.checks import find_problems
from kubedcos.topology.hostchecks import Limits, host_problems
from kubedcos.topology.variables import unknown_variables

# Mesos hands out thousandths of a CPU; sums of floats must not miss by less.
_DIGITS = 3


def hosts_of(
    hostvars: Mapping[str, Mapping[str, Any]], functions: Mapping[str, Iterable[str]]
) -> list[dict[str, Any]]:
    """Hosts with what the inventory says of them; what is missing stays empty.

    Args:
        hostvars: host name → variables.
        functions: function → names of its hosts.
    """
    having: dict[str, list[str]] = {}
    for function, names in functions.items():
        for name in names:
            having.setdefault(name, []).append(function)
    return [
        {
            "name": name,
            "address": hostvars[name].get("ansible_host"),
            "index": hostvars[name].get("host_index"),
            "region": hostvars[name].get("region"),
            "zone": hostvars[name].get("zone"),
            "functions": mine,
        }
        for name, mine in having.items()
    ]


def agents_of(
    hostvars: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> list[dict[str, Any]]:
    """What the inventory tells agents to offer; amounts that they count themselves are missing.

    Args:
        hostvars: host name → variables.
        names: the agents.
    """
    keys = {"cpus": "mesos_agent_cpus", "mem": "mesos_agent_mem_mb", "disk": "storage_root_mb"}
    agents: list[dict[str, Any]] = []
    for name in names:
        found = hostvars[name]
        amounts = {key: found[variable] for key, variable in keys.items() if found.get(variable)}
        agents.append({"name": name, "region": found.get("region") or "", **amounts})
    return agents


def variables_of(
    hostvars: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> dict[str, list[str]]:
    """Names of each host's variables; no value is looked at.

    Args:
        hostvars: host name → variables.
        names: the hosts.
    """
    return {name: sorted(hostvars[name]) for name in names}


def inventory_problems(
    data: Mapping[str, Any], validate_cluster: Callable[[dict[str, Any], str], Any]
) -> list[Problem]:
    """Everything that can be known without asking a host.

    Args:
        data: what `kubedcos.topology.inventory.parse_inventory` takes, and ``variables`` (host →
            names), ``role_variables``, ``clusters`` (options as in their files), ``agents``
            (name, region, cpus, mem, disk).
        validate_cluster: reads the options of one cluster; raises InvalidInput.
    """
    problems = list(find_problems(data))
    problems += unknown_variables(data.get("variables") or {}, data.get("role_variables") or [])
    agents = [_agent(item) for item in data.get("agents") or []]
    requests: list[NodeRequest] = []
    for options in data.get("clusters") or []:
        where = f"cluster {options.get('name', 'kubernetes')}"
        try:
            requests.append(_request(validate_cluster(dict(options), where)))
        except InvalidInput as error:
            problems += error.problems
    return problems + capacity_problems(agents, requests)


def _agent(item: Mapping[str, Any]) -> Agent:
    def amount(key: str) -> float | None:
        value = item.get(key)
        return None if value is None or value == "" else float(value)

    return Agent(
        str(item["name"]),
        str(item.get("region") or ""),
        amount("cpus"),
        amount("mem"),
        amount("disk"),
    )


def _request(options: Any) -> NodeRequest:
    node = options.node
    parts = (node, node.proxy, node.dns)
    return NodeRequest(
        cluster=options.name,
        count=node.count,
        cpus=round(sum(part.cpus for part in parts), _DIGITS),
        mem=sum(part.mem_mb for part in parts),
        disk=node.disk_mb,
        regions=tuple(options.placement.regions),
    )


def all_host_problems(
    probes: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any]
) -> list[Problem]:
    """Problems of all hosts that were asked.

    Args:
        probes: host name → what the probe returned.
        data: ``hosts`` as from `hosts_of`, and the fields of `Limits` as ``limits``.
    """
    limits = Limits(**data["limits"])
    problems: list[Problem] = []
    for host in data["hosts"]:
        if host["name"] in probes:
            problems += host_problems(host, probes[host["name"]], limits)
    return problems


def as_dicts(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Problems as plain data; ``host`` names the host or the place in the inventory."""
    return [{**asdict(problem), "host": problem.where} for problem in problems]


def from_dicts(items: Sequence[Mapping[str, str]]) -> list[Problem]:
    """The inverse of `as_dicts`."""
    keys = ("where", "seen", "wanted", "id", "fix")
    return [Problem(**{key: item[key] for key in keys}) for item in items]
