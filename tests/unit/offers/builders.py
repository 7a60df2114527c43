"""Agents, offers and pods in few words."""

from __future__ import annotations

from kubedcos.model.offer import Agent, Disk, Offer, Reservation, Resource, millis_of
from kubedcos.model.service import (
    DiskKind,
    PlacementSpec,
    PodSpec,
    PortSpec,
    TaskSpec,
    VolumeSpec,
)
from kubedcos.offers.evaluation import AgentOffers, group
from kubedcos.offers.requirement import KnownAgent, Requirement, Surroundings

ROLE = "kubernetes"


def agent(name: str, region: str = "dc-a", zone: str = "a-1", **attributes: str) -> Agent:
    return Agent(f"S-{name}", name, "10.0.0.1", region, zone, tuple(attributes.items()))


def amounts(
    cpus: float = 4.0,
    mem: float = 8192.0,
    disk: float = 20480.0,
    ports: tuple[tuple[int, int], ...] = ((1025, 29999),),
    reservations: tuple[Reservation, ...] = (),
) -> tuple[Resource, ...]:
    scalars = {"cpus": cpus, "mem": mem, "disk": disk}
    found = [
        Resource(name, millis_of(value), reservations=reservations)
        for name, value in scalars.items()
        if value
    ]
    if ports:
        found.append(Resource("ports", ranges=ports, reservations=reservations))
    return tuple(found)


def mount(root: str, mb: int, kind: DiskKind = DiskKind.MOUNT) -> Resource:
    return Resource("disk", mb * 1000, disk=Disk(kind, root))


def offers(*pairs: tuple[Agent, tuple[Resource, ...]]) -> tuple[AgentOffers, ...]:
    return group(
        Offer(f"O{number}", where, ROLE, resources)
        for number, (where, resources) in enumerate(pairs)
    )


def task(
    name: str = "t",
    cpus: float = 1.0,
    mem_mb: int = 1024,
    disk_mb: int = 256,
    ports: tuple[PortSpec, ...] = (),
    volumes: tuple[VolumeSpec, ...] = (),
) -> TaskSpec:
    return TaskSpec(name, name, cpus, mem_mb, disk_mb, ports=ports, volumes=volumes)


def pod(
    *tasks: TaskSpec, count: int = 1, name: str = "pod", placement: PlacementSpec | None = None
) -> PodSpec:
    return PodSpec(name, count, tasks or (task(),), placement or PlacementSpec())


def needs(
    spec: PodSpec,
    index: int = 0,
    *,
    launch: tuple[str, ...] | None = None,
    pinned: Agent | None = None,
    reservation_id: str = "",
    fresh_id: str = "r-new",
) -> Requirement:
    return Requirement(
        cluster="kubernetes",
        role=ROLE,
        principal="p",
        pod=spec,
        index=index,
        launch=launch or tuple(found.name for found in spec.tasks),
        pinned=pinned.id if pinned else "",
        pinned_host=pinned.hostname if pinned else "",
        reservation_id=reservation_id,
        fresh_id=fresh_id,
    )


def around(
    *agents: Agent, placed: dict[tuple[str, int], Agent] | None = None, cpus: int = 4000
) -> Surroundings:
    largest = {"cpus": cpus, "mem": 8_192_000}
    known = tuple(KnownAgent(found, largest) for found in agents)
    return Surroundings("dc-a", known, placed or {})
