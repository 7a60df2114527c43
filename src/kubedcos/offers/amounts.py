"""What the offers of one agent add up to: enough to rule an agent out without taking anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kubedcos.model.offer import ROOT_DISK, Range, Resource, amount_text, millis_of
from kubedcos.model.service import DiskKind, TaskSpec
from kubedcos.offers.placement import Finding
from kubedcos.offers.pool import Usable, holds
from kubedcos.offers.requirement import UNITS, Requirement, port_numbers, sums

SCALARS = ("cpus", "mem", "disk")


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sums over resources of one agent, in thousandths; of ports, their number times 1000.

    Attributes:
        unusual: names of resources that no pod asks for, such as ``gpus``: scarce elsewhere.
        reserved: some of it is reserved.
    """

    cpus: int = 0
    mem: int = 0
    disk: int = 0
    ports: int = 0
    ranges: tuple[Range, ...] = ()
    unusual: frozenset[str] = frozenset()
    reserved: bool = False

    def of(self, name: str) -> int:
        """The sum of one resource."""
        found: int = getattr(self, name)
        return found


@dataclass(frozen=True, slots=True)
class Needs:
    """What a placement takes from an agent.

    Attributes:
        scalars: amounts by task name.
        shared: of the sums, the scalars that are not 0: what pods share an agent by.
        ports: numbers by task name, 0 for any.
        reserved: whether it has to be reserved first.
    """

    tasks: tuple[TaskSpec, ...]
    scalars: dict[str, dict[str, int]]
    ports: dict[str, tuple[int, ...]]
    reserved: bool
    sums: dict[str, int]
    shared: tuple[tuple[str, int], ...]
    fixed_ports: tuple[int, ...]
    disks: tuple[tuple[DiskKind, int], ...]


def amounts(resources: Iterable[Resource], usable: Usable) -> Amounts:
    """Sums of what is usable on root disk, cores, memory and ports."""
    found = {"cpus": 0, "mem": 0, "disk": 0}
    ranges: tuple[Range, ...] = ()
    unusual: set[str] = set()
    reserved = False
    for resource in resources:
        if not usable(resource):
            continue
        reserved = reserved or bool(resource.reservations)
        if resource.name == "ports":
            ranges += resource.ranges
        elif resource.name not in found:
            unusual.add(resource.name)
        elif resource.disk is ROOT_DISK or resource.disk == ROOT_DISK:
            found[resource.name] += resource.millis
    ports = sum(high - low + 1 for low, high in ranges) * 1000
    return Amounts(
        **found, ports=ports, ranges=ranges, unusual=frozenset(unusual), reserved=reserved
    )


def needs(requirement: Requirement) -> Needs:
    """What a new placement of the requirement takes."""
    tasks = requirement.to_reserve
    ports = {task.name: port_numbers(task) for task in tasks}
    total = sums(tasks)
    return Needs(
        tasks,
        {task.name: scalars(task) for task in tasks},
        ports,
        requirement.pod.reserved,
        total,
        tuple((name, total[name]) for name in SCALARS if total[name]),
        tuple(number for numbers in ports.values() for number in numbers if number),
        tuple(
            (volume.disk, millis_of(volume.size_mb))
            for task in tasks
            for volume in task.volumes
            if volume.disk is not DiskKind.ROOT
        ),
    )


def scalars(task: TaskSpec) -> dict[str, int]:
    """Scalars that a task needs, in thousandths; volumes are another matter."""
    return {
        "cpus": millis_of(task.cpus),
        "mem": task.mem_mb * 1000,
        "disk": task.disk_mb * 1000,
    }


def suffices(wanted: Needs, there: Amounts) -> bool:
    """Whether sums and fixed ports do; small disks and ports asked for twice are not seen."""
    sums_ = wanted.sums
    return (
        there.cpus >= sums_["cpus"]
        and there.mem >= sums_["mem"]
        and there.disk >= sums_["disk"]
        and there.ports >= sums_["ports"]
        and all(holds(there.ranges, number) for number in wanted.fixed_ports)
    )


def shortages(wanted: Needs, there: Amounts) -> tuple[Finding, ...]:
    """What is short, with figures."""
    short = [
        Finding(name, lack(name, needed, there.of(name)), needed, there.of(name))
        for name, needed in wanted.sums.items()
        if needed > there.of(name)
    ]
    short += [
        Finding("ports", f"does not offer port {number} ({task.name})", detail=f"port {number}")
        for task in wanted.tasks
        for number in wanted.ports[task.name]
        if number and not holds(there.ranges, number)
    ]
    return tuple(short)


def lack(name: str, needed: int, available: int) -> str:
    """A clause such as ``has 0.5 of 1 cpus``."""
    return f"has {amount_text(available)} of {amount_text(needed)} {UNITS[name]}"
