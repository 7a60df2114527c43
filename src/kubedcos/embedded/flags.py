"""Mesos' flags: command line, `MESOS_*` environment and `file://` values, for master and agent.

As in Mesos: ``--flag=value``, ``--flag`` and ``--no-flag`` for booleans; the command line wins over
the environment; an unknown flag on the command line is fatal, an unknown `MESOS_` variable is
ignored; a value ``file:///path`` (for JSON also ``/path``) is replaced by what the file holds.

Unlike Mesos: a flag that this engine cannot honour is refused with a sentence, except for values
that change nothing here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.durations import duration

Kind = Literal["text", "bool", "int", "number", "duration", "size", "json", "path"]

_SIZE_UNITS: Final = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_NUMBER_AND_UNIT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]+)")

_PASSWORD: Final = re.compile(r"(//[^/@:]+:)[^/@]+@")

_MOST_PORT: Final = 65535
ANY: Final = ("any value",)
"""`Flag.harmless` of a flag that never has an effect here."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of Mesos.

    Attributes:
        name: as in Mesos, with underscores.
        kind: what its text must be.
        default: text of the default; `None` when the flag is unset by default.
        aliases: deprecated names.
        harmless: `None` when the engine honours the flag; otherwise the values that it may have
            because they change nothing here (`ANY` for all).
        why: what to say when another value is refused.
        confidential: whether `/flags` shows the file that it came from instead of its content.
    """

    name: str
    kind: Kind = "text"
    default: str | None = None
    aliases: tuple[str, ...] = ()
    harmless: tuple[str, ...] | None = None
    why: str = "the embedded engine does not support it"
    confidential: bool = False


class Flags:
    """The flags of one process, checked. Getters take the name of a flag of their kind."""

    def __init__(
        self,
        table: Sequence[Flag],
        given: Mapping[str, str],
        shown: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take checked values; `shown` has what others may see instead."""
        self._kinds = {flag.name: flag.kind for flag in table}
        defaults = {flag.name: flag.default for flag in table if flag.default is not None}
        self._texts = defaults | dict(given)
        self.given = frozenset(given)
        """Names that were set explicitly."""
        self._shown = self._texts | dict(shown)

    def shown(self) -> dict[str, str]:
        """All set flags as `/flags` shows them, sorted by name; without what is secret."""
        texts = sorted(self._shown.items())
        return {name: _PASSWORD.sub(r"\1****@", text) for name, text in texts}

    def showing(self, name: str, text: str) -> Flags:
        """The same flags, of which `name` is shown as `text`."""
        changed = copy(self)
        changed._shown = self._shown | {name: text}  # noqa: SLF001  its own kind
        return changed

    def is_set(self, name: str) -> bool:
        """Whether the flag has a value, be it the default."""
        return name in self._texts

    def text(self, name: str) -> str | None:
        """The text of any flag; `None` when unset."""
        return self._texts.get(name)

    def required(self, name: str) -> str:
        """The text of a flag that must be set.

        Raises:
            InvalidInput: it is not.
        """
        value = self._texts.get(name)
        if value is None:
            raise InvalidInput(
                [Problem(f"flag --{name}", "nothing", "a value", "flag-missing")],
            )
        return value

    def boolean(self, name: str) -> bool:
        """Value of a flag of kind ``bool``."""
        return self.required(name) == "true"

    def integer(self, name: str) -> int:
        """Value of a flag of kind ``int``."""
        return int(self.required(name))

    def seconds(self, name: str) -> float:
        """Value of a flag of kind ``duration``, in seconds."""
        return duration(self.required(name))

    def bytes(self, name: str) -> int:
        """Value of a flag of kind ``size``, in bytes."""
        return size(self.required(name))

    def json(self, name: str) -> Any:
        """Value of a flag of kind ``json``; `None` when unset."""
        value = self._texts.get(name)
        return None if value is None else json.loads(value)


