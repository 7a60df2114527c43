"""The default store: one SQLite file, readable by its owner only.

Write-ahead log with full synchronisation: a change that was reported as written survives a power
cut. The file may hold secrets (one-time tokens, keys), hence mode 0600 from its creation on. One
program has it open at a time: two schedulers on one file would start everything twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kubedcos.state import schema
from kubedcos.state.schema import Migration
from kubedcos.state.store import Change, StateError

_SCHEMA = """
CREATE TABLE document (
  cluster TEXT NOT NULL,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (cluster, kind, key)
) WITHOUT ROWID
"""
_PUT = "INSERT OR REPLACE INTO document (cluster, kind, key, value) VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM document WHERE cluster = ? AND kind = ? AND key = ?"
_ALL = "SELECT kind, key, value FROM document WHERE cluster = ?"
_LOCK_SUFFIX = ".lock"
_LOCK_PAUSE_SECONDS = 0.05
_READ = "SELECT key, value FROM document WHERE cluster = ? AND kind = ? ORDER BY key"


class SqliteStore:
    """Documents in the file at `path`, which is created when missing.

    Args:
        path: the file; its directory is created with mode 0700 when missing.
        wait_seconds: how long another process may hold the file.
        migrations: steps from the oldest version on; other ones than the program's in tests alone.

    Raises:
        StateError: the file cannot be opened, another program has it, or a newer one wrote it.
    """

    def __init__(
        self,
        path: Path,
        wait_seconds: float = 10.0,
        migrations: Sequence[Migration] = schema.MIGRATIONS,
    ) -> None:
        self._path = path
        self._migrations = migrations
        with self._reporting("open"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(path.with_name(path.name + _LOCK_SUFFIX), wait_seconds)
        with self._reporting("open"), contextlib.ExitStack() as undo:
            undo.callback(os.close, self._lock)
            # SQLite gives its log files the mode of the database, so this covers all three.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            self._connection = sqlite3.connect(path, timeout=wait_seconds, isolation_level=None)
            undo.callback(self._connection.close)
            self._prepare()
            undo.pop_all()

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that have documents, sorted."""
        with self._reporting("read"):
            rows = self._connection.execute("SELECT DISTINCT cluster FROM document ORDER BY 1")
            return tuple(str(name) for (name,) in rows)

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        """All documents of one kind by key."""
        with self._reporting("read"):
            rows = self._connection.execute(_READ, (cluster, kind))
            return {str(key): bytes(value) for key, value in rows}

    def documents(self, cluster: str) -> Mapping[tuple[str, str], bytes]:
        """All documents of a cluster by kind and key."""
        with self._reporting("read"):
            rows = self._connection.execute(_ALL, (cluster,))
            return {(str(kind), str(key)): bytes(value) for kind, key, value in rows}

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        """Carry out all changes or none."""
        with self._transaction():
            self._change(cluster, changes)

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster."""
        with self._transaction():
            self._connection.execute("DELETE FROM document WHERE cluster = ?", (cluster,))

    def close(self) -> None:
        """Close the file; another program may open it then."""
        self._connection.close()
        os.close(self._lock)

    def _change(self, cluster: str, changes: Sequence[Change]) -> None:
        for change in changes:
            where = (cluster, change.kind, change.key)
            if change.value is None:
                self._connection.execute(_REMOVE, where)
            else:
                self._connection.execute(_PUT, (*where, change.value))

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._connection.execute(_SCHEMA)
            else:
                self._migrate(version)
            newest = schema.newest(self._migrations)
            self._connection.execute(f"PRAGMA user_version = {newest}")

    def _migrate(self, version: int) -> None:
        steps = schema.steps_from(version, str(self._path), self._migrations)
        for cluster in self.clusters() if steps else ():
            self._change(cluster, schema.migrated(self.documents(cluster), steps))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reporting("write"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def _reporting(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{self._path}: cannot {doing} the state: {error}") from error


def _locked(path: Path, seconds: float) -> int:
    """A descriptor that holds the lock until it is closed, or this program ends.

    A file beside the database: SQLite opens and closes the database itself, and with a lock of its
    own on it that would end ours.

    Raises:
        OSError: another program has it, for longer than `seconds`.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise OSError(f"another program has {path} locked") from None
            time.sleep(_LOCK_PAUSE_SECONDS)
        except OSError:
            os.close(descriptor)
            raise
        else:
            return descriptor
