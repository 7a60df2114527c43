"""Which options of a running cluster may change, and what restarts then: one table, and its use.

`RULES` is the only place that says so. Updates are refused by it, tasks restart by it, and
docs/options.md is written from it. What an option restarts is named ``POD/TASK``, or ``POD`` for
all tasks of the pod: as in plans.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from kubedcos.config.change_rules import RULES, Changeable, Rule
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import Problem, Refused


class Act(StrEnum):
    """What a change does to its option."""

    SET = "set"
    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class OptionChange:
    """One option that differs.

    Attributes:
        path: such as ``node.mem_mb``; a part of a list is named by its name: ``pools[gpu].count``.
        old: as plain data; None where the part did not exist.
        new: likewise.
        rule: the line of the table that it falls under.
        name: of the part of the list, for ``pools[gpu].count`` it is ``gpu``; else empty.
    """

    path: str
    old: Any
    new: Any
    rule: Rule
    act: Act = Act.SET
    name: str = ""

    @property
    def restarts(self) -> tuple[str, ...]:
        """Tasks that have to be started anew, as ``POD/TASK`` or ``POD``."""
        if self.act is not Act.SET:
            return ()
        return tuple(pattern.replace("*", self.name) for pattern in self.rule.restarts)

    def concerns(self, pod: str, task: str) -> bool:
        """Whether this task of this pod has to be started anew."""
        return covers(self.restarts, pod, task)

    def __str__(self) -> str:
        """Such as ``node.mem_mb: 1024 -> 2048``."""
        return f"{self.path}: {shown(self.old)} -> {shown(self.new)}"


def covers(restarts: Collection[str], pod: str, task: str) -> bool:
    """Whether names of a rule mean this task of this pod."""
    return any(name in restarts for name in (pod, f"{pod}/{task}", task))


class ChangeRefused(Refused):
    """Options that a running cluster cannot take; nothing was changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def shown(value: Any) -> str:
    """A value in a sentence."""
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def option_paths(model: type[BaseModel] = ClusterOptions, prefix: str = "") -> Iterator[str]:
    """Every option there is, parts of lists as ``pools.*.count``; the list itself is one, too."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inner, many = _section(field.annotation)
        if inner is None or many:
            yield path
        if inner is not None:
            yield from option_paths(inner, f"{path}.*." if many else f"{path}.")


def rule_of(path: str) -> Rule:
    """The line of the table for an option such as ``node.count`` or ``pools.*.count``.

    Raises:
        KeyError: the table has none.
    """
    return RULES[path]


def differences(old: ClusterOptions, new: ClusterOptions) -> tuple[OptionChange, ...]:
    """Options that differ, in the order of the options' own definition."""
    return tuple(_differences(old, new, "", "", ""))


def problems(changes: Sequence[OptionChange], where: str) -> list[Problem]:
    """What the table forbids of these changes.

    Args:
        changes: from `differences`.
        where: origin of the new options, for the problems.
    """
    return [found for change in changes if (found := _problem(change, where)) is not None]


def _problem(change: OptionChange, where: str) -> Problem | None:
    rule = change.rule
    if change.act is not Act.SET and rule.changeable is not Changeable.NEVER:
        return None
    wanted = rule.forbids(change.old, change.new)
    if wanted is None:
        return None
    return Problem(
        f"{where}: {change.path}",
        f"{shown(change.new)}, the cluster has {shown(change.old)}",
        wanted,
        id=f"option-{rule.changeable}",
        fix=f"{rule.why[:1].upper()}{rule.why[1:]}.",
    )


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that an option is or holds many of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _section(arguments[0])
    if origin in {tuple, dict} and arguments:
        inner = arguments[0] if origin is tuple else arguments[1]
        return _section(inner)[0], True
    return None, False


def _differences(
    old: BaseModel, new: BaseModel, path: str, pattern: str, name: str
) -> Iterator[OptionChange]:
    for field, about in type(new).model_fields.items():
        before, after = getattr(old, field), getattr(new, field)
        if before == after:
            continue
        inner, many = _section(about.annotation)
        if inner is None:
            rule = rule_of(pattern + field)
            yield OptionChange(path + field, plain(before), plain(after), rule, name=name)
        elif not many:
            yield from _differences(before, after, f"{path}{field}.", f"{pattern}{field}.", name)
        else:
            yield from _parts(before, after, path + field, pattern + field)


def _parts(before: Any, after: Any, path: str, pattern: str) -> Iterator[OptionChange]:
    """Differences of a list or mapping of sections, by name."""
    old, new = _named(before), _named(after)
    rule = rule_of(pattern)
    for name in sorted({*old, *new}):
        at = f"{path}[{name}]"
        if name not in new:
            yield OptionChange(at, plain(old[name]), None, rule, Act.REMOVE, name)
        elif name not in old:
            yield OptionChange(at, None, plain(new[name]), rule, Act.ADD, name)
        else:
            yield from _differences(old[name], new[name], f"{at}.", f"{pattern}.*.", name)


def _named(parts: Any) -> dict[str, BaseModel]:
    if isinstance(parts, Mapping):
        return dict(parts)
    return {str(part.name): part for part in parts}


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    return value
