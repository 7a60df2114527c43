"""Write docs/options.md and docs/cluster-options.schema.json from what the programs read.

python docs/generate_options.py           write
python docs/generate_options.py --check   exit 1 and name what would change
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import yaml
from generate_role_tables import cells
from page_blocks import ROOT, filled, row, table, write_or_check
from pydantic import AfterValidator, BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from kubedcos.config import cluster, constraints
from kubedcos.config.changes import option_paths, rule_of
from kubedcos.topology.variables import SHARED_VARIABLES

PAGE: Final = ROOT / "docs/options.md"
SCHEMA: Final = ROOT / "docs/cluster-options.schema.json"

# Variables of no single role: text of the default, and what they mean.
SHARED: Final[Mapping[str, tuple[str, str]]] = {
    "host_index": (
        "required, for each host",
        "From 1, unique, kept for life: overlay addresses follow from it. Never use one again",
    ),
    "region": ("required, for each host", "Data centre. All masters are in one"),
    "zone": ("required, for each host", "Rack or availability zone in the region"),
    "cluster_name": (
        "`kubedcos`",
        "Name of the whole; secrets, exported artefacts and the context are kept under it",
    ),
    "cluster_networks": ("`{}`", "Networks that hosts are in, name to CIDR. Nothing may overlap"),
    "service_networks": (
        "`{}`",
        "Networks of Kubernetes Services, cluster to CIDR; becomes its `network.service_cidr`",
    ),
    "underlay_mtu": (
        "`1500`",
        "Largest IP packet in bytes that every path between two hosts carries",
    ),
    "overlay_mtu": ("`0`", "MTU of the overlays in bytes; 0 takes the largest that fits"),
    "overlays": ("`[]`", "The overlays; see below"),
    "clusters": ("`[]`", "Options of each cluster, as above"),
    "kubernetes_version": (
        "the newest of the manifest",
        "Version whose programs are built and served; the lab's cluster takes it too",
    ),
    "secrets_dir": (
        "`~/.cache/kubedcos/secrets/CLUSTER_NAME`",
        "Folder of the control machine with generated passwords; back it up",
    ),
    "export_dir": (
        "`~/.cache/kubedcos/export/CLUSTER_NAME`",
        "Folder of the control machine with what the bootstrap host serves",
    ),
}
# Inputs of roles that stay as they are for outsiders, beside those of role mesos.
PROMISED: Final = ("mesos_master_extra_flags", "mesos_agent_extra_flags")
PROMISED_PREFIXES: Final = ("mesos_dns_distribution", "mesos_dns_archive_")

_TYPES: Final = {str: "text", bool: "true or false", int: "whole number", float: "number"}
# Refused by every rule that has a text of its own.
_BAD: Final = {str: "?", int: 0, float: 0.0001}
# Likewise for lists whose parts have to differ.
_TWICE: Final = ("a:NoSchedule", "a:NoSchedule")

# --- cluster options -----------------------------------------------------------------------------


def cluster_tables() -> str:
    """Headings and tables of all cluster options."""
    header = ("Option", "Type", "Default", "Allowed", "Meaning", "Later")
    own, sections = [], []
    for name, field in cluster.ClusterOptions.model_fields.items():
        section = _section(field) or _section_of_each(field)
        if section is None:
            own.append(_option(name, field))
        else:
            about = inspect.cleandoc(section.__doc__ or "").replace("``", "`")
            rows = list(_options(section, f"{name}." if _section(field) else f"{name}.NAME."))
            sections.append(f"### `{name}`\n\n{about}\n\n{table(header, rows)}")
    return "\n\n".join([table(header, own), *sections])


def _options(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if (section := _section(field)) is None:
            yield _option(prefix + name, field)
            continue
        for part, inner in section.model_fields.items():
            # A section used twice says by its place what its parts are for.
            default = getattr(field.default, part)
            meaning = f"{(field.description or '').rstrip('.')}: {_lowered(inner.description)}"
            yield _option(f"{prefix}{name}.{part}", inner, default=default, meaning=meaning)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _section_of_each(field: FieldInfo) -> type[BaseModel] | None:
    """The section that each value of a mapping is, such as a node pool."""
    arguments = typing.get_args(field.annotation)
    kind = arguments[1] if typing.get_origin(field.annotation) is dict else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _option(key: str, field: FieldInfo, **instead: Any) -> str:
    default = instead.get("default", field.default)
    meaning = instead.get("meaning") or field.description
    if not meaning:
        raise SystemExit(f"option {key} has no docstring in src/kubedcos/config/cluster.py")
    ruled = any(isinstance(rule, WithJsonSchema) for rule in field.metadata)
    return row(
        f"`{key}`",
        "constraints" if ruled else _type_words(field.annotation),
        f"`{_plain_default(default)}`",
        f"{constraints.FORM}" if ruled else "; ".join(_allowed(field.annotation, field.metadata)),
        meaning,
        str(rule_of(key.replace(".NAME.", ".*.")).changeable),
    )


def changes_table() -> str:
    """What may change later, with what restarts then and why."""
    header = ("Option", "Change", "Restarts", "Because")
    rows = []
    for path in option_paths():
        rule = rule_of(path)
        change = f"{rule.changeable}, {rule.way}" if rule.way else str(rule.changeable)
        restarts = ", ".join(f"`{name}`" for name in rule.restarts)
        rows.append(row(f"`{path}`", change, restarts, rule.why))
    return table(header, rows)


def _type_words(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type_words(arguments[0])
    if origin is Literal:
        return "text"
    if origin is tuple:
        return f"list of {_type_words(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_type_words(arguments[1])}"
    return _TYPES[kind]


def _allowed(kind: Any, metadata: list[Any]) -> Iterator[str]:
    """What the rules of a type ask for, in the words of their errors where they have any."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        yield ", ".join(f"`{value}`" if value else "empty" for value in arguments)
    if origin in {tuple, dict}:
        inner = arguments[0] if origin is tuple else arguments[1]
        if typing.get_origin(inner) is typing.Annotated:
            base, *rules = typing.get_args(inner)
            yield from (f"each: {words}" for words in _allowed(base, rules))
    rules = [part for rule in metadata for part in _single_rules(rule)]
    if words := _bounds(rules, " characters" if kind is str else ""):
        yield words
    for rule in rules:
        if isinstance(rule, AfterValidator):
            yield _refusal(rule, _BAD.get(kind, _TWICE))


