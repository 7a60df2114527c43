"""Messages as protobuf's text format writes them: Mesos puts executors so into error texts."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from kubedcos.mesos.messages import ExecutorInfo, Message

_ORDER: Final[dict[type[Message], tuple[str, ...]]] = {
    ExecutorInfo: (
        *("executor_id", "data", "resources", "command", "framework_id", "name", "source"),
        *("container", "discovery", "shutdown_grace_period", "labels", "type"),
    ),
}
"""Fields in the order of their numbers, where ours are declared in another."""


def text_format(message: Message, indent: int = 0) -> str:
    """The fields that are set, one a line; nested messages in braces, indented by two."""
    cls = type(message)
    hints = get_type_hints(cls, include_extras=True)
    names = [field.name for field in msgspec.structs.fields(cls)]
    lines: list[str] = []
    for name in _ORDER.get(cls, names):
        value = getattr(message, name)
        items = value if isinstance(value, tuple) else (value,)
        lines += [
            _field(name, item, indent, enum=_is_enum(hints[name]))
            for item in items
            if item is not None and not isinstance(item, dict)
        ]
    return "".join(lines)


def _field(name: str, value: Any, indent: int, *, enum: bool) -> str:
    start = " " * indent + name
    if isinstance(value, Message):
        return f"{start} {{\n{text_format(value, indent + 2)}{' ' * indent}}}\n"
    return f"{start}: {_plain(value, enum=enum)}\n"


def _plain(value: Any, *, enum: bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format(value, ".15g")
    if isinstance(value, str):
        return value if enum else json.dumps(value, ensure_ascii=False)
    return str(value)


def _is_enum(hint: Any) -> bool:
    """Whether a field's annotation says that it is an enumeration."""
    if get_origin(hint) is Annotated:
        metas = [meta for meta in get_args(hint)[1:] if isinstance(meta, msgspec.Meta)]
        return any("enum" in (meta.extra or {}) for meta in metas)
    parts = get_args(hint) if get_origin(hint) in {Union, type(int | str)} else ()
    return any(map(_is_enum, parts))
