"""The tree that the bootstrap host serves: every chosen artefact under its sum, and an index.

The tree is also what another site's `--mirror` reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kubedcos.artifacts.manifest import Artifact
from kubedcos.artifacts.store import Record, Store, disk_errors

Pair = tuple[Artifact, Record]


@dataclass(frozen=True, slots=True)
class Change:
    """What an export changed, as paths relative to its root."""

    added: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.added or self.removed)


def index(pairs: Sequence[Pair], choice: Mapping[str, str]) -> dict[str, Any]:
    """What is there, for roles, tasks and people.

    Args:
        pairs: artefacts with what they are here.
        choice: component -> chosen version.
    """
    return {
        "schema": 1,
        "choice": dict(choice),
        "artifacts": [
            {
                "name": record.name,
                "version": record.version,
                "platform": record.platform,
                "kind": artifact.kind,
                "filename": record.filename,
                "path": f"sha256/{record.sha256}/{record.filename}",
                "sha256": record.sha256,
                "size": record.size,
                "licence": artifact.licence,
                "source": record.source,
                **(
                    {"reference": artifact.reference, "digest": record.digest}
                    if artifact.kind == "image"
                    else {}
                ),
            }
            for artifact, record in pairs
        ],
    }


def index_text(pairs: Sequence[Pair], choice: Mapping[str, str]) -> str:
    """The index as it is written."""
    return json.dumps(index(pairs, choice), indent=1, sort_keys=True) + "\n"


def export_tree(
    store: Store,
    pairs: Sequence[Pair],
    choice: Mapping[str, str],
    destination: Path,
    *,
    extras: Mapping[str, bytes] = MappingProxyType({}),
) -> Change:
    """Bring a folder in line with the chosen artefacts.

    ``artifacts/sha256/<sha256>/<filename>`` and ``images/<filename>`` are hard links to the store
    where the file system allows; ``artifacts/index.json`` says what they are. What such an export
    wrote earlier and is no longer wanted is removed; anything else there is left alone.

    Args:
        store: where the files are.
        pairs: what to export.
        choice: component -> chosen version, for the index.
        destination: a folder, made when missing.
        extras: further files to serve, by filename; they lie beside the artefacts under their sum
            and are not in the index.

    Returns:
        What changed; nothing on a second run.
    """
    wanted: dict[str, Path] = {}
    for artifact, record in pairs:
        file = store.file(record)
        wanted[f"artifacts/sha256/{record.sha256}/{record.filename}"] = file
        if artifact.kind == "image":
            wanted[f"images/{record.filename}"] = file
    contents = {
        f"artifacts/sha256/{hashlib.sha256(content).hexdigest()}/{filename}": content
        for filename, content in extras.items()
    }
    added = []
    with disk_errors(destination):
        for name, file in wanted.items():
            if _place(file, destination / name):
                added.append(name)
        for name, content in contents.items():
            target = destination / name
            if not target.is_file() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(target, content.decode())
                added.append(name)
        text = index_text(pairs, choice)
        index_file = destination / "artifacts" / "index.json"
        if not index_file.is_file() or index_file.read_text(encoding="utf-8") != text:
            _write(index_file, text)
            added.append("artifacts/index.json")
        removed = _remove_unwanted(destination, {*wanted, *contents})
    return Change(tuple(added), tuple(removed))


def _place(file: Path, target: Path) -> bool:
    source = file.stat()
    if target.is_file():
        present = target.stat()
        same_file = (present.st_ino, present.st_dev) == (source.st_ino, source.st_dev)
        same_copy = (present.st_size, present.st_mtime_ns) == (source.st_size, source.st_mtime_ns)
        if same_file or same_copy:
            return False
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        os.link(file, fresh)
    except OSError:
        shutil.copy2(file, fresh)
    fresh.replace(target)
    return True


def _write(target: Path, text: str) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(target)


def _remove_unwanted(destination: Path, wanted: set[str]) -> list[str]:
    removed = []
    for pattern in ("artifacts/sha256/*/*", "images/*.tar"):
        for path in sorted(destination.glob(pattern)):
            name = str(path.relative_to(destination))
            if name not in wanted and not path.name.startswith("."):
                path.unlink()
                removed.append(name)
                if pattern.startswith("artifacts") and not any(path.parent.iterdir()):
                    path.parent.rmdir()
    return removed
