"""What Mesos demands of resources, wherever they are given; texts are its own.

Each rule returns the text of the first fault, or `None`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from kubedcos.embedded.master.name_rules import id_fault, role_fault
from kubedcos.mesos.messages import Resource
from kubedcos.mesos.resources import reservation_role, text_of, upgraded
from kubedcos.mesos.values import thousandths

_MOST: Final = (1 << 63) / 1000  # thousandths in 63 bits; Mesos overflows beyond


class InvalidResource(ValueError):
    """A resource breaks a rule; the text says which one."""


def checked(resource: Resource) -> Resource:
    """The resource in the form with a reservation stack.

    Raises:
        InvalidResource: with the text.
    """
    fault = resource_fault(resource)
    if fault is not None:
        raise InvalidResource(fault)
    if resource.reservations:
        return replace(resource, role=None, reservation=None)
    return upgraded(resource)


def resource_fault(resource: Resource) -> str | None:
    """Rules for one resource on its own, in either form of its reservation."""
    fault = _amount_fault(resource) or _disk_fault(resource)
    if fault is None:
        fault = _stack_fault(resource) if resource.reservations else _old_form_fault(resource)
    if fault is None:
        fault = _shared_fault(resource)
    return f"Resource '{text_of(resource)}' is invalid: {fault}" if fault else None


def _amount_fault(resource: Resource) -> str | None:
    if not resource.name:
        return "Empty resource name"
    if resource.type == "SCALAR":
        if resource.scalar is None or resource.ranges or resource.set:
            return "Invalid scalar resource"
        value = resource.scalar.value
        if not -_MOST < value < _MOST:
            return "Invalid scalar resource: value is too large, or no number"
        # Nothing at all is allowed, less than a thousandth is not.
        wrong = value != 0 and not thousandths(value) > 0
        return "Invalid scalar resource: value <= 0" if wrong else None
    if resource.type == "RANGES":
        if resource.ranges is None or resource.scalar or resource.set:
            return "Invalid ranges resource"
        spans = sorted((piece.begin, piece.end) for piece in resource.ranges.range)
        if any(begin < 0 for begin, _ in spans):
            return "Invalid ranges resource: begin < 0"
        if any(begin > end for begin, end in spans):
            return "Invalid ranges resource: begin > end"
        overlap = any(one[1] >= other[0] for one, other in pairwise(spans))
        return "Invalid ranges resource: overlapping ranges" if overlap else None
    if resource.type == "SET":
        if resource.set is None or resource.scalar or resource.ranges:
            return "Invalid set resource"
        twice = len(set(resource.set.item)) < len(resource.set.item)
        return "Invalid set resource: duplicated elements" if twice else None
    return "Unsupported resource type"


def _disk_fault(resource: Resource) -> str | None:
    if resource.disk is None:
        return None
    if resource.name != "disk":
        return f"DiskInfo should not be set for {resource.name} resource"
    source = resource.disk.source
    if source is not None and source.type in {"BLOCK", "RAW"}:
        for name, place in (("Mount", source.mount), ("Path", source.path)):
            if place is not None:
                return f"{name} should not be set for {source.type} disk source"
    return None


def _old_form_fault(resource: Resource) -> str | None:
    role, reservation = resource.role or "*", resource.reservation
    fault = role_fault(role)
    if fault is not None or reservation is None:
        return fault
    for name, value in (("type", reservation.type), ("role", reservation.role)):
        if value is not None:
            return (
                f"'Resource.ReservationInfo.{name}' must not be set for the "
                "'Resource.reservation' field"
            )
    return 'Invalid reservation: role "*" cannot be dynamically reserved' if role == "*" else None


def _stack_fault(resource: Resource) -> str | None:
    for level in resource.reservations:
        for name, value in (("type", level.type), ("role", level.role)):
            if value is None:
                return f"Invalid reservation: 'Resource.ReservationInfo.{name}' field must be set."
        role = level.role or ""
        if role == "*":
            return 'Invalid reservation: role "*" cannot be reserved'
        fault = role_fault(role)
        if fault is not None:
            return fault
    above = resource.reservations[0].role or ""
    for level in resource.reservations[1:]:
        role = level.role or ""
        if level.type == "STATIC":
            return "Invalid refined reservation: A refined reservation cannot be STATIC"
        if not role.startswith(above + "/"):
            return f"Invalid refined reservation: role '{role}' is not a refinement of '{above}'"
        above = role
    return _both_forms_fault(resource)


def _both_forms_fault(resource: Resource) -> str | None:
    """The old form beside the stack must say the same."""
    wrong = "Invalid resource format: "
    old = resource.reservation
    if len(resource.reservations) > 1:
        for name, value in (("role", resource.role), ("reservation", old)):
            if value is not None:
                return (
                    f"{wrong}'Resource.{name}' must not be set if there is more than one "
                    "reservation in 'Resource.reservations'"
                )
        return None
    level = resource.reservations[0]
    if resource.role is not None and resource.role != level.role:
        return (
            f"{wrong}'Resource.role' field with '{resource.role}' does not match the role "
            f"'{level.role}' in 'Resource.reservations'"
        )
    if level.type == "STATIC":
        if old is None:
            return None
        return (
            f"{wrong}'Resource.reservation' must not be set if the single reservation in "
            "'Resource.reservations' is STATIC"
        )
    if level.type != "DYNAMIC":
        return "Unsupported 'Resource.ReservationInfo.Type'"
    if (resource.role is None) != (old is None):
        return (
            f"{wrong}'Resource.role' and 'Resource.reservation' must either be both set or both "
            "not set if the single reservation in 'Resource.reservations' is DYNAMIC"
        )
    if old is not None and (old.principal or "") != (level.principal or ""):
        return (
            f"{wrong}'Resource.reservation.principal' field with '{old.principal or ''}' does "
            f"not match the principal '{level.principal or ''}' in 'Resource.reservations'"
        )
    return None


def _shared_fault(resource: Resource) -> str | None:
    if resource.shared is None:
        return None
    if resource.name != "disk":
        return f"Resource {resource.name} cannot be shared"
    if resource.disk is None or resource.disk.persistence is None:
        return "Only persistent volumes can be shared"
    return None


def use_fault(resources: Iterable[Resource]) -> str | None:
    """Rules for resources that something is to be done with, beyond those for each one."""
    listed = tuple(resources)
    if any(r.name == "gpus" and r.scalar and r.scalar.value % 1 for r in listed):
        return "Invalid 'gpus' resource: The 'gpus' resource must be an unsigned integer"
    fault = next(filter(None, map(_volume_fault, listed)), None)
    if fault is not None:
        return f"Invalid DiskInfo: {fault}"
    for resource in listed:
        dynamic = bool(resource.reservations) and resource.reservations[-1].type == "DYNAMIC"
        if dynamic and resource.revocable is not None:
            return (
                f"Invalid ReservationInfo: Dynamically reserved resource {text_of(resource)} "
                "cannot be created from revocable resources"
            )
    return None


def _volume_fault(resource: Resource) -> str | None:
    disk = resource.disk
    if disk is None:
        return None
    if disk.persistence is None:
        if disk.volume is not None:
            return "Non-persistent volume not supported"
        return "DiskInfo is set but empty" if disk.source is None else None
    if resource.revocable is not None:
        return "Persistent volumes cannot be created from revocable resources"
    if not resource.reservations:
        return "Persistent volumes cannot be created from unreserved resources"
    if disk.volume is None:
        return "Expecting 'volume' to be set for persistent volume"
    if disk.volume.host_path is not None:
        return "Expecting 'host_path' to be unset for persistent volume"
    fault = id_fault(disk.persistence.id)
    return f"Invalid persistence ID for persistent volume: {fault}" if fault else None


def persistence_fault(volumes: Iterable[Resource]) -> str | None:
    """All must be persistent volumes that can be written to."""
    for volume in volumes:
        disk = volume.disk
        if disk is None:
            return f"Resource {text_of(volume)} does not have DiskInfo"
        if disk.persistence is None:
            return "'persistence' is not set in DiskInfo"
        if disk.volume is None:
            return "Expecting 'volume' to be set for persistent volume"
        if disk.volume.mode == "RO":
            return "Read-only persistent volume not supported"
    return None


def unique_fault(volumes: Iterable[Resource]) -> str | None:
    """No two persistent volumes of a role have the same id."""
    known: set[tuple[str, str]] = set()
    for volume in volumes:
        if volume.disk is None or volume.disk.persistence is None:
            continue
        key = (reservation_role(volume), volume.disk.persistence.id)
        if key in known:
            return f"Persistence ID '{key[1]}' is not unique"
        known.add(key)
    return None
