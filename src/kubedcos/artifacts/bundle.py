"""One tar with everything that a site without internet needs, and the way back into a store.

Layout::

    manifest.json   the index of `export`, and per artefact `member` (path below) and `inputs`
    SHA256SUMS      as `sha256sum -c` reads it
    files/          binaries and archives, by their sum
    images/         image archives
    wheels/         the hosts' Python tree
    debs/           Debian packages that were given along
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubedcos.artifacts.export import Pair, index
from kubedcos.artifacts.manifest import Artifact, Manifest
from kubedcos.artifacts.sources import SourceKind
from kubedcos.artifacts.store import ChecksumMismatch, Record, Store, disk_errors, sha256_of
from kubedcos.errors import InvalidInput, KubedcosError, Problem

FOLDERS = {"image": "images", "python": "wheels"}


def write_bundle(
    store: Store,
    pairs: Sequence[Pair],
    choice: Mapping[str, str],
    target: Path,
    debs: Sequence[Path] = (),
) -> list[str]:
    """Write a bundle; every file is hashed again on its way.

    Args:
        store: where the files are.
        pairs: what goes in.
        choice: component -> chosen version.
        target: the tar to write; it appears when it is complete.
        debs: Debian packages to take along.

    Returns:
        The members, in their order.

    Raises:
        ChecksumMismatch: a stored file is not what its record says.
    """
    description = index(pairs, choice)
    members: list[tuple[str, Path]] = []
    sums: list[str] = []
    for entry, (artifact, record) in zip(description["artifacts"], pairs, strict=True):
        member = _member(artifact, record)
        file = store.file(record)
        seen = sha256_of(file)
        if seen != record.sha256:
            raise ChecksumMismatch(str(file), record.sha256, seen, "run: kubedcos artifacts verify")
        entry.pop("path")
        entry["member"] = member
        entry["inputs"] = record.inputs
        members.append((member, file))
        sums.append(f"{seen}  {member}\n")
    for deb in sorted(debs):
        members.append((f"debs/{deb.name}", deb))
        sums.append(f"{sha256_of(deb)}  debs/{deb.name}\n")
    texts = {
        "manifest.json": json.dumps(description, indent=1, sort_keys=True) + "\n",
        "SHA256SUMS": "".join(sums),
    }
    unfinished = target.with_name(f".{target.name}.unfinished")
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, text in texts.items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
            for name, file in members:
                info = tarfile.TarInfo(name)
                info.size = file.stat().st_size
                info.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
                with file.open("rb") as stream:
                    tar.addfile(info, stream)
        unfinished.replace(target)
    return [*texts, *(name for name, _ in members)]


def load_bundle(store: Store, manifest: Manifest, bundle: Path) -> list[Record]:
    """Take the artefacts of a bundle into a store, each verified.

    Args:
        store: where to.
        manifest: what is accepted: a pinned artefact must have a sum that stands there.
        bundle: the tar.

    Returns:
        The records of what was taken.

    Raises:
        InvalidInput: it is no bundle.
        ChecksumMismatch: a file is not what the bundle or the manifest promises.
    """
    try:
        with tarfile.open(bundle, "r:") as tar:
            return _load(store, manifest, bundle, tar)
    except (tarfile.TarError, OSError, ValueError, KeyError) as error:
        seen = str(error)
        if isinstance(error, OSError):
            # Only what is wrong with the bundle itself: a full disk is not.
            if str(error.filename) != str(bundle):
                raise
            seen = str(error.strerror)
        problem = Problem(str(bundle), seen or type(error).__name__, "a bundle of artefacts")
        raise InvalidInput([problem]) from error


def _load(store: Store, manifest: Manifest, bundle: Path, tar: tarfile.TarFile) -> list[Record]:
    known = {(a.name, a.version): a for a in manifest.all}
    text = tar.extractfile("manifest.json")
    entries: list[dict[str, Any]] = json.load(text)["artifacts"] if text else []
    records = []
    with store.work("bundle") as work, disk_errors(store.root):
        for entry in entries:
            artifact = known.get((entry["name"], entry["version"]))
            if artifact is None:
                continue  # a bundle of a newer kubedcos may hold more than this one knows
            sha256 = str(entry["sha256"])
            _refuse_foreign(artifact, entry, manifest)
            content = tar.extractfile(entry["member"])
            if content is None:
                raise KubedcosError(f"{bundle}: {entry['member']} is no file")
            file = work / "content"
            with file.open("wb") as stream:
                while block := content.read(1 << 20):
                    stream.write(block)
            seen = sha256_of(file)
            if seen != sha256:
                raise ChecksumMismatch(f"{bundle}: {entry['member']}", sha256, seen)
            filename = str(entry["filename"])
            store.add(file, filename, executable=artifact.kind == "binary", sha256=seen)
            records.append(
                store.remember(
                    artifact,
                    seen,
                    str(entry["source"]),
                    inputs=str(entry["inputs"]),
                    digest=str(entry.get("digest", "")),
                    filename=filename,
                )
            )
    return records


def _refuse_foreign(artifact: Artifact, entry: Mapping[str, Any], manifest: Manifest) -> None:
    """Stop when the manifest pins an artefact and the bundle brings another one.

    Raises:
        ChecksumMismatch: the sum does not stand in the manifest.
    """
    source = SourceKind(entry["source"])
    if source is SourceKind.GO and entry["sha256"] != artifact.sums.get(source):
        raise ChecksumMismatch(
            f"{artifact.label} of the bundle",
            artifact.sums.get(source, "(none in the manifest)"),
            str(entry["sha256"]),
            f"{manifest.path} says what it should be",
        )


def _member(artifact: Artifact, record: Record) -> str:
    if artifact.kind in FOLDERS:
        return f"{FOLDERS[artifact.kind]}/{record.filename}"
    return f"files/{record.sha256}/{record.filename}"
