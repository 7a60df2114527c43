"""All preflight findings, from plain data as Ansible has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kubedcos.errors import InvalidInput, Problem
from kubedcos.topology.capacity import ALL_PORTS, Agent, Judge
from kubedcos.topology.checks import find_problems
from kubedcos.topology.clusters import form_problems, overlay_problems
from kubedcos.topology.groups import misspelt_groups
from kubedcos.topology.hostchecks import Limits, host_problems
from kubedcos.topology.variables import unknown_variables

Validate = Callable[[dict[str, Any], str], Any]
_GB_IN_MB = 1024
_AMOUNTS = {"cpus": "mesos_agent_cpus", "mem": "mesos_agent_mem_mb", "disk": "storage_root_mb"}
_PLACE = {"address": "ansible_host", "index": "host_index", "region": "region", "zone": "zone"}


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
    hosts = []
    for name, mine in having.items():
        # Ansible puts all variables of a host together each time that it is asked for them.
        found = hostvars[name]
        told = {key: found.get(variable) for key, variable in _PLACE.items()}
        hosts.append({"name": name, **told, "functions": mine})
    return hosts


def agents_of(
    hostvars: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> list[dict[str, Any]]:
    """What the inventory tells agents to offer; amounts that they count themselves are missing.

    Args:
        hostvars: host name → variables.
        names: the agents.
    """
    keys = {
        **_AMOUNTS,
        "ports": "mesos_agent_ports",
        "attributes": "mesos_agent_attributes",
        "disks": "storage_disks",
        "role": "mesos_agent_default_role",
    }
    agents: list[dict[str, Any]] = []
    for name in names:
        found = hostvars[name]
        amounts = {
            key: amount for key, variable in keys.items() if (amount := _told(found, variable))
        }
        place = {"region": found.get("region") or "", "zone": found.get("zone") or ""}
        agents.append({"name": name, **place, **amounts})
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


def inventory_problems(
    data: Mapping[str, Any], validate_cluster: Validate, judge: Judge
) -> list[Problem]:
    """Everything that can be known without asking a host.

    Args:
        data: what `kubedcos.topology.inventory.parse_inventory` takes, and ``variables`` (host →
            names), ``role_variables``, ``groups`` (name → hosts), ``clusters`` (options as in
            their files, completed), ``agents`` (as from `agents_of`).
        validate_cluster: reads the options of one cluster; raises InvalidInput.
        judge: says whether clusters fit on agents, and beside each other.
    """
    problems = list(find_problems(data))
    problems += misspelt_groups(data.get("groups") or {})
    problems += unknown_variables(data.get("variables") or {}, data.get("role_variables") or [])
    found, clusters = _read_clusters(data, validate_cluster)
    items = data.get("agents") or []
    amounts = _amount_problems(items)
    agents = [_agent(item) for item in items]
    return problems + found + (amounts or judge(agents, clusters, _local_region(data)))


def fitting_problems(
    data: Mapping[str, Any], validate_cluster: Validate, judge: Judge
) -> list[Problem]:
    """Whether clusters fit on the agents of an inventory, and nothing else.

    Args:
        data: ``agents``, ``clusters``, ``hosts`` and ``overlays`` as for `inventory_problems`.
        validate_cluster: likewise.
        judge: likewise.
    """
    found, clusters = _read_clusters(data, validate_cluster)
    items = data.get("agents") or []
    return (
        found
        or _amount_problems(items)
        or judge([_agent(item) for item in items], clusters, _local_region(data))
    )


def _local_region(data: Mapping[str, Any]) -> str:
    """Region of the masters; `find_problems` names those that are in several."""
    regions = {
        str(host.get("region"))
        for host in data.get("hosts") or []
        if "master" in (host.get("functions") or [])
    }
    return min(regions, default="")


def _read_clusters(
    data: Mapping[str, Any], validate_cluster: Validate
) -> tuple[list[Problem], list[Any]]:
    """Problems of the clusters' options, and the good ones as they were read."""
    clusters = data.get("clusters")
    problems = form_problems(clusters)
    if not isinstance(clusters, Sequence) or isinstance(clusters, str):
        return problems, []
    overlays = data.get("overlays")
    # What is no list is named by `find_problems`.
    listed = overlays if isinstance(overlays, Sequence) else ()
    known = [each for each in listed if isinstance(each, Mapping)]
    good: list[Any] = []
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
        good.append(read)
    return problems, good


