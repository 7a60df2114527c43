"""Whether clusters fit on the agents there are, and in words what keeps them from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kubedcos.config.clashes import all_clashes
from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.pools import NODE_POD, is_node_pod
from kubedcos.errors import Problem
from kubedcos.kubernetes import components
from kubedcos.model.offer import Agent, Disk, Reservation, Resource, millis_of
from kubedcos.model.service import DiskKind
from kubedcos.offers.capacity import Lack, Report, Room, check
from kubedcos.offers.outcome import Outcome
from kubedcos.topology import capacity as topology

_UNKNOWN = 10**12
"""Thousandths of what an agent counts itself: enough for anything."""
_TOLD_AT_MOST = 3
_OPTIONS = {
    "etcd": "etcd",
    "kube-apiserver": "apiserver",
    "kube-controller-manager": "controller_manager",
    "kube-scheduler": "scheduler",
    "mandatory-addons": "addons",
    "addons": "addons",
    NODE_POD: "node",
}


def report(
    options: ClusterOptions,
    rooms: Sequence[Room],
    local_region: str,
    placed: Mapping[tuple[str, int], Agent] | None = None,
) -> Report:
    """One cluster placed on paper; see `offers.capacity.check`."""
    return check(components.service(options), rooms, local_region, placed)


def problems(options: ClusterOptions, found: Report) -> list[Problem]:
    """What does not fit, with the constraint that binds; empty when everything does."""
    return [_problem(options.name, lack) for lack in found.lacks]


def judge(
    agents: Sequence[topology.Agent], clusters: Sequence[ClusterOptions], local_region: str
) -> list[Problem]:
    """Problems of several clusters on the agents of an inventory, one after the other.

    Without agents only what the clusters must not share is looked at.
    """
    found = all_clashes(clusters)
    if not agents:
        return found
    rooms: tuple[Room, ...] = tuple(room(agent) for agent in agents)
    for options in clusters:
        placed = report(options, rooms, local_region)
        found += problems(options, placed)
        rooms = placed.rooms
    return found


def room(agent: topology.Agent) -> Room:
    """An agent of an inventory, empty as it will be."""
    amounts = {"cpus": agent.cpus, "mem": agent.mem, "disk": agent.disk}
    free = [
        Resource(name, _UNKNOWN if amount is None else millis_of(amount))
        for name, amount in amounts.items()
    ]
    free.append(Resource("ports", ranges=agent.ports))
    free += [
        Resource(
            "disk", _UNKNOWN if size is None else millis_of(size), disk=Disk(DiskKind(kind), root)
        )
        for kind, root, size in agent.disks
    ]
    if agent.role not in {"", "*"}:
        kept = (Reservation(agent.role, dynamic=False),)
        free = [replace(part, reservations=kept) for part in free]
    place = Agent(
        agent.name,
        agent.name,
        region=agent.region,
        zone=agent.zone,
        attributes=tuple(sorted(agent.attributes.items())),
    )
    return Room(place, tuple(free))


def option_of(pod: str) -> str:
    """The section of the options that a pod follows from."""
    if is_node_pod(pod) and pod != NODE_POD:
        return f"node_pools.{pod.removeprefix(NODE_POD + '-')}"
    return _OPTIONS.get(pod, pod)


def _problem(cluster: str, lack: Lack) -> Problem:
    outcome = lack.outcome
    if len(lack.missing) > 1 or lack.placed:
        seen = f"{lack.placed} of {lack.placed + len(lack.missing)} find an agent; "
        seen += f"{lack.missing[0]} {outcome.reason}"
    else:
        seen = f"{lack.missing[0]} {outcome.reason}"
    return Problem(
        f"cluster {cluster}: {option_of(lack.pod.name)}",
        seen,
        "agents that could hold all of them",
        _kind(lack),
        _what_binds(outcome),
    )


def _what_binds(outcome: Outcome) -> str:
    if outcome.binding:
        ruled_out = outcome.rejected[outcome.binding]
        return (
            f"What binds is {outcome.binding}: it rules out {ruled_out} of {outcome.agents} agents."
        )
    several: dict[str, int] = {}
    for stage, count in outcome.rejected.items():
        name = stage.partition(" port ")[0]
        several[name] = max(several.get(name, 0), count)
    if several:
        told = ", ".join(f"{name} {count}" for name, count in [*several.items()][:_TOLD_AT_MOST])
        return f"No one constraint binds alone: of {outcome.agents} agents are ruled out by {told}."
    return ""


def _kind(lack: Lack) -> str:
    outcome = lack.outcome
    nobody = not any(verdict.placeable for verdict in outcome.verdicts)
    if nobody and not is_node_pod(lack.pod.name):
        return "control-plane-without-agents"
    if outcome.shortfall and not lack.placed:
        return "resources-unoffered"
    return "nodes-exceed-agents" if is_node_pod(lack.pod.name) else "cluster-does-not-fit"
