"""Whether an agent may go on under its old id with a changed configuration, as Mesos decides it.

Both texts of a refusal are Mesos' own: administrators grep for them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kubedcos.mesos.messages import AgentInfo, Attribute, Resource
from kubedcos.mesos.resources import Resources, amount_of, value_text, with_amount
from kubedcos.mesos.values import number_text, spans_text, without

_RULE: Final = "------------------------------------------------------------"


def refusal(old: AgentInfo, new: AgentInfo, policy: str) -> str | None:
    """Why `new` may not take over the id of `old`, or None.

    Args:
        old: as first registered.
        new: as configured now; its id does not count.
        policy: `--reconfiguration_policy`, ``equal`` or ``additive``.
    """
    new = msgspec.structs.replace(new, id=old.id)
    if policy == "additive":
        return _additive(old, new)
    if _comparable(old) == _comparable(new):
        return None
    return (
        "Incompatible agent info detected.\n\n"
        f"{_RULE}\nOld agent info:\n{proto_text(old)}\n\n{_RULE}\nNew agent info:\n"
        f"{proto_text(new)}\n\n{_RULE}\n"
    )


def advice(latest: str) -> str:
    """What Mesos tells after a refusal: how to go on."""
    return (
        "If recovery failed due to a change in configuration and you want to\n"
        "keep the current agent id, you might want to change the\n"
        "`--reconfiguration_policy` flag to a more permissive value.\n\n"
        "To restart this agent with a new agent id instead, do as follows:\n"
        f"rm -f {latest}\n"
        "This ensures that the agent does not recover old live executors.\n\n"
        "Finally, restart the agent."
    )


def _comparable(info: AgentInfo) -> tuple[Any, ...]:
    attributes = sorted(info.attributes, key=repr)
    resources = Resources(info.resources)
    return info.hostname, info.port, info.domain, info.checkpoint, attributes, resources


def _additive(old: AgentInfo, new: AgentInfo) -> str | None:
    start = "Configuration change not permitted under 'additive' policy: "
    if old.hostname != new.hostname:
        return f"{start}Hostname changed from {old.hostname} to {new.hostname}"
    if old.port != new.port:
        return f"{start}Port changed from {old.port} to {new.port}"
    if old.domain is not None and old.domain != new.domain:
        before, after = _json(old.domain), _json(new.domain) if new.domain else ""
        ticked = start.replace("'", "`")
        return f"{ticked}Domain changed from {before} to {after}"
    for text in (*_changed_resources(old, new), *_changed_attributes(old, new)):
        return start + text
    return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _changed_resources(old: AgentInfo, new: AgentInfo) -> Iterator[str]:
    kinds = {_kind(resource): resource for resource in Resources(new.resources)}
    for resource in Resources(old.resources):
        now = kinds.get(_kind(resource))
        if now is None:
            yield f"Couldn't find resource {resource.name}:{value_text(resource)}"
            continue
        before, after = amount_of(resource), amount_of(now)
        if isinstance(before, int) and isinstance(after, int) and after < before:
            numbers = f"from {number_text(before / 1000)} to {number_text(after / 1000)}"
            yield f"Value of scalar resource '{resource.name}' decreased {numbers}"
        if isinstance(before, tuple) and isinstance(after, tuple) and without(before, after):
            yield (
                f"Previous value of range resource '{resource.name}' ({spans_text(before)}) "
                f"not included in current {spans_text(after)}"
            )
        if isinstance(before, frozenset) and isinstance(after, frozenset) and before - after:
            yield f"Previous value of set resource '{resource.name}' not included in current"


def _kind(resource: Resource) -> Resource:
    amount = amount_of(resource)
    return with_amount(resource, () if isinstance(amount, tuple) else type(amount)())


def _changed_attributes(old: AgentInfo, new: AgentInfo) -> Iterator[str]:
    for attribute in old.attributes:
        same = [a for a in new.attributes if (a.name, a.type) == (attribute.name, attribute.type)]
        if not same:
            yield f"Couldn't find attribute {attribute.name}={_attribute_text(attribute)}"
        elif attribute not in same:
            kind = {"TEXT": "text", "SCALAR": "scalar"}.get(attribute.type, "range")
            yield (
                f"Value of {kind} attribute '{attribute.name}' changed from "
                f"{_attribute_text(attribute)} to {_attribute_text(same[0])}"
            )


def _attribute_text(attribute: Attribute) -> str:
    if attribute.text is not None:
        return attribute.text.value
    if attribute.scalar is not None:
        return number_text(attribute.scalar.value)
    pieces = attribute.ranges.range if attribute.ranges else ()
    return spans_text(tuple((piece.begin, piece.end) for piece in pieces))


_ENUMS: Final = frozenset({"SCALAR", "RANGES", "SET", "TEXT", "STATIC", "DYNAMIC", "PATH", "MOUNT"})
_ORDER: Final = ("hostname", "resources", "attributes", "id", "checkpoint", "port", "domain")


def proto_text(info: AgentInfo) -> str:
    """AgentInfo in protobuf's text format, fields in the order of Mesos' SlaveInfo."""
    built = msgspec.to_builtins(info)
    built.setdefault("port", info.port)
    return "\n".join(
        line for name in _ORDER if name in built for line in _lines(name, built[name], "")
    )


def _lines(name: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _lines(name, item, indent)
    elif isinstance(value, dict):
        yield f"{indent}{name} {{"
        for key, item in value.items():
            yield from _lines(key, item, indent + "  ")
        yield f"{indent}}}"
    elif isinstance(value, bool):
        yield f"{indent}{name}: {'true' if value else 'false'}"
    elif isinstance(value, float):
        yield f"{indent}{name}: {number_text(value)}"
    elif isinstance(value, int) or value in _ENUMS:
        yield f"{indent}{name}: {value}"
    else:
        yield f'{indent}{name}: "{value}"'
