"""Verified artefacts on this machine, each kept under its SHA-256.

Layout below the root (default ``~/.cache/kubedcos/artifacts``)::

    sha256/<sha256>/<filename>      the content; written once, never changed
    records/<name>-<version>.json   which content an artefact has here, and how it was verified
    locks/<name>.lock               held by the run that makes an artefact
    work/                           unfinished files; emptied by whoever holds the lock

A file appears under its sum by one rename, so a reader never sees half of it. Hashing some hundred
megabytes at every run would be felt, so a record keeps the file's size, time and inode from when
it was hashed; `kubedcos artifacts verify` hashes again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubedcos.errors import KubedcosError

if TYPE_CHECKING:
    from kubedcos.artifacts.manifest import Artifact

BLOCK = 1 << 20
ABANDONED_AFTER = 60.0
"""Seconds after which an unlocked work folder is taken for that of a killed run."""


class ChecksumMismatch(KubedcosError):
    """Content is not what the manifest promises."""

    def __init__(self, what: str, wanted: str, seen: str, hint: str = "") -> None:
        self.wanted = wanted
        self.seen = seen
        text = f"{what}: checksum mismatch\n  wanted sha256 {wanted}\n  found  sha256 {seen}"
        super().__init__(f"{text}\n{hint}" if hint else text)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full disk, or one that takes no folder there, into one sentence.

    Raises:
        KubedcosError: instead of the OSError of a full disk, a quota, a read-only file system, or a
            file where a folder should be.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR}:
            raise
        place = where
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free // (1 << 20)
        raise KubedcosError(
            f"cannot write below {where}: {os.strerror(error.errno)} ({free} MiB free there); "
            "make room, or put the cache elsewhere with KUBEDCOS_CACHE"
        ) from error


@dataclass(frozen=True, slots=True)
class Record:
    """What an artefact is on this machine.

    Attributes:
        source: the source kind that it came from.
        inputs: fingerprint of what it was made from, where the content alone does not say it.
        digest: an image's manifest digest, else empty.
        stamp: size, modification time (ns) and inode of the file when it was hashed.
    """

    name: str
    version: str
    platform: str
    filename: str
    sha256: str
    size: int
    source: str
    inputs: str = ""
    digest: str = ""
    stamp: tuple[int, int, int] = (0, 0, 0)


def _stamp(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return (info.st_size, info.st_mtime_ns, info.st_ino)


class Store:
    """The artefacts below one root folder; safe to use from several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def default(cls) -> Store:
        """The store of this user, or below the folder named by ``KUBEDCOS_CACHE``."""
        return cls(cache_root() / "artifacts")

    def path(self, sha256: str, filename: str) -> Path:
        """Where content with this sum lies or would lie."""
        return self.root / "sha256" / sha256 / filename

    def file(self, record: Record) -> Path:
        """The file of a record."""
        return self.path(record.sha256, record.filename)

    @contextlib.contextmanager
    def work(self, name: str) -> Iterator[Path]:
        """An empty folder on the store's file system, removed afterwards.

        What killed runs left there is removed too: a folder is held by a lock while its run lives.
        """
        with disk_errors(self.root):
            (self.root / "work").mkdir(parents=True, exist_ok=True)
            self._sweep()
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root / "work"))
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    def _sweep(self) -> None:
        for folder in (self.root / "work").iterdir():
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime < ABANDONED_AFTER:
                    continue  # it may have been made this instant, and not be locked yet
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(descriptor)

    @contextlib.contextmanager
    def lock(
        self, name: str, on_wait: Callable[[], None] | None = None, *, shared: bool = False
    ) -> Iterator[None]:
        """Hold the lock called `name`; it falls free when the process ends, however it ends.

        Args:
            name: any file name.
            on_wait: called once when another process holds it.
            shared: whether others may hold it in the same way.
        """
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        with self._lock_file(name) as descriptor:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait:
                    on_wait()
                fcntl.flock(descriptor, how)
            yield

    @contextlib.contextmanager
    def lock_if_free(self, name: str) -> Iterator[bool]:
        """Hold the lock called `name` if nobody else does; says whether it is held."""
        with self._lock_file(name) as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextlib.contextmanager
    def _lock_file(self, name: str) -> Iterator[int]:
        with disk_errors(self.root):
            file = self.root / "locks" / f"{name}.lock"
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def add(self, file: Path, filename: str, *, executable: bool, sha256: str = "") -> str:
        """Move `file` into the store.

        Args:
            file: a finished file, on the store's file system for the move to be one rename.
            filename: its name there.
            executable: whether it is a program.
            sha256: its sum, when just computed.

        Returns:
            Its SHA-256.
        """
        digest = sha256 or sha256_of(file)
        target = self.path(digest, filename)
        with disk_errors(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            file.chmod(0o755 if executable else 0o644)
            if file.stat().st_dev != target.parent.stat().st_dev:
                with self.work("copy") as folder:
                    copy = folder / filename
                    shutil.copy2(file, copy)
                    copy.replace(target)
            else:
                file.replace(target)
        return digest

    def remember(
        self,
        artifact: Artifact,
        sha256: str,
        source: str,
        *,
        inputs: str = "",
        digest: str = "",
        filename: str = "",
    ) -> Record:
        """Note that `artifact` is the stored content `sha256`, which was just hashed.

        Content that it was before is removed: nothing else would ever remove it.

        Args:
            artifact: which.
            sha256: its content's sum.
            source: kind of the source.
            inputs: see `Record`.
            digest: see `Record`.
            filename: its name in the store, where it is not the manifest's.

        Returns:
            The record, as written.
        """
        stamp = _stamp(self.path(sha256, filename or artifact.filename))
        record = Record(
            name=artifact.name,
            version=artifact.version,
            platform=artifact.platform,
            filename=filename or artifact.filename,
            sha256=sha256,
            size=stamp[0],
            source=source,
            inputs=inputs,
            digest=digest,
            stamp=stamp,
        )
        previous = self.noted(artifact)
        self._write(self._record_path(artifact), json.dumps(asdict(record), indent=1) + "\n")
        if previous and self.file(previous) != self.file(record):
            self._remove(previous)
        return record

    def recall(self, artifact: Artifact) -> Record | None:
        """The record of an artefact whose file is still the one that was hashed."""
        record = self.noted(artifact)
        try:
            if record and _stamp(self.file(record)) == record.stamp:
                return record
        except OSError:
            return None
        return None

    def noted(self, artifact: Artifact) -> Record | None:
        """The record of an artefact, whatever has become of its file."""
        try:
            data = json.loads(self._record_path(artifact).read_text(encoding="utf-8"))
            return Record(**{**data, "stamp": tuple(data["stamp"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self, artifact: Artifact) -> None:
        """Remove the record of an artefact and its content: it was found to be spoilt."""
        if record := self.noted(artifact):
            self._remove(record)
        self._record_path(artifact).unlink(missing_ok=True)

    def _remove(self, record: Record) -> None:
        file = self.file(record)
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            file.parent.rmdir()

    def _record_path(self, artifact: Artifact) -> Path:
        return self.root / "records" / f"{artifact.name}-{artifact.version}.json"

    def _write(self, path: Path, text: str) -> None:
        with disk_errors(self.root), self.work("record") as folder:
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / path.name).write_text(text, encoding="utf-8")
            (folder / path.name).replace(path)


def cache_root() -> Path:
    """Folder of everything that kubedcos keeps on a control machine and could make again."""
    configured = os.environ.get("KUBEDCOS_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "kubedcos"
