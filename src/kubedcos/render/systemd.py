"""Values in files that systemd reads, so that they arrive as they were given."""

from __future__ import annotations

import re

from kubedcos.errors import InvalidInput, Problem

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A variable that has one of these systemd leaves out, with a word in its log.
_REFUSED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|[\ud800-\udfff]")
# In a unit, between quotes of either kind.
_ESCAPES = {"\\": r"\\", "\n": r"\n", "\t": r"\t", "%": "%%"}
_SETTING = str.maketrans({**_ESCAPES, '"': r"\""})
_ARGUMENT = str.maketrans({**_ESCAPES, "'": r"\'", "$": "$$"})


def environment_line(name: str, value: object) -> str:
    """A variable as a file of `EnvironmentFile=` holds it, without the end of the line.

    Between single quotes systemd takes everything as it is, line breaks too, up to the next one;
    pieces that follow each other are one value (systemd.exec(5), EnvironmentFile=).

    Raises:
        InvalidInput: systemd would leave the variable out, and go on.
    """
    text = _variable(name, value)
    quoted = text.replace("'", "'\"'\"'")
    return f"{name}='{quoted}'"


def environment_setting(name: str, value: object) -> str:
    """A variable as `Environment=` of a unit takes it; see `environment_line` for errors."""
    return f'"{name}={_variable(name, value).translate(_SETTING)}"'


def exec_argument(value: object) -> str:
    """One argument of `ExecStart=`, quoted; see systemd.service(5), "Command lines".

    Raises:
        InvalidInput: a unit's file can not hold it.
    """
    flag = str(value).partition("=")[0]
    return f"'{_plain(f'argument {flag!r}', value).translate(_ARGUMENT)}'"


def _variable(name: str, value: object) -> str:
    where = f"environment variable {name}"
    if _NAME.fullmatch(name) is None:
        wanted = "a name of letters, digits and underscores that does not begin with a digit"
        raise InvalidInput([Problem(where, repr(name), wanted, id="environment-name")])
    return _plain(where, value)


def _plain(where: str, value: object) -> str:
    text = str(value)
    if (found := _REFUSED.search(text)) is not None:
        wanted = "no control characters but tabs and line breaks"
        raise InvalidInput([Problem(where, repr(found[0]), wanted, id="unit-text")])
    return text
