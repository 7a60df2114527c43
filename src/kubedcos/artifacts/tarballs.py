"""Archives that come out the same on every machine: sorted, without times, owners or settings."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

STORED_BLOCK = 65535


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive.

    Attributes:
        name: path in the archive, without a leading slash.
        content: bytes, or the file that has them; None for a folder.
        link: target of a symbolic link.
        mode: permission bits.
    """

    name: str
    content: bytes | Path | None = None
    link: str = ""
    mode: int = 0o644


def write_tar(
    stream: IO[bytes] | gzip.GzipFile, entries: Iterable[Entry], *, folders: bool = True
) -> None:
    """Write a USTAR archive, in the order of names.

    Args:
        stream: where to.
        entries: what; each name once.
        folders: whether to write an entry for each parent folder too, as image layers want it.
    """
    by_name = {entry.name: entry for entry in entries}
    if folders:
        for name in list(by_name):
            for parent in list(Path(name).parents)[:-1]:
                by_name.setdefault(str(parent), Entry(str(parent), mode=0o755))
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(by_name):
            _add(archive, by_name[name])


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.name)
    info.mode = entry.mode
    if entry.link:
        info.type = tarfile.SYMTYPE
        info.linkname = entry.link
        info.mode = 0o777
        archive.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        archive.addfile(info, io.BytesIO(entry.content))
    else:
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as stream:
            archive.addfile(info, stream)


def stored_gzip(data: bytes) -> bytes:
    """Wrap bytes in gzip without compressing them.

    Compressed bytes depend on the zlib that a machine happens to have, so a pinned sum would not
    hold everywhere; stored blocks have only one form (RFC 1951, 3.2.4).
    """
    parts = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    for start in range(0, len(data) or 1, STORED_BLOCK):
        block = data[start : start + STORED_BLOCK]
        last = start + STORED_BLOCK >= len(data)
        parts += [struct.pack("<BHH", int(last), len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))
    return b"".join(parts)
