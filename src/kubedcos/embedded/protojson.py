"""JSON as Mesos reads and writes protobuf messages: its leniency, its defaults, its error texts.

Reading: unknown fields are ignored, an unknown value of an optional enumeration is dropped, `null`
is unset, a lone value stands for a list of one, numbers and booleans may be text. Writing: every
set field, and every unset one that has a default in the proto definition.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from kubedcos.mesos.messages import Message

_M = TypeVar("_M", bound=Message)
_JSON_WHITESPACE: Final = " \t\r\n"


_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_UINT64: Final = range(-(1 << 63), 1 << 64)


class NotConvertible(ValueError):
    """The JSON is not that message; the text is what Mesos answers after its prefix."""


class _Field(msgspec.Struct, frozen=True):
    """How one field is to be read."""

    name: str
    kind: Any
    repeated: bool
    mapping: bool
    required: bool
    enum: frozenset[str] | None
    is_bytes: bool


@cache
def _fields(cls: type[Message]) -> tuple[_Field, ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        _field(field.encode_name, hints[field.name], required=field.required)
        for field in msgspec.structs.fields(cls)
    )


def _field(name: str, hint: Any, *, required: bool) -> _Field:
    extra: Mapping[str, Any] = {}
    kind, repeated, mapping = hint, False, False
    while True:
        origin = get_origin(kind)
        if origin in {Union, types.UnionType}:
            kind = next(part for part in get_args(kind) if part is not types.NoneType)
        elif origin is Annotated:
            metas = [meta for meta in get_args(kind)[1:] if isinstance(meta, msgspec.Meta)]
            extra = (metas[0].extra if metas else None) or {}
            kind = get_args(kind)[0]
        elif origin is tuple:
            kind, repeated = get_args(kind)[0], True
        elif origin is dict:
            kind, mapping = get_args(kind)[1], True
        else:
            break
    return _Field(name, kind, repeated, mapping, required, extra.get("enum"), "bytes" in extra)


def _no_constant(name: str) -> float:
    """Python reads NaN and Infinity outside of text; JSON has neither."""
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def parse_json(body: bytes) -> Any:
    """JSON of a request.

    Raises:
        NotConvertible: with Mesos' text, to follow ``Failed to parse body into JSON: ``.
    """
    text = body.decode("utf-8", "replace")
    try:
        value, end = _DECODER.raw_decode(text.lstrip(_JSON_WHITESPACE))
        if _SURROGATE.search(text):
            # Half of a pair is no character: as for Mesos, the text is no JSON then.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise NotConvertible("syntax error at line 1 near: ") from None
    rest = text.lstrip(_JSON_WHITESPACE)[end:]
    if rest.strip(_JSON_WHITESPACE):
        raise NotConvertible(f"Parsed JSON included non-whitespace trailing characters: {rest}")
    return value


def from_json(value: Any, cls: type[_M]) -> _M:
    """A message from parsed JSON.

    Raises:
        NotConvertible: with Mesos' text, to follow ``Failed to convert JSON into … protobuf: ``.
    """
    if not isinstance(value, dict):
        raise NotConvertible("Expecting a JSON object")
    missing: list[str] = []
    try:
        made = _message(value, cls, "", missing)
    except RecursionError:
        raise NotConvertible("Objects are nested too deeply") from None
    if missing:
        raise NotConvertible("Missing required fields: " + ", ".join(missing))
    assert made is not None
    return made


def _message(value: Mapping[str, Any], cls: type[_M], path: str, missing: list[str]) -> _M | None:
    """The message, or None when something is missing, which is then in `missing`."""
    found: dict[str, Any] = {}
    complete = True
    for field in _fields(cls):
        given = value.get(field.name)
        if given is None:
            if field.required:
                missing.append(f"{path}{field.name}")
                complete = False
            continue
        here = f"{path}{field.name}"
        converted = _value(given, field, here, missing)
        if converted is None and field.enum is None:
            complete = False
        elif converted is None and field.required:
            missing.append(here)
            complete = False
        elif converted is not None:
            found[field.name] = converted
    return cls(**found) if complete else None


def _value(given: Any, field: _Field, path: str, missing: list[str]) -> Any:
    if field.mapping:
        if not isinstance(given, dict):
            raise _unexpected(given, field)
        entry = msgspec.structs.replace(field, name="value")
        pairs = {
            key: _single(item, entry, f"{path}[{index}].value", missing)
            for index, (key, item) in enumerate(given.items())
        }
        return None if None in pairs.values() else pairs
    if field.repeated:
        listed = given if isinstance(given, list) else [given]
        items = [
            _single(item, field, f"{path}[{index}]", missing) for index, item in enumerate(listed)
        ]
        return None if None in items else tuple(items)
    return _single(given, field, path, missing)


def _single(given: Any, field: _Field, path: str, missing: list[str]) -> Any:
    kind = field.kind
    if isinstance(kind, type) and issubclass(kind, Message):
        if not isinstance(given, dict):
            raise _unexpected(given, field)
        return _message(given, kind, f"{path}.", missing)
    if kind is str:
        return _text(given, field)
    if kind is bool:
        return _boolean(given, field)
    return _number(given, field, whole=kind is int)


def _text(given: Any, field: _Field) -> str | None:
    if not isinstance(given, str):
        raise _unexpected(given, field)
    if field.enum is not None and given not in field.enum:
        if field.required:
            raise NotConvertible(f"Failed to find enum for '{given}'")
        return None
    if field.is_bytes:
        try:
            base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            raise NotConvertible(f"Failed to base64 decode bytes field '{field.name}'") from None
    return given


def _boolean(given: Any, field: _Field) -> bool:
    if isinstance(given, str):
        if given in {"true", "false"}:
            return given == "true"
        raise NotConvertible(
            f"Failed to parse '{given}' as a JSON boolean for field '{field.name}': "
            f"syntax error at line 1 near: {given}"
        )
    if not isinstance(given, bool):
        raise _unexpected(given, field)
    return given


def _number(given: Any, field: _Field, *, whole: bool) -> int | float:
    if isinstance(given, str):
        given = _number_from_text(given, field)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _unexpected(given, field)
    try:
        number = int(given) if whole else float(given)
    except (OverflowError, ValueError):
        number = math.inf
    # A range looks for a float by going through all its numbers.
    if whole and (isinstance(number, float) or number not in _UINT64):
        raise NotConvertible(f"Number out of range for field '{field.name}'")
    return number


def _number_from_text(given: str, field: _Field) -> int | float:
    if given in {"Infinity", "-Infinity", "NaN"}:
        return float(given)
    try:
        parsed = json.loads(given)
    except ValueError:
        parsed = None
    if isinstance(parsed, bool) or not isinstance(parsed, int | float):
        raise NotConvertible(
            f"Failed to parse '{given}' as a JSON number for field '{field.name}': "
            f"syntax error at line 1 near: {given}"
        )
    return parsed


def _unexpected(given: Any, field: _Field) -> NotConvertible:
    kinds = ((bool, "boolean"), (int | float, "number"), (str, "string"), (list, "array"))
    name = next((name for kind, name in kinds if isinstance(given, kind)), "object")
    return NotConvertible(f"Not expecting a JSON {name} for field '{field.name}'")


def to_json(value: Any) -> Any:
    """What Mesos writes for a message, as dicts and lists."""
    if isinstance(value, Message):
        return _shown(value)
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


@cache
def _writers(cls: type[Message]) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """Names of fields, each with what makes JSON of it; `None` for what is JSON already."""
    return tuple((field.name, _writer(field)) for field in _fields(cls))


def _writer(field: _Field) -> Callable[[Any], Any] | None:
    kind, known = field.kind, isinstance(field.kind, type)
    if known and issubclass(kind, Message) and not field.mapping:
        return _shown_list if field.repeated else _shown
    plain = known and issubclass(kind, str | int) and not field.mapping and not field.repeated
    return None if plain else to_json


def _shown(message: Message) -> dict[str, Any]:
    shown = {}
    for name, write in _writers(type(message)):
        item = getattr(message, name)
        if item is not None and item != ():
            shown[name] = item if write is None else write(item)
    return shown


def _shown_list(messages: Iterable[Message]) -> list[Any]:
    return [_shown(message) for message in messages]


def encode_json(value: Any) -> bytes:
    """Compact JSON of what `to_json` returns."""
    if isinstance(value, Message):
        return msgspec.json.encode(_shown(value))
    try:
        # Only messages have to be looked into: a view may be large.
        text = json.dumps(
            value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=to_json
        )
    except ValueError:
        text = json.dumps(to_json(value), separators=(",", ":"), ensure_ascii=False)
    return text.encode()
