"""Whether the resources of one agent suffice, and exactly which of them a pod instance takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kubedcos.model.offer import Reservation, Resource, amount_text, millis_of
from kubedcos.model.service import DiskKind, TaskSpec
from kubedcos.offers.placement import Finding
from kubedcos.offers.pool import Pool, Usable, merged, size, spendable, unreserved
from kubedcos.offers.requirement import (
    RESERVATION_LABEL,
    TASK_LABEL,
    UNITS,
    Requirement,
    port_numbers,
    sums,
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one task gets.

    Attributes:
        ports: number by port name.
        volumes: path in the sandbox by volume name.
    """

    task: str
    resources: tuple[Resource, ...]
    ports: dict[str, int] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fit:
    """What an agent gives: resources to reserve, volumes to create, and grants to launch on.

    Attributes:
        unreserve: what an earlier reservation holds beyond what its tasks need by now.
    """

    grants: tuple[Grant, ...]
    reserve: tuple[Resource, ...] = ()
    create: tuple[Resource, ...] = ()
    reservation_id: str = ""
    unreserve: tuple[Resource, ...] = ()


def fit(requirement: Requirement, resources: Sequence[Resource]) -> Fit | tuple[Finding, ...]:
    """Resources for the tasks out of those of one agent, or what is short."""
    if not requirement.pod.reserved:
        return _fresh(requirement, resources, spendable)
    if requirement.reservation_id:
        existing = _existing(requirement, resources)
        if isinstance(existing, Fit) or not requirement.fresh_id:
            return existing
    return _fresh(requirement, resources, unreserved)


def _fresh(
    requirement: Requirement, resources: Sequence[Resource], usable: Usable
) -> Fit | tuple[Finding, ...]:
    tasks = requirement.to_reserve
    pool = Pool(resources)
    short = [
        Finding(name, _lack(name, needed, available), needed, available)
        for name, needed in sums(tasks).items()
        if needed > (available := pool.total(name, usable))
    ]
    short += _missing_ports(tasks, resources, usable)
    if short:
        return tuple(short)
    grants: list[Grant] = []
    volumes: list[Resource] = []
    for task in tasks:
        taken = _take(requirement, task, pool, usable)
        if isinstance(taken, Finding):
            return (taken,)
        grant, created = taken
        grants.append(grant)
        volumes += created
    launched = tuple(grant for grant in grants if grant.task in requirement.launch)
    if not requirement.pod.reserved:
        return Fit(launched)
    reserve = merged(part.without_volume() for grant in grants for part in grant.resources)
    return Fit(launched, reserve, tuple(volumes), requirement.fresh_id)


def _take(
    requirement: Requirement, task: TaskSpec, pool: Pool, usable: Usable
) -> tuple[Grant, list[Resource]] | Finding:
    parts: list[Resource] = []
    for name, millis in _amounts(task).items():
        parts += pool.take(name, millis, usable)
    granted: list[int] = []
    for number in port_numbers(task):
        port = pool.take_port(number, usable)
        if port is None:
            return Finding("ports", f"has not port {number} twice", detail=f"port {number}")
        granted.append(port.ranges[0][0])
        parts.append(port)
    stack = _stack(requirement, task, requirement.fresh_id)
    if stack:
        parts = [replace(part, reservations=(*part.reservations, *stack)) for part in parts]
    volumes: list[Resource] = []
    for volume in task.volumes:
        disk = pool.take_disk(volume.disk, volume.size_mb * 1000, usable)
        if disk is None:
            available = pool.largest_disk(volume.disk, usable)
            return _lacking_disk(volume.disk, volume.size_mb * 1000, available)
        identity = replace(
            disk.disk,
            persistence_id=requirement.persistence_id(requirement.fresh_id, task, volume),
            principal=requirement.principal,
            container_path=volume.container_path,
        )
        volumes.append(replace(disk, reservations=stack, disk=identity))
    grant = Grant(
        task.name,
        merged(parts + volumes),
        _named_ports(task, granted),
        {volume.name: volume.container_path for volume in task.volumes},
    )
    return grant, volumes


def _stack(
    requirement: Requirement, task: TaskSpec, reservation_id: str
) -> tuple[Reservation, ...]:
    if not requirement.pod.reserved:
        return ()
    labels = requirement.labels(reservation_id, task)
    return (Reservation(requirement.role, principal=requirement.principal, labels=labels),)


