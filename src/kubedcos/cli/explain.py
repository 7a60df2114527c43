"""`kubedcos explain OPTION.PATH`: what an option of a cluster means."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show
from kubedcos.errors import InvalidInput, Problem

Schema = Mapping[str, Any]
# JSON Schema's word, and what people are told.
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
    "const": "only {}",
}


def complete_paths(incomplete: str) -> list[str]:
    """Paths of options that begin so."""
    schema = _schema()
    return [path for path in _paths(schema, schema) if path.startswith(incomplete)]


def command(
    path: Annotated[
        str,
        typer.Argument(
            help="Option, such as node.cpus; default: all of them.", autocompletion=complete_paths
        ),
    ] = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Explain an option of a cluster: its meaning, type, default and limits, and what is in it."""
    how = chosen(output, as_json)
    found = explanation(_schema(), path)
    show(found, how, text=page(found))


def explanation(schema: Schema, path: str) -> dict[str, Any]:
    """What the schema says of the option at `path`, as plain data.

    Raises:
        InvalidInput: there is no such option.
    """
    here = schema
    seen: list[str] = []
    for part in (part for part in path.replace("[]", "").split(".") if part):
        properties = _properties(here, schema)
        each = here.get("additionalProperties")
        if part not in properties and isinstance(each, Mapping):
            # A name that its giver chose, such as a node pool's.
            here = each
            seen.append(part)
            continue
        if part not in properties:
            raise InvalidInput([_unknown(".".join([*seen, part]), part, list(properties))])
        here = properties[part]
        seen.append(part)
    inner = _properties(here, schema)
    return {
        "path": ".".join(seen),
        "type": _type(here, schema),
        "default": here.get("default"),
        "has_default": "default" in here,
        "allowed": _allowed(here, schema),
        "meaning": _meaning(here, schema),
        "options": [
            {
                "name": name,
                "type": _type(found, schema),
                "default": found.get("default"),
                "meaning": _meaning(found, schema),
            }
            for name, found in inner.items()
        ],
    }


def page(found: Mapping[str, Any]) -> str:
    """An explanation for people."""
    lines = [f"OPTION   {found['path'] or '(all options of a cluster)'}"]
    lines.append(f"TYPE     {found['type']}")
    if found["path"]:
        default = _text(found["default"]) if found["has_default"] else "none; it has to be given"
        if not found["options"]:
            lines.append(f"DEFAULT  {default}")
    if found["allowed"]:
        lines.append(f"ALLOWED  {found['allowed']}")
    if found["meaning"]:
        lines += ["", f"  {found['meaning']}"]
    if found["options"]:
        width = max(len(each["name"]) for each in found["options"])
        lines += ["", "OPTIONS"]
        for each in found["options"]:
            lines.append(f"  {each['name']:<{width}}  <{each['type']}>")
            if each["meaning"]:
                lines.append(f"  {'':<{width}}  {each['meaning']}")
    return "\n".join(lines)


def _schema() -> Schema:
    from kubedcos.config import cluster as options_file  # pydantic costs 0.2 s

    return options_file.json_schema()


def _resolved(here: Schema, schema: Schema) -> Schema:
    """What a reference refers to, with what is said beside it."""
    if "$ref" in here:
        name = str(here["$ref"]).rpartition("/")[2]
        return {**schema["$defs"][name], **{k: v for k, v in here.items() if k != "$ref"}}
    if len(here.get("allOf", ())) == 1:
        return {**_resolved(here["allOf"][0], schema), **here}
    choices = [each for each in here.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        return {**_resolved(choices[0], schema), **{k: v for k, v in here.items() if k != "anyOf"}}
    return here


def _properties(here: Schema, schema: Schema) -> dict[str, Schema]:
    """Options below an option: of a section, or of the items of a list or mapping."""
    found = _resolved(here, schema)
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), Mapping) and not found.get("properties"):
            return _properties(found[key], schema)
    return dict(found.get("properties", {}))


def _type(here: Schema, schema: Schema) -> str:
    found = _resolved(here, schema)
    if "enum" in found:
        return "one of " + ", ".join(_text(value) for value in found["enum"])
    if "anyOf" in found:
        return " or ".join(dict.fromkeys(_type(each, schema) for each in found["anyOf"]))
    kind = str(found.get("type", "anything"))
    if kind == "array" and isinstance(found.get("items"), Mapping):
        return f"list of {_type(found['items'], schema)}"
    if kind == "object" and isinstance(found.get("additionalProperties"), Mapping):
        return f"mapping to {_type(found['additionalProperties'], schema)}"
    words = {"object": "section", "integer": "whole number", "string": "text"}
    return words.get(kind, {"boolean": "true or false", "null": "nothing"}.get(kind, kind))


def _allowed(here: Schema, schema: Schema) -> str:
    found = _resolved(here, schema)
    return ", ".join(text.format(found[key]) for key, text in _BOUNDS.items() if key in found)


def _meaning(here: Schema, schema: Schema) -> str:
    text = here.get("description") or _resolved(here, schema).get("description", "")
    return " ".join(str(text).split())


def _paths(here: Schema, schema: Schema, prefix: str = "") -> Iterator[str]:
    for name, found in _properties(here, schema).items():
        yield prefix + name
        yield from _paths(found, schema, f"{prefix}{name}.")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "(empty)" if value == "" else str(value)


def _unknown(path: str, part: str, known: list[str]) -> Problem:
    near = difflib.get_close_matches(part, known, n=1)
    wanted = f"one of {', '.join(known)}" if known else "an option; there is nothing below this one"
    fix = f"Did you mean {near[0]}?" if near else ""
    return Problem(path, "no such option", wanted, id="option-unknown", fix=fix)
