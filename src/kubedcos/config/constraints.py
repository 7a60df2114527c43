"""Reads placement constraints: Marathon's lists, or the DC/OS SDK's text with colons.

``[["@zone", "GROUP_BY", "3"], ["hostname", "UNIQUE"]]``, a single such list, the same as JSON in a
text, and ``@zone:GROUP_BY:3,hostname:UNIQUE`` mean the same. A comma or backslash within the text
form is written with a backslash before it; lists need no such care.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

from kubedcos.model.constraint import HOSTNAME, REGION, ZONE, Constraint, Operator

FORM: Final = 'constraints such as [["@zone", "GROUP_BY"]] or "hostname:UNIQUE,rack:LIKE:r[12]"'
MOST_RULES: Final = 50
MOST_PATTERN: Final = 512
"""Characters of a regular expression."""
PATTERN_MEMORY: Final = 1 << 20
"""Bytes that RE2 may use for one expression; its matching time is linear in the text."""
_OPERATORS: Final = ", ".join(Operator)
_ATTRIBUTE: Final = re.compile(r"[^\s:,@][^\s:,]{0,127}")
_NEEDS_VALUE: Final = frozenset({Operator.LIKE, Operator.UNLIKE, Operator.IS, Operator.MAX_PER})
_ROW: Final = re.compile(r"((?:[^\\,]|\\.|\\$)*)(?:,|$)", re.DOTALL)

Rows = tuple[tuple[str, ...], ...]
"""Constraints as the options keep them: field, operator and, where there is one, value."""


def rows(value: object) -> Rows:
    """Any of the forms as rows of text.

    Raises:
        ValueError: it is none; the text says what would be right.
    """
    if isinstance(value, str):
        text = value.strip()
        value = _json(text) if text.startswith("[") else [_split(row) for row in _cut(text)]
    if not isinstance(value, Sequence):
        raise ValueError(FORM)  # noqa: TRY004  pydantic reports no other error
    if value and all(isinstance(part, str) for part in value) and _is_row(value):
        value = [value]
    if len(value) > MOST_RULES:
        raise ValueError(f"at most {MOST_RULES} constraints")
    return tuple(_row(each) for each in value)


def read(found: Iterable[Sequence[str]]) -> tuple[Constraint, ...]:
    """Rows that `rows` has made, as constraints."""
    return tuple(Constraint(row[0], Operator(row[1]), *row[2:]) for row in found)


@lru_cache(maxsize=1024)
def pattern(text: str) -> Any:
    """A compiled regular expression of RE2; its `fullmatch` is safe for any text.

    Raises:
        ValueError: RE2 does not take it, or it is too large.
    """
    import re2  # noqa: PLC0415  native code that few clusters need

    if len(text) > MOST_PATTERN:
        raise ValueError(f"a regular expression of at most {MOST_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        words = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"a regular expression that RE2 takes ({words})") from None


def _is_row(value: Sequence[object]) -> bool:
    """Whether a list of texts is one constraint; otherwise each text is one in colon form."""
    return len(value) > 1 and str(value[1]).upper() in Operator.__members__


def _row(value: object) -> tuple[str, ...]:
    parts = _split(value) if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not 2 <= len(parts) <= 3:
        raise ValueError(f"{FORM}; {_short(value)} has not two or three parts")
    words = [_word(part) for part in parts]
    field, operator, given = words[0].strip(), words[1].strip().upper(), "".join(words[2:])
    if operator not in Operator.__members__:
        raise ValueError(f"one of the operators {_OPERATORS} in {_short(value)}")
    field = HOSTNAME if field == f"@{HOSTNAME}" else field
    if field not in {HOSTNAME, REGION, ZONE} and not _ATTRIBUTE.fullmatch(field):
        raise ValueError(
            f"hostname, @region, @zone or the name of an attribute instead of {_short(field)}"
        )
    _check(Operator(operator), given, _short(value))
    return (field, operator, given) if given else (field, operator)


def _check(operator: Operator, given: str, where: str) -> None:
    if operator is Operator.UNIQUE and given:
        raise ValueError(f"UNIQUE without a value in {where}")
    if operator in _NEEDS_VALUE and not given:
        raise ValueError(f"a value for {operator} in {where}")
    numeric = operator in {Operator.MAX_PER, Operator.GROUP_BY} and given
    if numeric and not (given.isascii() and given.isdigit() and 0 < int(given[:7]) <= 100_000):
        raise ValueError(f"a whole number from 1 to 100000 for {operator} in {where}")
    if operator in {Operator.LIKE, Operator.UNLIKE}:
        pattern(given)


def _word(part: object) -> str:
    if isinstance(part, bool) or not isinstance(part, str | int | float):
        raise ValueError(f"{FORM}; {_short(part)} is no text")  # noqa: TRY004  likewise
    return str(part)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(FORM) from None


def _cut(text: str) -> list[str]:
    """The constraints of a text, apart at commas that no backslash stands before."""
    found, at = [], 0
    while at < len(text):
        match = _ROW.match(text, at)
        assert match is not None
        found.append(re.sub(r"\\([\\,])", r"\1", match[1]))
        at = match.end()
    return [row for row in found if row.strip()]


def _split(text: str) -> list[str]:
    """Field, operator and value; colons in the value stay."""
    return text.strip().split(":", 2)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_SCHEMA: Final = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": ["array", "string"]}, "maxItems": MOST_RULES},
    ]
}
Constraints = Annotated[tuple[tuple[str, ...], ...], BeforeValidator(rows), WithJsonSchema(_SCHEMA)]
"""An option that takes constraints in any form and keeps them as rows."""