def size(text: str) -> int:
    """Bytes from ``512MB``, ``2GB`` and so on.

    Raises:
        ValueError: no such size.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in _SIZE_UNITS or "." in match[1]:
        raise ValueError(f"{text!r} is no size such as 512MB or 2GB")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def parse_flags(
    table: Sequence[Flag], arguments: Sequence[str], environment: Mapping[str, str]
) -> Flags:
    """The flags of a process.

    Args:
        table: all flags that the real program has.
        arguments: command line without the program's name.
        environment: variables `MESOS_<FLAG>` are read from it.

    Raises:
        InvalidInput: every problem found: unknown, malformed and unsupported flags.
    """
    problems: list[Problem] = []
    by_name = {name: flag for flag in table for name in (flag.name, *flag.aliases)}
    given = _from_environment(by_name, environment)
    given |= _from_arguments(by_name, arguments, problems)
    values: dict[str, str] = {}
    shown: dict[str, str] = {}
    for flag in table:
        if flag.name in given:
            place, raw = given[flag.name]
            try:
                values[flag.name] = _checked(flag, _content(flag, raw))
            except ValueError as error:
                problems.append(Problem(place, repr(raw), str(error), "flag-value"))
            except OSError as error:
                seen = f"{raw!r} ({error.strerror})"
                problems.append(Problem(place, seen, "a file that can be read", "flag-value"))
            if flag.confidential:
                shown |= _instead(flag, raw)
    if problems:
        raise InvalidInput(problems)
    return Flags(table, values, shown)


def _instead(flag: Flag, raw: str) -> dict[str, str]:
    """What others see of a confidential flag; passwords in URLs are hidden from them anyway."""
    if _is_file(flag, raw):
        return {flag.name: raw.removeprefix("file://")}
    return {flag.name: "****"} if flag.kind == "json" else {}


def _from_environment(
    by_name: Mapping[str, Flag], environment: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    found = {}
    for variable, value in environment.items():
        flag = by_name.get(variable.removeprefix("MESOS_").lower())
        if variable.startswith("MESOS_") and flag is not None:
            found[flag.name] = (f"environment {variable}", value)
    return found


def _from_arguments(
    by_name: Mapping[str, Flag], arguments: Sequence[str], problems: list[Problem]
) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        flag = by_name.get(name)
        if flag is None and name.startswith("no-") and not equals:
            flag, value = by_name.get(name.removeprefix("no-")), "false"
            flag = flag if flag is not None and flag.kind == "bool" else None
        elif flag is not None and not equals:
            value = "true" if flag.kind == "bool" else ""
            flag = flag if flag.kind == "bool" else None
        place = f"flag {argument.partition('=')[0]}"
        if flag is None or not argument.startswith("--"):
            problems.append(
                Problem("command line", repr(argument), "--flag=value of Mesos", "flag-unknown")
            )
        elif flag.name in found:
            problems.append(Problem(place, "the flag twice", "the flag once", "flag-twice"))
        else:
            found[flag.name] = (place, value)
    return found


def _content(flag: Flag, raw: str) -> str:
    path = raw.removeprefix("file://")
    if flag.kind == "path":
        return path
    if not _is_file(flag, raw):
        return raw
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"a file of UTF-8 text ({error})") from None


def _is_file(flag: Flag, raw: str) -> bool:
    # Mesos takes an absolute path for JSON, too.
    return raw.startswith("file://") or (flag.kind == "json" and raw.startswith("/"))


def _number(read: type[int | float], text: str, wanted: str) -> float:
    try:
        return read(text)
    except ValueError:
        raise ValueError(wanted) from None


def _checked(flag: Flag, text: str) -> str:
    """The text, in the form that `/flags` shows; raises ValueError with what is wanted."""
    if flag.kind == "bool":
        text = {"1": "true", "0": "false"}.get(text, text)
        if text not in {"true", "false"}:
            raise ValueError("true or false")
    elif flag.kind == "int":
        number = _number(int, text, "a whole number")
        if flag.name in {"port", "advertise_port"} and not 0 <= number <= _MOST_PORT:
            raise ValueError(f"a port, 0 to {_MOST_PORT}")
    elif flag.kind == "number":
        _number(float, text.removesuffix("%"), "a number")
    elif flag.kind == "duration":
        duration(text)
    elif flag.kind == "size":
        size(text)
    elif flag.kind == "json":
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"JSON ({error})") from None
    if flag.harmless is not None and text not in flag.harmless and flag.harmless != ANY:
        allowed = " or ".join(flag.harmless)
        raise ValueError(f"{allowed or 'no value'}: {flag.why}")
    return text
