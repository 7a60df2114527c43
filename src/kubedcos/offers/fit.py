"""Whether the resources of one agent suffice, and exactly which of them a pod instance takes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from kubedcos.model.offer import ROOT_DISK, Range, Reservation, Resource, amount_text
from kubedcos.model.service import DiskKind, TaskSpec
from kubedcos.offers.amounts import Needs, amounts, lack, needs, scalars, shortages
from kubedcos.offers.placement import Finding
from kubedcos.offers.pool import Pool, Usable, merged, size, spendable, unreserved
from kubedcos.offers.requirement import (
    RESERVATION_LABEL,
    TASK_LABEL,
    Requirement,
    port_numbers,
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


def fit(
    requirement: Requirement, resources: Sequence[Resource], wanted: Needs | None = None
) -> Fit | tuple[Finding, ...]:
    """Resources for the tasks out of those of one agent, or what is short.

    Args:
        requirement: what is to be placed.
        resources: of one agent.
        wanted: what the requirement needs, where that is known already.
    """
    if requirement.reservation_id and requirement.pod.reserved:
        existing = _existing(requirement, resources)
        if isinstance(existing, Fit) or not requirement.fresh_id:
            return existing
    wanted = wanted or needs(requirement)
    if short := shortages(wanted, amounts(resources, usable(wanted))):
        return short
    return fresh(requirement, wanted, resources)


def usable(wanted: Needs) -> Usable:
    """Which resources a new placement may be made of."""
    return unreserved if wanted.reserved else spendable


def fresh(
    requirement: Requirement, wanted: Needs, resources: Sequence[Resource]
) -> Fit | tuple[Finding, ...]:
    """Resources that nothing is reserved of yet; the caller has seen that the sums suffice."""
    pool = Pool(resources, usable(wanted))
    grants: list[Grant] = []
    volumes: list[Resource] = []
    for task in wanted.tasks:
        taken = _take(requirement, task, wanted, pool)
        if isinstance(taken, Finding):
            return (taken,)
        grant, created = taken
        grants.append(grant)
        volumes += created
    launched = tuple(grant for grant in grants if grant.task in requirement.launch)
    if not wanted.reserved:
        return Fit(launched)
    reserve = merged(part.without_volume() for grant in grants for part in grant.resources)
    return Fit(launched, reserve, tuple(volumes), requirement.fresh_id)


def decisive(wanted: Needs, resources: Sequence[Resource]) -> Hashable:
    """What of an agent's resources `fresh` depends on, for needs without volumes.

    No part gives more than is needed in all, and of ports only those that are asked for by number
    matter, unless any will do. So agents of many sizes are one and the same to an instance.
    """
    fixed = wanted.fixed_ports
    numbered = wanted.sums["ports"] == len(fixed) * 1000
    may_use = usable(wanted)
    found: list[Hashable] = []
    for part in resources:
        most = wanted.sums.get(part.name)
        if not most or not may_use(part) or (part.disk is not ROOT_DISK and part.disk != ROOT_DISK):
            continue
        seen: tuple[int | Range, ...] = part.ranges
        if numbered:
            seen = tuple([n for n in fixed for low, high in part.ranges if low <= n <= high])
        found.append((part.name, min(part.millis, most), seen, part.reservations))
    return tuple(found)


def _take(
    requirement: Requirement, task: TaskSpec, wanted: Needs, pool: Pool
) -> tuple[Grant, list[Resource]] | Finding:
    parts: list[Resource] = []
    numbers = wanted.ports[task.name]
    for name, millis in wanted.scalars[task.name].items():
        parts += pool.take(name, millis)
    granted, ports = pool.take_ports(numbers)
    if len(granted) < len(numbers):
        number = numbers[len(granted)]
        return Finding("ports", f"has not port {number} twice", detail=f"port {number}")
    parts += ports
    stack = _stack(requirement, task, requirement.fresh_id) if wanted.reserved else ()
    if stack:
        parts = [replace(part, reservations=(*part.reservations, *stack)) for part in parts]
    volumes: list[Resource] = []
    for volume in task.volumes:
        disk = pool.take_disk(volume.disk, volume.size_mb * 1000)
        if disk is None:
            available = pool.largest_disk(volume.disk)
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
    free = Pool(resources, unreserved)
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
    for name, needed in scalars(task).items():
        parts = [part for part in held if part.name == name and not part.is_volume]
        missing = needed - sum(size(part) for part in parts)
        if 0 < missing <= free.total(name):
            taken = free.take(name, missing)
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


def _shortages(requirement: Requirement, task: TaskSpec, held: Sequence[Resource]) -> list[Finding]:
    needs = {**scalars(task), "ports": len(port_numbers(task)) * 1000}
    short = []
    for name, needed in needs.items():
        available = sum(size(part) for part in held if part.name == name and not part.is_volume)
        if available < needed:
            reason = f"{lack(name, needed, available)} in its reservation"
            short.append(Finding(name, reason, needed, available))
    present = {part.disk.persistence_id for part in held if part.is_volume}
    short += [
        Finding("reservation", f"does not offer volume {volume.name} of {task.name}")
        for volume in task.volumes
        if requirement.persistence_id(requirement.reservation_id, task, volume) not in present
    ]
    return short


def _named_ports(task: TaskSpec, granted: Sequence[int]) -> dict[str, int]:
    fixed = {port.number for port in task.ports}
    dynamic = iter([number for number in granted if number not in fixed])
    return {port.name: port.number or next(dynamic, 0) for port in task.ports}


def _ports(resource: Resource) -> tuple[tuple[int, int], ...]:
    return resource.ranges if resource.name == "ports" else ()


def _lacking_disk(kind: DiskKind, needed: int, available: int) -> Finding:
    what = "root disk" if kind is DiskKind.ROOT else f"{kind} disk"
    reason = f"has {amount_text(available)} of {amount_text(needed)} MB of {what}"
    return Finding(f"{kind} disk", reason, needed, available)
