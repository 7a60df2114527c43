"""Resources and attributes as people write them: Mesos' text form and its JSON form."""

from __future__ import annotations

import re

import msgspec

from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.base_messages import (
    Attribute,
    Range,
    Ranges,
    ReservationInfo,
    Resource,
    Scalar,
    Set,
    Text,
)
from kubedcos.mesos.resources import Resources, upgraded

_NAME = re.compile(r"^([^()\s:]+)(?:\(([^()\s]+)\))?$")


def parse_resources(text: str, *, default_role: str = "*", where: str = "resources") -> Resources:
    """Resources from ``cpus:8;mem:4096;ports:[1-2, 5-9];disk(role):10`` or a JSON list.

    Args:
        text: either form; empty gives no resources.
        default_role: role of unreserved resources; other than ``*`` reserves them statically.
        where: named in errors: the flag or file that the text came from.

    Raises:
        InvalidInput: with the entry that is wrong.
    """
    if text.lstrip().startswith("["):
        return _from_json(text, default_role, where)
    return Resources(
        _from_text(entry.strip(), default_role, where) for entry in text.split(";") if entry.strip()
    )


def _from_json(text: str, default_role: str, where: str) -> Resources:
    try:
        listed = msgspec.json.decode(text, type=list[Resource], strict=False)
        return Resources(_reserve(upgraded(resource), default_role) for resource in listed)
    except (msgspec.DecodeError, ValueError) as error:
        wanted = "a JSON list of Mesos resources"
        raise InvalidInput([Problem(where, str(error), wanted, "resources-json")]) from error


def _reserve(resource: Resource, role: str) -> Resource:
    if role == "*" or resource.reservations:
        return resource
    level = ReservationInfo(type="STATIC", role=role)
    return msgspec.structs.replace(resource, reservations=(level,))


def _from_text(entry: str, default_role: str, where: str) -> Resource:
    key, colon, value = entry.partition(":")
    match = _NAME.match(key.strip())
    if not colon or match is None:
        raise _refused(where, entry)
    name, role = match[1], match[2] or default_role
    parsed = _value(value.strip(), where, entry)
    if isinstance(parsed, Scalar):
        resource = Resource(name=name, type="SCALAR", scalar=parsed)
    elif isinstance(parsed, Ranges):
        resource = Resource(name=name, type="RANGES", ranges=parsed)
    elif isinstance(parsed, Set):
        resource = Resource(name=name, type="SET", set=parsed)
    else:
        raise _refused(where, entry)
    return _reserve(resource, role)


def _value(text: str, where: str, entry: str) -> Scalar | Ranges | Set | Text:
    if text.startswith("[") and text.endswith("]"):
        try:
            return Ranges(tuple(_range(piece) for piece in text[1:-1].split(",") if piece.strip()))
        except ValueError as error:
            raise _refused(where, entry) from error
    if text.startswith("{") and text.endswith("}"):
        return Set(tuple(item.strip() for item in text[1:-1].split(",") if item.strip()))
    try:
        return Scalar(float(text))
    except ValueError:
        return Text(text)


def _range(piece: str) -> Range:
    low, dash, high = piece.partition("-")
    begin, end = int(low), int(high) if dash else int(low)
    if begin < 0 or end < begin:
        raise ValueError(piece)
    return Range(begin, end)


def _refused(where: str, entry: str) -> InvalidInput:
    wanted = "name:number, name:[low-high, ...] or name:{item, ...}"
    return InvalidInput([Problem(where, repr(entry), wanted, "resources-text")])


def parse_attributes(text: str, *, where: str = "attributes") -> tuple[Attribute, ...]:
    """Attributes from ``rack:r1;slots:4;ports:[1-2]``; what is no number or range is text.

    Raises:
        InvalidInput: an entry has no name or no value.
    """
    attributes = []
    for entry in filter(str.strip, text.split(";")):
        name, colon, value = entry.strip().partition(":")
        if not colon or not name.strip() or not value.strip():
            wanted = "name:value;name:value"
            raise InvalidInput([Problem(where, repr(entry.strip()), wanted, "attributes-text")])
        parsed = _value(value.strip(), where, entry.strip())
        attributes.append(_attribute(name.strip(), parsed, value.strip()))
    return tuple(attributes)


def _attribute(name: str, value: Scalar | Ranges | Set | Text, text: str) -> Attribute:
    if isinstance(value, Scalar):
        return Attribute(name=name, type="SCALAR", scalar=value)
    if isinstance(value, Ranges):
        return Attribute(name=name, type="RANGES", ranges=value)
    # Mesos has no sets among attributes: braces are part of the text there.
    return Attribute(name=name, type="TEXT", text=Text(text))
