"""Machines and their maintenance: what operators send, what is wrong with it, what is kept.

Texts of faults are those that Mesos answers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from kubedcos.embedded.protojson import encode_json
from kubedcos.mesos.messages import Message, Unavailability

Mode = Literal["UP", "DRAINING", "DOWN"]
"""DRAINING: scheduled for maintenance. DOWN: in maintenance."""

MachineKey = tuple[str | None, str | None]
"""Host name in lower case and IP address; `None` where a machine has none."""

DOWN_MESSAGE: Final = "Machine is `DOWN`"
"""What an agent hears that wants to register from a machine in maintenance."""


class MachineID(Message, frozen=True):
    """A machine; an agent is on the one that has its host name and its IP address."""

    hostname: str | None = None
    ip: str | None = None

    @property
    def key(self) -> MachineKey:
        """The same for all names of a machine: case does not count."""
        return (self.hostname.lower() if self.hostname is not None else None, self.ip)

    def __str__(self) -> str:
        if self.hostname is None:
            return f"({self.ip or ''})"
        return self.hostname if self.ip is None else f"{self.hostname} ({self.ip})"


class Window(Message, frozen=True, kw_only=True):
    """Machines that are to be down at the same time."""

    machine_ids: tuple[MachineID, ...] = ()
    unavailability: Unavailability


class Schedule(Message, frozen=True):
    """When which machines are to be down."""

    windows: tuple[Window, ...] = ()


@dataclass(slots=True)
class Machine:
    """What the master keeps of a machine that has an agent or was ever scheduled."""

    id: MachineID
    mode: Mode = "UP"
    unavailability: Unavailability | None = None


Machines = Mapping[MachineKey, Machine]


def quoted(machine: MachineID) -> str:
    """The machine as Mesos' texts name it."""
    return f"'{encode_json(machine).decode()}'"


def _machine_fault(machine: MachineID) -> str | None:
    if not machine.hostname and not machine.ip:
        return "Both 'hostname' and 'ip' for a machine are empty"
    if machine.ip:
        try:
            ipaddress.IPv4Address(machine.ip)
        except ValueError:
            return f"Failed to parse IPv4: {machine.ip}"
    return None


def _fault_of_each(ids: Iterable[MachineID], seen: set[MachineKey]) -> str | None:
    for machine in ids:
        fault = _machine_fault(machine)
        if fault is not None:
            return fault
        if machine.key in seen:
            return f"Machine {quoted(machine)} appears more than once in the schedule"
        seen.add(machine.key)
    return None


def schedule_fault(schedule: Schedule, machines: Machines) -> str | None:
    """Rules for a new schedule; `machines` are those known until now."""
    seen: set[MachineKey] = set()
    for window in schedule.windows:
        if not window.machine_ids:
            return "List of machines in the maintenance window is empty"
        duration = window.unavailability.duration
        if duration is not None and duration.nanoseconds < 0:
            return "Unavailability 'duration' is negative"
        fault = _fault_of_each(window.machine_ids, seen)
        if fault is not None:
            return fault
    for key, machine in machines.items():
        if machine.mode == "DOWN" and key not in seen:
            return (
                f"Machine {quoted(machine.id)} is deactivated and cannot be removed from the "
                "schedule"
            )
    return None


def transition_fault(
    ids: tuple[MachineID, ...], machines: Machines, wanted: Literal["DRAINING", "DOWN"]
) -> str | None:
    """Rules for START_MAINTENANCE (`wanted` is DRAINING) and STOP_MAINTENANCE (DOWN)."""
    if not ids:
        return "List of machines is empty"
    fault = _fault_of_each(ids, set())
    if fault is not None:
        return fault
    for id_ in ids:
        machine = machines.get(id_.key)
        if machine is None:
            return f"Machine {quoted(id_)} is not part of a maintenance schedule"
        if machine.mode != wanted:
            way = "down" if wanted == "DRAINING" else "up"
            return f"Machine {quoted(id_)} is not in {wanted} mode and cannot be brought {way}"
    return None


def machine_of(hostname: str, address: str) -> MachineID:
    """The machine of an agent."""
    return MachineID(hostname, address)


def unavailability_at(machines: Machines, hostname: str, address: str) -> Unavailability | None:
    """When an agent with that host name and IP address will be unavailable."""
    machine = machines.get(machine_of(hostname, address).key)
    return machine.unavailability if machine is not None else None


def without(schedule: Schedule, gone: Iterable[MachineID]) -> Schedule:
    """The schedule without those machines and without windows that become empty."""
    keys = {machine.key for machine in gone}
    windows = []
    for window in schedule.windows:
        left = tuple(machine for machine in window.machine_ids if machine.key not in keys)
        if left:
            windows.append(Window(machine_ids=left, unavailability=window.unavailability))
    return Schedule(tuple(windows))