def _existing(requirement: Requirement, resources: Sequence[Resource]) -> Fit | tuple[Finding, ...]:
    ours = [
        resource
        for resource in resources
        if resource.label(RESERVATION_LABEL) == requirement.reservation_id
    ]
    if not ours:
        reason = f"does not offer the resources reserved for {requirement.pod_instance}"
        return (Finding("reservation", reason),)
    grants: list[Grant] = []
    short: list[Finding] = []
    free = Pool(resources)
    reserve: list[Resource] = []
    unreserve: list[Resource] = []
    for task in requirement.to_launch:
        holds = tuple(resource for resource in ours if resource.label(TASK_LABEL) == task.name)
        added, freed = _resized(requirement, task, holds, free)
        held = _changed(holds, added, freed)
        reserve += added
        unreserve += freed
        short += _shortages(requirement, task, held)
        numbers = [
            low for part in held for low, high in _ports(part) for low in range(low, high + 1)
        ]
        grants.append(
            Grant(
                task.name,
                held,
                _named_ports(task, numbers),
                {volume.name: volume.container_path for volume in task.volumes},
            )
        )
    if short:
        return tuple(short)
    return Fit(
        tuple(grants),
        reserve=merged(reserve),
        reservation_id=requirement.reservation_id,
        unreserve=merged(unreserve),
    )


def _resized(
    requirement: Requirement, task: TaskSpec, held: Sequence[Resource], free: Pool
) -> tuple[list[Resource], list[Resource]]:
    """What a task's reservation needs beside what it holds, and what it holds beyond its needs.

    An update may have changed the task's size; its volumes stay as they are. What is not there to
    be added is missing in the answer.
    """
    added: list[Resource] = []
    freed: list[Resource] = []
    stack = _stack(requirement, task, requirement.reservation_id)
    for name, needed in _amounts(task).items():
        parts = [part for part in held if part.name == name and not part.is_volume]
        missing = needed - sum(size(part) for part in parts)
        if 0 < missing <= free.total(name, unreserved):
            taken = free.take(name, missing, unreserved)
            added += [replace(part, reservations=stack) for part in taken]
        for part in parts:
            if missing < 0:
                over = min(-missing, part.millis)
                freed.append(replace(part, millis=over))
                missing += over
    return added, freed


def _changed(
    held: Sequence[Resource], added: Sequence[Resource], freed: Sequence[Resource]
) -> tuple[Resource, ...]:
    """What a task holds after its reservation was resized."""
    rest = []
    for part in held:
        over = sum(
            gone.millis for gone in freed if replace(gone, millis=0) == replace(part, millis=0)
        )
        left = part if not over else replace(part, millis=part.millis - over)
        if size(left) or left.is_volume:
            rest.append(left)
    return merged([*rest, *added])


def _amounts(task: TaskSpec) -> dict[str, int]:
    """Scalars that a task needs, in thousandths; volumes are another matter."""
    return {
        "cpus": millis_of(task.cpus),
        "mem": task.mem_mb * 1000,
        "disk": task.disk_mb * 1000,
    }


def _shortages(requirement: Requirement, task: TaskSpec, held: Sequence[Resource]) -> list[Finding]:
    needs = {**_amounts(task), "ports": len(port_numbers(task)) * 1000}
    short = []
    for name, needed in needs.items():
        available = sum(size(part) for part in held if part.name == name and not part.is_volume)
        if available < needed:
            reason = f"{_lack(name, needed, available)} in its reservation"
            short.append(Finding(name, reason, needed, available))
    present = {part.disk.persistence_id for part in held if part.is_volume}
    short += [
        Finding("reservation", f"does not offer volume {volume.name} of {task.name}")
        for volume in task.volumes
        if requirement.persistence_id(requirement.reservation_id, task, volume) not in present
    ]
    return short


def _missing_ports(
    tasks: Sequence[TaskSpec], resources: Sequence[Resource], usable: Usable
) -> list[Finding]:
    offered = [pair for part in resources if usable(part) for pair in _ports(part)]
    return [
        Finding("ports", f"does not offer port {number} ({task.name})", detail=f"port {number}")
        for task in tasks
        for number in port_numbers(task)
        if number and not any(low <= number <= high for low, high in offered)
    ]


def _named_ports(task: TaskSpec, granted: Sequence[int]) -> dict[str, int]:
    fixed = {port.number for port in task.ports}
    dynamic = iter([number for number in granted if number not in fixed])
    return {port.name: port.number or next(dynamic, 0) for port in task.ports}


def _ports(resource: Resource) -> tuple[tuple[int, int], ...]:
    return resource.ranges if resource.name == "ports" else ()


def _lack(name: str, needed: int, available: int) -> str:
    return f"has {amount_text(available)} of {amount_text(needed)} {UNITS[name]}"


def _lacking_disk(kind: DiskKind, needed: int, available: int) -> Finding:
    what = "root disk" if kind is DiskKind.ROOT else f"{kind} disk"
    reason = f"has {amount_text(available)} of {amount_text(needed)} MB of {what}"
    return Finding(f"{kind} disk", reason, needed, available)
