"""Pydantic's findings in words that name the key and say what is allowed."""

from __future__ import annotations

import difflib
import json
import types
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from kubedcos.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_WANTED = {
    "string_type": "text (in quotes when it looks like a number)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def problems_of(error: ValidationError, model: type[BaseModel], where: str) -> list[Problem]:
    """One `Problem` for each finding of `error`, which came from validating `model`.

    Args:
        error: what pydantic found.
        model: the outermost model.
        where: file or other origin, prefix of each place.
    """
    return [_problem(detail, model, where) for detail in error.errors(include_url=False)]


def dotted(location: Iterable[str | int]) -> str:
    """``("node", "regions", 0)`` as ``node.regions[0]``."""
    text = ""
    for part in location:
        # What pydantic says of a key stands at the key.
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _problem(detail: ErrorDetails, model: type[BaseModel], where: str) -> Problem:
    kind, location = detail["type"], detail["loc"]
    place = f"{where}: {dotted(location)}" if location else where
    if kind == "extra_forbidden":
        return _unknown_key(place, location, model)
    if kind == "missing":
        return Problem(place, "nothing", "a value; this option has no default", id="option-missing")
    seen = _shown(detail["input"])
    if kind == "value_error":
        return Problem(place, seen, str(detail["ctx"]["error"]), id="option-value")
    return Problem(place, seen, _wanted(detail), id="option-value")


def _wanted(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"{words} {context[key]}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind in {"too_short", "string_too_short"}:
        return f"at least {context['min_length']} of them" if kind == "too_short" else "some text"
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    return _WANTED.get(kind) or detail["msg"].removeprefix("Input should be ")


def _unknown_key(place: str, location: Sequence[str | int], model: type[BaseModel]) -> Problem:
    known = sorted(_model_at(model, location[:-1]).model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return Problem(
        place,
        "an unknown option",
        f"one of {', '.join(known)}",
        id="option-unknown",
        fix=f"Did you mean {near[0]}?" if near else "",
    )


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            inner = next(_models(model.model_fields[part].annotation), None)
            model = inner or model
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in {list, tuple, dict, typing.Union, types.UnionType}:
        for argument in typing.get_args(annotation):
            yield from _models(argument)


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)  # as YAML spells it, too: nobody wrote None
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
