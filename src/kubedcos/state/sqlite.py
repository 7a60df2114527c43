"""The default store: one SQLite file, readable by its owner only.

Write-ahead log with full synchronisation: a change that was reported as written survives a power
cut. The file may hold secrets (one-time tokens, keys), hence mode 0600 from its creation on.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from kubedcos.state.store import Change, StateError

SCHEMA_VERSION = 1

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
_READ = "SELECT key, value FROM document WHERE cluster = ? AND kind = ? ORDER BY key"


class SqliteStore:
    """Documents in the file at `path`, which is created when missing.

    Args:
        path: the file; its directory is created with mode 0700 when missing.
        wait_seconds: how long another process may hold the file.

    Raises:
        StateError: the file cannot be opened, or was written by a newer kubedcos.
    """

    def __init__(self, path: Path, wait_seconds: float = 10.0) -> None:
        self._path = path
        with self._reporting("open"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its log files the mode of the database, so this covers all three.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            self._connection = sqlite3.connect(path, timeout=wait_seconds, isolation_level=None)
        try:
            with self._reporting("open"):
                self._prepare()
        except StateError:
            self._connection.close()
            raise

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

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        """Carry out all changes or none."""
        with self._transaction():
            for change in changes:
                where = (cluster, change.kind, change.key)
                if change.value is None:
                    self._connection.execute(_REMOVE, where)
                else:
                    self._connection.execute(_PUT, (*where, change.value))

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster."""
        with self._transaction():
            self._connection.execute("DELETE FROM document WHERE cluster = ?", (cluster,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._connection.execute(_SCHEMA)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise StateError(
                    f"{self._path}: schema version {version}; this kubedcos reads"
                    f" {SCHEMA_VERSION}. Start the version that wrote it, or restore a backup."
                )

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