def _single_rules(rule: Any) -> list[Any]:
    return rule.metadata if isinstance(rule, FieldInfo) else [rule]


def _bounds(rules: list[Any], unit: str) -> str:
    found = {
        name: value
        for rule in rules
        for name in ("ge", "le", "min_length", "max_length")
        if (value := getattr(rule, name, None)) is not None
    }
    low = found.get("ge", found.get("min_length"))
    high = found.get("le", found.get("max_length"))
    if low is not None and high is not None:
        return f"{low} to {high}{unit}"
    return f"at least {low}{unit}" if low is not None else f"at most {high}{unit}" if high else ""


def _refusal(rule: AfterValidator, value: Any) -> str:
    check = typing.cast("types.FunctionType", rule.func)
    try:
        check(value)
    except ValueError as error:
        return str(error)
    raise SystemExit(f"{check.__name__} accepts {value!r}; give it a value that it refuses")


def _plain_default(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value != () else "[]"


def _lowered(text: str | None) -> str:
    words = text or ""
    # A name such as MiB keeps its form.
    return words[:1].lower() + words[1:] if words[1:2].islower() and words[:3] != "MiB" else words


# --- inventory variables -------------------------------------------------------------------------


def specifications() -> dict[str, dict[str, Any]]:
    """Inputs of each role."""
    found = {}
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[path.parents[1].name] = document["argument_specs"]["main"]
    return found


def wired() -> set[str]:
    """Inputs of roles that the playbooks derive from the inventory."""
    found: set[str] = set()
    for path in (ROOT / "playbooks").glob("*.yml"):
        found |= set(_variables(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return found


def _variables(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from part.get("vars") or {}
    for inner in (
        part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    ):
        yield from _variables(inner)


def shared_table() -> str:
    """Variables that no single role has."""
    if set(SHARED) != SHARED_VARIABLES:
        missing = ", ".join(sorted(set(SHARED) ^ SHARED_VARIABLES))
        raise SystemExit(f"SHARED and topology/variables.py differ: {missing}")
    rows = [row(f"`{name}`", *words) for name, words in SHARED.items()]
    return table(("Variable", "Default", "Meaning"), rows)


def inputs_table(first: str, options: Mapping[str, Any]) -> str:
    """Inputs in the role tables' own words, so that both pages say the same."""
    rows = [row(f"`{name}`", *cells(option)) for name, option in options.items()]
    return table((first, "Type", "Default", "Meaning"), rows)


def promised(roles: Mapping[str, Any], derived: set[str]) -> dict[str, Any]:
    """Inputs of roles that outsiders rely on."""
    return {
        name: option
        for role in ("mesos", "mesos_master", "mesos_agent", "mesos_dns")
        for name, option in roles[role]["options"].items()
        if name not in derived
        and (role == "mesos" or name in PROMISED or name.startswith(PROMISED_PREFIXES))
    }


def roles_table(roles: Mapping[str, Any], derived: set[str]) -> str:
    """For each role what an inventory may set."""
    rows = []
    for role, spec in roles.items():
        names = [f"`{name}`" for name in spec.get("options") or {} if name not in derived]
        link = f"[{role}](../roles/{role}/README.md)"
        rows.append(row(link, spec["short_description"], ", ".join(names)))
    return table(("Role", "Is", "Variables"), rows)


# --- page ----------------------------------------------------------------------------------------


def page() -> str:
    """docs/options.md as it should be."""
    roles, derived = specifications(), wired()
    overlays = roles["overlay"]["options"]["overlay_networks"]["options"]
    disks = roles["storage"]["options"]["storage_disks"]["options"]
    blocks = {
        "cluster-options": cluster_tables(),
        "cluster-changes": changes_table(),
        "shared-variables": shared_table(),
        "overlays": inputs_table("Key", overlays),
        "disks": inputs_table("Key", disks),
        "distributions": inputs_table("Variable", promised(roles, derived)),
        "roles": roles_table(roles, derived),
    }
    return filled(PAGE.read_text(encoding="utf-8"), blocks)


def schema() -> str:
    """docs/cluster-options.schema.json: to the letter what `kubedcos cluster schema` prints."""
    return json.dumps(cluster.json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, {PAGE: page, SCHEMA: schema}))
