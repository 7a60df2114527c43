"""From Mesos' state to records: which names exist and what they say.

Pure, except for the injected look-up of host names. The names are those of Mesos-DNS (its naming
documentation), held to recordings of it in `tests/contracts/mesos_dns`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubedcos.embedded.mesos_dns import labels
from kubedcos.embedded.mesos_dns.config import Config
from kubedcos.embedded.mesos_dns.state import (
    RUNNING,
    BadState,
    State,
    list_of,
    object_of,
    pid_host_port,
    plain_address,
    task_addresses,
    task_ports,
)

Lookup = Callable[[str], Sequence[str]]
"""Addresses of a host name; empty when it has none."""


@dataclass(slots=True)
class TaskRecords:
    """Records of one task, in the order of their making: (name, value, type)."""

    name: str
    id: str
    rows: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Records:
    """All records of a zone. Names are absolute; values of SRV are `target:port`."""

    a: dict[str, list[str]] = field(default_factory=dict)
    aaaa: dict[str, list[str]] = field(default_factory=dict)
    srv: dict[str, list[str]] = field(default_factory=dict)
    ptr: dict[str, list[str]] = field(default_factory=dict)
    frameworks: list[tuple[str, list[TaskRecords]]] = field(default_factory=list)

    def add_address(self, name: str, address: str) -> str:
        """Add an A or AAAA record; says which, or nothing when it was there already."""
        ip = ipaddress.ip_address(address)
        kind, table = ("A", self.a) if ip.version == 4 else ("AAAA", self.aaaa)
        return kind if _insert(table, name, str(ip)) else ""

    def add_srv(self, name: str, target: str) -> bool:
        """Add an SRV record; false when it was there already."""
        return _insert(self.srv, name, target)


def generate(
    state: State, config: Config, lookup: Lookup, *, local_addresses: Sequence[str] = ()
) -> Records:
    """All records of `state`.

    Args:
        state: `/master/state` of the leading master.
        config: effective configuration; `masters` in the order of their numbers.
        lookup: resolves host names of agents and frameworks.
        local_addresses: addresses of this node, for an `ns1` record of a wildcard listener.

    Raises:
        BadState: something that Mesos-DNS does not survive or refuses as a whole.
    """
    records = Records()
    spec = labels.rfc952 if config.enforce_rfc952 else labels.rfc1123
    try:
        agents = _agents(records, state, config, lookup)
        frameworks = list_of(state.get("frameworks"), "frameworks")
        for framework in frameworks:
            _framework(records, framework, config, spec, lookup)
        _masters(records, state, config)
        _listener(records, config, local_addresses)
        for framework in frameworks:
            _tasks(records, framework, agents, config, spec)
    except (TypeError, AttributeError, KeyError) as error:
        raise BadState(f"unexpected type in the state: {error}") from error
    return records


def _insert(table: dict[str, list[str]], name: str, value: str) -> bool:
    values = table.setdefault(name, [])
    if value in values:
        return False
    values.append(value)
    return True


def _addresses(host: str, lookup: Lookup) -> list[str]:
    try:
        return [plain_address(host)]
    except ValueError:
        return list(lookup(host)) if host else []


def _agents(records: Records, state: State, config: Config, lookup: Lookup) -> dict[str, list[str]]:
    addresses: dict[str, list[str]] = {}
    for agent in list_of(state.get("slaves"), "slaves"):
        host, port = pid_host_port(agent["pid"])
        found = _resolved(host, lookup)
        name = f"slave.{config.domain}."
        for address in found:
            records.add_address(name, address)
        records.add_srv(f"_slave._tcp.{config.domain}.", f"{name}:{port}")
        addresses[agent.get("id") or ""] = found
    return addresses


def _resolved(host: str, lookup: Lookup) -> list[str]:
    """Addresses of the host of a pid, none of none; a name without one spoils the whole state."""
    found = _addresses(host, lookup)
    if host and not found:
        raise BadState(f"{host} in a pid does not resolve")
    return found


def _framework(
    records: Records, framework: State, config: Config, spec: labels.Spec, lookup: Lookup
) -> None:
    name = f"{labels.framework_name(framework['name'], spec)}.{config.domain}."
    pid = framework.get("pid")
    host = framework.get("hostname") or ""
    port = 0
    if "pid" in framework:
        host, port = pid_host_port(pid)
        _resolved(host, lookup)
    for address in _addresses(host, lookup):
        records.add_address(name, address)
    if port:
        records.add_srv(f"_framework._tcp.{name}", f"{name}:{port}")


def _masters(records: Records, state: State, config: Config) -> None:
    leader_host, leader_port = pid_host_port(state["leader"])
    host = f"[{leader_host}]" if ":" in leader_host else leader_host
    leader = f"{host}:{leader_port}"
    domain = config.domain
    records.add_address(f"leader.{domain}.", leader_host)
    records.add_address(f"master.{domain}.", leader_host)
    for protocol in ("_tcp", "_udp"):
        records.add_srv(f"_leader.{protocol}.{domain}.", f"leader.{domain}.:{leader_port}")
    number, numbered = 0, False
    for master in config.masters:
        host = master.rpartition(":")[0].strip("[]")
        is_leader = master == leader
        if not is_leader and not records.add_address(f"master.{domain}.", host):
            continue
        if is_leader and numbered:
            continue
        records.add_address(f"master{number}.{domain}.", host)
        number += 1
        numbered = numbered or is_leader
    if not numbered:
        records.add_address(f"master{number}.{domain}.", leader_host)


def _listener(records: Records, config: Config, local_addresses: Sequence[str]) -> None:
    if config.listener == "0.0.0.0":  # noqa: S104  compared, not bound
        addresses: Sequence[str] = local_addresses
    else:
        addresses = (config.listener,)
    for address in addresses:
        records.add_address(config.soa_mname, address)


@dataclass(frozen=True, slots=True)
class _Place:
    """What the names of one task are made of."""

    framework: str
    hash: str
    agent: str
    addresses: tuple[str, ...]
    agent_addresses: tuple[str, ...]
    tail: str


def _tasks(
    records: Records,
    framework: State,
    agents: Mapping[str, list[str]],
    config: Config,
    spec: labels.Spec,
) -> None:
    listed: list[TaskRecords] = []
    for task in list_of(framework.get("tasks"), "tasks"):
        agent_addresses = agents.get(task["slave_id"])
        if task["state"] != RUNNING or not agent_addresses:
            continue
        task_name = task.get("name") or ""
        mine = TaskRecords(task_name, task["id"])
        listed.append(mine)
        place = _Place(
            framework=labels.framework_name(framework["name"], spec),
            hash=labels.zbase32(hashlib.sha1(task["id"].encode()).digest())[:5],  # noqa: S324  a name
            agent=task["slave_id"].rpartition("-")[2].lower(),
            addresses=tuple(task_addresses(task, config.ip_sources, agent_addresses)),
            agent_addresses=tuple(agent_addresses),
            tail=f".{config.domain}.",
        )
        discovery = task.get("discovery") or {}
        raw = discovery.get("name") or ""
        names = (raw, spec(raw)) if raw else (spec(task_name),)
        for name in names:
            _task(_Writer(records, mine), task, name, place, spec, discovery if raw else None)
    records.frameworks.append((framework["name"], listed))


@dataclass(frozen=True, slots=True)
class _Writer:
    """Adds records and remembers which task made them first."""

    records: Records
    task: TaskRecords

    def address(self, owner: str, value: str, *, reverse: bool = False) -> None:
        kind = self.records.add_address(owner, value)
        if kind:
            self.task.rows.append((owner, value, kind))
        if reverse and _insert(self.records.ptr, value, owner):
            self.task.rows.append((owner, value, "PTR"))

    def srv(self, owner: str, target: str) -> None:
        if self.records.add_srv(owner, target):
            self.task.rows.append((owner, target, "SRV"))


def _task(
    write: _Writer,
    task: State,
    name: str,
    place: _Place,
    spec: labels.Spec,
    discovery: State | None,
) -> None:
    tail = place.tail
    plain = f"{name}.{place.framework}"
    canonical = f"{name}-{place.hash}-{place.agent}.{place.framework}"
    for value in place.addresses:
        write.address(plain + tail, value, reverse=True)
        write.address(canonical + tail, value)
    for value in place.agent_addresses:
        write.address(f"{plain}.slave{tail}", value)
        write.address(f"{canonical}.slave{tail}", value)
    agent_host = f"{canonical}.slave{tail}"
    for port in task_ports(task):
        for protocol in ("_tcp", "_udp"):
            base = f"_{name}.{protocol}.{place.framework}"
            write.srv(f"{base}.slave{tail}", f"{agent_host}:{port}")
            if discovery is None:
                write.srv(base + tail, f"{agent_host}:{port}")
    for number, owner in _discovery_ports(discovery or {}, name, place.framework, spec):
        write.srv(owner + tail, f"{canonical}{tail}:{number}")
        write.srv(f"{owner}.slave{tail}", f"{agent_host}:{number}")


def _discovery_ports(
    discovery: State, name: str, framework: str, spec: labels.Spec
) -> Iterator[tuple[int, str]]:
    for port in list_of(object_of(discovery.get("ports")).get("ports"), "discovery ports"):
        if not isinstance(port["number"], int):
            raise BadState(f"port number {port['number']!r} is no number")
        stated = port.get("protocol")
        for protocol in (f"_{spec(stated)}",) if stated else ("_tcp", "_udp"):
            base = f"_{name}.{protocol}.{framework}"
            yield port["number"], base
            if port.get("name"):
                yield port["number"], f"_{spec(port['name'])}.{base}"
