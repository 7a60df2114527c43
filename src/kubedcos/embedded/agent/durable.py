"""Files that are whole after a crash at any moment."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, TypeVar

from kubedcos.mesos.messages import decode, encode

T = TypeVar("T")


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data`, durably and at once; directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """As `write_file`, with the JSON of `value`."""
    write_file(path, encode(value))


def read_json(path: Path, type_: type[T]) -> T | None:
    """The value in `path`, or None when there is no such file.

    Raises:
        msgspec.DecodeError: the file holds something else.
    """
    try:
        return decode(path.read_bytes(), type_)
    except FileNotFoundError:
        return None


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, replacing an older link at once."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
