"""How systemd reads its files: by its own code, where it is installed."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import pytest

# EXTRACT_CUNESCAPE | EXTRACT_UNQUOTE of systemd's src/basic/extract-word.h.
_UNESCAPE_AND_UNQUOTE = 1 << 1 | 1 << 5


@cache
def _systemd() -> ctypes.CDLL:
    found = sorted(Path("/usr/lib").glob("*/systemd/libsystemd-shared-*.so"))
    if not found:
        pytest.skip("systemd is not installed")
    return ctypes.CDLL(str(found[0]))


def variables(text: str, path: Path) -> dict[str, str]:
    """What `EnvironmentFile=` makes of a text, which is written to `path`."""
    path.write_bytes(text.encode())
    found = ctypes.POINTER(ctypes.c_char_p)()
    code = _systemd().load_env_file(None, str(path).encode(), ctypes.byref(found))
    assert code >= 0, text
    values = []
    while found and (value := found[len(values)]) is not None:
        values.append(value.decode())
    return dict(value.split("=", 1) for value in values)


def words(line: str) -> list[str]:
    """How a line of a unit is split, before `%` and `$` are looked at."""
    rest, word = ctypes.c_char_p(line.encode()), ctypes.c_char_p()
    values = []
    while _systemd().extract_first_word(
        ctypes.byref(rest), ctypes.byref(word), None, _UNESCAPE_AND_UNQUOTE
    ):
        assert word.value is not None, line
        values.append(word.value.decode())
    return values
