"""The files that the agent shows: sandboxes, and its log; nobody gets out of them.

Paths are virtual: what is attached under a name is shown under it, everything else is not there.
Answers and texts are those of Mesos' `/files` endpoints.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PAGE: Final = 65536
"""Most bytes that one read returns, as in Mesos (16 memory pages)."""


class FileProblem(Exception):
    """An answer other than 200: `status` and text."""

    def __init__(self, status: int, text: str = "") -> None:
        self.status = status
        super().__init__(text)


@dataclass(slots=True)
class Files:
    """What is attached, by virtual path."""

    attached: dict[str, Path]

    def resolve(self, path: str) -> Path:
        """The real path of a virtual one.

        Raises:
            FileProblem: 404 when nothing is there, 400 when it lies outside of what is attached.
        """
        wanted = path.rstrip("/") or "/"
        prefix = wanted
        while prefix not in self.attached:
            shorter = prefix.rpartition("/")[0]
            if not shorter:
                raise FileProblem(404)
            prefix = shorter
        root = Path(os.path.realpath(self.attached[prefix]))
        rest = wanted[len(prefix) :].lstrip("/")
        try:
            real = Path(os.path.realpath(root / rest))
            there = real.exists()
        except (OSError, ValueError):  # a name that is too long, or has a NUL in it
            there = False
        if not there:
            raise FileProblem(404)
        if real != root and root not in real.parents:
            raise FileProblem(400, f"'{path}' is inaccessible.\n")
        return real

    def browse(self, path: str) -> list[dict[str, Any]]:
        """Entries of a directory, sorted; of a file nothing."""
        real = self.resolve(path)
        if not real.is_dir():
            return []
        shown = path.rstrip("/")
        found = []
        for name in sorted(entry.name for entry in real.iterdir()):
            try:
                # Links are shown as what they lead to, as Mesos does.
                status = (real / name).stat()
            except OSError:
                continue
            found.append(_entry(f"{shown}/{name}", status))
        return found

    def read(self, path: str, offset: int | None, length: int | None) -> tuple[bytes, int, int]:
        """Part of a file.

        Args:
            path: virtual.
            offset: in bytes; None or negative to ask for the size only.
            length: in bytes; None or negative for as much as one answer carries.

        Returns:
            The bytes, the offset, the size of the file.

        Raises:
            FileProblem: with the status of the answer: no such path, or a directory.
        """
        real = self.resolve(path)
        if real.is_dir():
            raise FileProblem(400, "Cannot read a directory.\n")
        # Of a pipe, which a task may have made, nobody waits for the other end.
        with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:  # noqa: PTH123  a number
            size = os.fstat(stream.fileno()).st_size
            if offset is None or offset < 0:
                return b"", size, size
            if offset >= size:
                return b"", offset, size
            stream.seek(offset)
            wanted = PAGE if length is None or length < 0 else min(length, PAGE)
            return stream.read(wanted), offset, size

    def download(self, path: str) -> Path:
        """The real file to send; an unknown one has a text here, unlike elsewhere.

        Raises:
            FileProblem: as `read`.
        """
        try:
            real = self.resolve(path)
        except FileProblem as problem:
            if problem.status == 404:
                raise FileProblem(404, "404 Not Found.") from problem
            raise
        if real.is_dir():
            raise FileProblem(400, "Cannot download a directory.\n")
        if not real.is_file():
            raise FileProblem(404, "404 Not Found.")
        return real

    def debug(self) -> dict[str, str]:
        """All attachments, links as what they lead to."""
        return {name: os.path.realpath(path) for name, path in sorted(self.attached.items())}


def _entry(path: str, status: os.stat_result) -> dict[str, Any]:
    return {
        "gid": _group(status.st_gid),
        "mode": stat.filemode(status.st_mode),
        "mtime": float(int(status.st_mtime)),
        "nlink": status.st_nlink,
        "path": path,
        "size": status.st_size,
        "uid": _user(status.st_uid),
    }


def file_info(entry: dict[str, Any], real: Path) -> dict[str, Any]:
    """An entry of `browse` in the form of the v1 call LIST_FILES."""
    return {
        "path": entry["path"],
        "nlink": entry["nlink"],
        "size": entry["size"],
        "mtime": {"nanoseconds": int(entry["mtime"]) * 10**9},
        "mode": real.stat().st_mode,
        "uid": entry["uid"],
        "gid": entry["gid"],
    }


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