def _amount_problems(agents: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Amounts that nothing can have; what is no number the check of roles' inputs names."""
    return [
        Problem(
            f"host {agent['name']}: {variable}",
            repr(amount),
            "a number above 0, or 0 to have it counted",
            "agent-amount",
        )
        for agent in agents
        for key, variable in _AMOUNTS.items()
        if isinstance(amount := agent.get(key), int | float) and not 0 < amount < math.inf
    ]


def _agent(item: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Agent:
    counted = _offered(facts) if facts else {}

    def amount(key: str) -> float | None:
        value = item.get(key, counted.get(key))
        # What is no number is named where the inputs of roles are checked.
        return float(value) if isinstance(value, int | float) else None

    attributes = item.get("attributes")
    return Agent(
        str(item["name"]),
        str(item.get("region") or ""),
        amount("cpus"),
        amount("mem"),
        amount("disk"),
        zone=str(item.get("zone") or ""),
        attributes={str(name): str(value) for name, value in attributes.items()}
        if isinstance(attributes, Mapping)
        else {},
        ports=_ports(item.get("ports")),
        disks=_disks(item.get("disks")),
        role=str(item.get("role") or "*"),
    )


def _ports(given: object) -> tuple[tuple[int, int], ...]:
    """Ranges such as ``1025-2180``; what is none is named where the inputs of roles are checked."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return ALL_PORTS
    found = []
    for text in given:
        low, _, high = str(text).partition("-")
        if low.strip().isdigit() and high.strip().isdigit():
            found.append((int(low), int(high)))
    return tuple(found) or ALL_PORTS


def _disks(given: object) -> tuple[tuple[str, str, float | None], ...]:
    """Disks beside the root disk; the size of a device is not known before it is looked at."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return ()
    return tuple(
        (kind, str(disk.get("root")), float(size) if isinstance(size, int | float) else None)
        for disk in given
        if isinstance(disk, Mapping)
        and (kind := str(disk.get("type")).upper()) in {"MOUNT", "PATH"}
        for size in [disk.get("image_mb")]
    )


def _offered(facts: Mapping[str, Any]) -> dict[str, float]:
    """What Mesos offers of a host when nobody tells it: flag --resources in its documentation."""
    memory = facts["memory_mb"]
    offered = {"mem": memory - _GB_IN_MB if memory >= 2 * _GB_IN_MB else memory // 2}
    if "cpus" in facts:
        offered["cpus"] = facts["cpus"]
    return offered


def all_host_problems(
    probes: Mapping[str, Mapping[str, Any]],
    data: Mapping[str, Any],
    validate_cluster: Validate,
    judge: Judge,
) -> list[Problem]:
    """Problems of all hosts that were asked.

    Args:
        probes: host name → what the probe returned.
        data: ``hosts`` as from `hosts_of`, and the fields of `Limits` as ``limits``; ``agents``
            and ``clusters`` as for `inventory_problems`, for agents that count what they offer.
        validate_cluster: as for `inventory_problems`.
        judge: likewise.
    """
    limits = Limits(**data["limits"])
    problems: list[Problem] = []
    for host in data["hosts"]:
        if host["name"] in probes:
            problems += host_problems(host, probes[host["name"]], limits)
    if problems:
        return problems
    _, clusters = _read_clusters(data, validate_cluster)
    agents = [
        _agent(item, probes.get(item["name"], {}).get("facts")) for item in data.get("agents") or []
    ]
    return judge(agents, clusters, _local_region(data)) if agents else []


def as_dicts(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Problems as plain data; ``host`` names the host or the place in the inventory."""
    return [{**asdict(problem), "host": problem.where} for problem in problems]


def from_dicts(items: Sequence[Mapping[str, str]]) -> list[Problem]:
    """The inverse of `as_dicts`."""
    keys = ("where", "seen", "wanted", "id", "fix")
    return [Problem(**{key: item[key] for key in keys}) for item in items]
