"""All preflight findings, from plain data as Ansible has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kubedcos.errors import InvalidInput, Problem
from kubedcos.topology.capacity import Agent, NodeRequest, capacity_problems
from kubedcos.topology.checks import find_problems
from kubedcos.topology.clusters import form_problems, overlay_problems
from kubedcos.topology.groups import misspelt_groups
from kubedcos.topology.hostchecks import Limits, host_problems
from kubedcos.topology.variables import unknown_variables

Validate = Callable[[dict[str, Any], str], Any]
# Mesos hands out thousandths of a CPU; sums of floats must not miss by less.
_DIGITS = 3
_GB_IN_MB = 1024


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
        amounts = {
            key: amount for key, variable in keys.items() if (amount := _told(found, variable))
        }
        agents.append({"name": name, "region": found.get("region") or "", **amounts})
    return agents


def _told(found: Mapping[str, Any], variable: str) -> Any:
    """The variable's value; None where its template has none, which `input_problems` names."""
    try:
        return found.get(variable) or None
    # Each template language raises its own.
    except Exception:
        return None


def variables_of(
    hostvars: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> dict[str, list[str]]:
    """Names of each host's variables; no value is looked at.

    Args:
        hostvars: host name → variables.
        names: the hosts.
    """
    return {name: sorted(hostvars[name]) for name in names}


def inventory_problems(data: Mapping[str, Any], validate_cluster: Validate) -> list[Problem]:
    """Everything that can be known without asking a host.

    Args:
        data: what `kubedcos.topology.inventory.parse_inventory` takes, and ``variables`` (host →
            names), ``role_variables``, ``groups`` (name → hosts), ``clusters`` (options as in
            their files, completed), ``agents`` (name, region, cpus, mem, disk).
        validate_cluster: reads the options of one cluster; raises InvalidInput.
    """
    problems = list(find_problems(data))
    problems += misspelt_groups(data.get("groups") or {})
    problems += unknown_variables(data.get("variables") or {}, data.get("role_variables") or [])
    found, requests = _read_clusters(data, validate_cluster)
    agents = [_agent(item) for item in data.get("agents") or []]
    return problems + found + (capacity_problems(agents, requests) if agents else [])


def _read_clusters(
    data: Mapping[str, Any], validate_cluster: Validate
) -> tuple[list[Problem], list[NodeRequest]]:
    """Problems of the clusters' options, and what the good ones ask of the agents."""
    clusters = data.get("clusters")
    problems = form_problems(clusters)
    if not isinstance(clusters, Sequence) or isinstance(clusters, str):
        return problems, []
    overlays = data.get("overlays")
    known = [each for each in overlays or [] if isinstance(each, Mapping)]
    regions = {
        str(host.get("region"))
        for host in data.get("hosts") or []
        if "master" in (host.get("functions") or [])
    }
    requests: list[NodeRequest] = []
    for options in clusters:
        if not isinstance(options, Mapping):
            continue
        where = f"cluster {options.get('name', 'kubernetes')}"
        elsewhere = overlay_problems(where, options.get("network"), known)
        problems += elsewhere
        try:
            read = validate_cluster(dict(options), where)
        except InvalidInput as error:
            # The pods' network follows from the overlay; without one only guesses would overlap.
            problems += [p for p in error.problems if not elsewhere or p.id != "network-overlap"]
            continue
        requests += _requests(read, tuple(sorted(regions)))
    return problems, requests


def _agent(item: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Agent:
    counted = _offered(facts) if facts else {}

    def amount(key: str) -> float | None:
        value = item.get(key, counted.get(key))
        # What is no number is named where the inputs of roles are checked.
        return float(value) if isinstance(value, int | float) else None

    return Agent(
        str(item["name"]),
        str(item.get("region") or ""),
        amount("cpus"),
        amount("mem"),
        amount("disk"),
    )


def _offered(facts: Mapping[str, Any]) -> dict[str, float]:
    """What Mesos offers of a host when nobody tells it: flag --resources in its documentation."""
    memory = facts["memory_mb"]
    offered = {"mem": memory - _GB_IN_MB if memory >= 2 * _GB_IN_MB else memory // 2}
    if "cpus" in facts:
        offered["cpus"] = facts["cpus"]
    return offered


def _requests(options: Any, master_regions: tuple[str, ...]) -> list[NodeRequest]:
    node = options.node
    parts = (node, node.proxy, node.dns)
    nodes = NodeRequest(
        cluster=options.name,
        count=node.count,
        cpus=round(sum(part.cpus for part in parts), _DIGITS),
        mem=sum(part.mem_mb for part in parts),
        disk=node.disk_mb,
        regions=tuple(options.placement.regions),
    )
    return [
        nodes,
        *(
            NodeRequest(
                cluster=options.name,
                count=1,
                cpus=part.cpus,
                mem=part.mem_mb,
                # A disk of another kind is not counted among what the agent offers of its own.
                disk=part.disk_mb if getattr(part, "disk", "") == "ROOT" else 0,
                regions=master_regions,
                what=what,
            )
            for what in ("etcd", "apiserver", "controller_manager", "scheduler")
            for part in [getattr(options, what)]
        ),
    ]


def all_host_problems(
    probes: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any], validate_cluster: Validate
) -> list[Problem]:
    """Problems of all hosts that were asked.

    Args:
        probes: host name → what the probe returned.
        data: ``hosts`` as from `hosts_of`, and the fields of `Limits` as ``limits``; ``agents``
            and ``clusters`` as for `inventory_problems`, for agents that count what they offer.
        validate_cluster: as for `inventory_problems`.
    """
    limits = Limits(**data["limits"])
    problems: list[Problem] = []
    for host in data["hosts"]:
        if host["name"] in probes:
            problems += host_problems(host, probes[host["name"]], limits)
    if problems:
        return problems
    _, requests = _read_clusters(data, validate_cluster)
    agents = [
        _agent(item, probes.get(item["name"], {}).get("facts")) for item in data.get("agents") or []
    ]
    return capacity_problems(agents, requests) if agents else []


def as_dicts(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Problems as plain data; ``host`` names the host or the place in the inventory."""
    return [{**asdict(problem), "host": problem.where} for problem in problems]


def from_dicts(items: Sequence[Mapping[str, str]]) -> list[Problem]:
    """The inverse of `as_dicts`."""
    keys = ("where", "seen", "wanted", "id", "fix")
    return [Problem(**{key: item[key] for key in keys}) for item in items]
