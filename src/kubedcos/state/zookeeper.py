"""The store in ZooKeeper: what several schedulers share, and only the one that leads may write.

======================  ========================================================================
``PATH/schema``         version of the stored form
``PATH/clusters/NAME``  a cluster; its children are buckets of documents, see `buckets`
``PATH/batch``          names of the parts of a batch that is being carried out; mostly empty
``PATH/batch/part_N``   a part of it
======================  ========================================================================

Each transaction begins with a check of the node by which its writer leads. That node goes with the
writer's session, and only then can another one lead: a leader that was deposed cannot write any
more, even if it has not heard of it yet.

ZooKeeper refuses packets above 1 MiB (``jute.maxbuffer``). What is larger is written as a batch:
its parts first, then in one transaction the list of them, which decides that it takes place, then
the buckets in as many transactions as it needs. The next leader finishes a batch that it finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.handlers.threading import KazooTimeoutError

from kubedcos.state import buckets, schema
from kubedcos.state.buckets import Batch, Documents
from kubedcos.state.schema import Migration
from kubedcos.state.store import Change, Deposed, StateError

MOST_VALUE: Final = 512 * 1024
"""Bytes of one node's value; ZooKeeper's own limit is 1 MiB for a whole packet."""
MOST_TRANSACTION: Final = 768 * 1024
"""Bytes of one transaction, paths and framing counted in."""
_FRAMING: Final = 160
"""Bytes that an operation takes besides its value: more than path, ACL and header need."""
_AT_ONCE: Final = 64
"""Reads under way at a time."""

_T = TypeVar("_T")


class ZooKeeperStore:
    """Documents below `path`. Blocks its caller, for some `patience` at most.

    Everything is read once, when this is made; from then on nobody else can write.

    Args:
        client: a started `KazooClient` whose default ACL is that of the nodes.
        path: of the store.
        fence: node that exists as long as this program leads.
        patience: seconds that one operation may take, broken connections included.
        migrations: steps from the oldest version on; other ones than the program's in tests alone.

    Raises:
        StateError: it cannot be read, or a newer kubedcos has written it.
        Deposed: somebody else leads.
    """

    def __init__(
        self,
        client: Any,
        path: str,
        fence: str,
        patience: float = 10.0,
        migrations: Sequence[Migration] = schema.MIGRATIONS,
    ) -> None:
        self._client = client
        self._path = path
        self._fence = fence
        self._patience = patience
        self._clusters: dict[str, dict[str, Documents]] = {}
        self._ended = ""
        self._guarded("open", lambda: self._open(migrations))

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that have documents, sorted."""
        return tuple(sorted(name for name, found in self._clusters.items() if found))

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        """All documents of one kind by key."""
        if self._ended:
            raise Deposed(self._ended)
        found = {
            key: value
            for documents in self._clusters.get(cluster, {}).values()
            for (of, key), value in documents.items()
            if of == kind
        }
        return dict(sorted(found.items()))

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        """Carry out all changes or none."""
        present = self._clusters.get(cluster, {})
        try:
            found = buckets.touched(present, changes)
            packed = {name: buckets.pack(docs) if docs else None for name, docs in found.items()}
        except (TypeError, ValueError) as error:
            raise StateError(f"{self._where}: cannot write the state: {error}") from error
        if not packed:
            return
        for name, value in packed.items():
            if value is not None and len(value) > MOST_VALUE:
                raise self._too_large(found[name], len(value))
        if _size(packed.values()) <= MOST_TRANSACTION:
            self._guarded("write", lambda: self._put(cluster, packed))
            self._believe(cluster, found)
        else:
            self._guarded("write", lambda: self._write_batch({cluster: changes}, None))

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster."""
        present = self._clusters.get(cluster)
        if present:
            self._guarded("write", lambda: self._put(cluster, dict.fromkeys(present)))
            del self._clusters[cluster]

    def close(self) -> None:
        """Nothing to release: the session is somebody else's."""

    @property
    def _where(self) -> str:
        return f"ZooKeeper {self._path}"

    # --- opening ----------------------------------------------------------------------------------

    def _open(self, migrations: Sequence[Migration]) -> None:
        # A member of ZooKeeper that lags behind might answer without this.
        self._again(lambda _: self._wait(self._client.sync_async(self._path)))
        found = self._value(f"{self._path}/schema")
        newest = schema.newest(migrations)
        if found is None:
            self._lay_out(newest)
        version = newest if found is None else self._version(found)
        schema.steps_from(version, self._where, migrations)
        for name in self._names(f"{self._path}/clusters"):
            self._clusters[name] = self._load(name)
        self._finish_batch()
        # A batch that was finished just now may have been a migration.
        self._migrate(self._version(self._value(f"{self._path}/schema") or b""), migrations)

    def _lay_out(self, newest: int) -> None:
        def create(tried: bool) -> None:
            request = self._transaction()
            for name in ("clusters", "batch"):
                request.create(f"{self._path}/{name}")
            request.create(f"{self._path}/schema", str(newest).encode())
            try:
                self._commit(request)
            except NodeExistsError:
                if not tried:
                    raise

        self._again(create)

    def _version(self, text: bytes) -> int:
        try:
            return int(text)
        except ValueError:
            raise StateError(f"{self._where}/schema holds {text[:40]!r}, no version") from None

    def _load(self, cluster: str) -> dict[str, Documents]:
        folder = f"{self._path}/clusters/{cluster}"
        names = self._names(folder)
        found = {}
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            values = self._again(lambda _, part=part: self._values(folder, part))  # type: ignore[misc]
            found.update(
                {
                    name: buckets.unpack(value, f"{folder}/{name}")
                    for name, value in zip(part, values, strict=True)
                }
            )
        return found

    def _values(self, folder: str, names: Iterable[str]) -> list[bytes]:
        asked = [self._client.get_async(f"{folder}/{name}") for name in names]
        return [self._wait(one)[0] for one in asked]

    def _migrate(self, version: int, migrations: Sequence[Migration]) -> None:
        steps = schema.steps_from(version, self._where, migrations)
        if not steps:
            return
        changes = {}
        for name, present in self._clusters.items():
            documents = {where: value for docs in present.values() for where, value in docs.items()}
            changes[name] = schema.migrated(documents, steps)
        self._write_batch(changes, schema.newest(migrations))

    # --- transactions -----------------------------------------------------------------------------

    def _put(self, cluster: str, values: Mapping[str, bytes | None]) -> None:
        """Write buckets of a cluster in one transaction; None removes."""
        folder = f"{self._path}/clusters/{cluster}"
        there = set(self._clusters.get(cluster, {}))

        def put(tried: bool) -> None:
            known = there
            if tried:
                self._wait(self._client.sync_async(self._path))
                known = set(self._children(folder))
            request = self._transaction()
            left = (known | values.keys()) - {name for name, v in values.items() if v is None}
            if not known and left and not (tried and self._exists(folder)):
                request.create(folder)
            for name, value in values.items():
                if value is None:
                    if name in known:
                        request.delete(f"{folder}/{name}")
                elif name in known:
                    request.set_data(f"{folder}/{name}", value)
                else:
                    request.create(f"{folder}/{name}", value)
            if not left and (known or (tried and self._exists(folder))):
                request.delete(folder)
            self._commit(request)

        self._again(put)

    def _transaction(self) -> Any:
        request = self._client.transaction()
        # The node's value is never changed: that it exists is what counts.
        request.check(self._fence, 0)
        return request

    def _commit(self, request: Any) -> list[Any]:
        results: list[Any] = self._wait(request.commit_async())
        if isinstance(results[0], (NoNodeError, BadVersionError)):
            raise Deposed(f"{self._where}: this scheduler does not lead any more")
        errors = [result for result in results if isinstance(result, KazooException)]
        # Operations before and after the one that failed say only that another one did.
        own = [e for e in errors if not isinstance(e, (RolledBackError, RuntimeInconsistency))]
        if errors:
            raise (own or errors)[0]
        return results

    # --- batches ----------------------------------------------------------------------------------

    def _write_batch(self, changes: Mapping[str, Sequence[Change]], version: int | None) -> None:
        number = version or self._version(self._value(f"{self._path}/schema") or b"")
        batch = buckets.batch(changes, number)
        data = buckets.pack_batch(batch)
        names = [
            self._again(lambda _, at=at: self._add_part(data[at : at + MOST_VALUE]))  # type: ignore[misc]
            for at in range(0, len(data), MOST_VALUE)
        ]
        index = msgspec.msgpack.encode(names)

        def decide(_tried: bool) -> None:
            request = self._transaction()
            request.set_data(f"{self._path}/batch", index)
            request.set_data(f"{self._path}/schema", str(number).encode())
            self._commit(request)

        self._again(decide)
        self._carry_out(batch)
        self._clear_batch()

    def _add_part(self, piece: bytes) -> str:
        request = self._transaction()
        request.create(f"{self._path}/batch/part_", piece, sequence=True)
        created: str = self._commit(request)[1]
        return created.rpartition("/")[2]

    def _finish_batch(self) -> None:
        """What an earlier leader had decided and not finished takes place now."""
        index = self._value(f"{self._path}/batch")
        if index:
            folder = f"{self._path}/batch"
            try:
                names = msgspec.msgpack.decode(index, type=list[str])
            except msgspec.DecodeError as error:
                raise StateError(f"{folder}: not readable: {error}") from error
            pieces = self._again(lambda _: self._values(folder, names))
            self._carry_out(buckets.unpack_batch(b"".join(pieces), folder))
        self._clear_batch()

    def _carry_out(self, batch: Batch) -> None:
        """The buckets of a batch; what was written already is written once more."""
        for cluster in batch.changes:
            found = buckets.touched(self._clusters.get(cluster, {}), batch.of(cluster))
            size, values = 0, dict[str, bytes | None]()
            for name, documents in found.items():
                value = buckets.pack(documents) if documents else None
                size += _size([value])
                if values and size > MOST_TRANSACTION:
                    self._put_believed(cluster, values, found)
                    size, values = _size([value]), {}
                values[name] = value
            if values:
                self._put_believed(cluster, values, found)

    def _put_believed(
        self,
        cluster: str,
        values: Mapping[str, bytes | None],
        found: Mapping[str, Documents],
    ) -> None:
        self._put(cluster, values)
        self._believe(cluster, {name: found[name] for name in values})

    def _clear_batch(self) -> None:
        folder = f"{self._path}/batch"

        def clear(_tried: bool) -> None:
            names = self._children(folder)
            if not names and not self._value(folder):
                return
            request = self._transaction()
            request.set_data(folder, b"")
            for name in names:
                request.delete(f"{folder}/{name}")
            self._commit(request)

        self._again(clear)

    # --- one operation ----------------------------------------------------------------------------

    def _believe(self, cluster: str, found: Mapping[str, Documents]) -> None:
        present = self._clusters.setdefault(cluster, {})
        for name, documents in found.items():
            if documents:
                present[name] = documents
            else:
                present.pop(name, None)
        if not present:
            del self._clusters[cluster]

    def _value(self, path: str) -> bytes | None:
        try:
            value: bytes = self._again(lambda _: self._wait(self._client.get_async(path)))[0]
        except NoNodeError:
            return None
        return value

    def _names(self, path: str) -> list[str]:
        return sorted(self._again(lambda _: self._children(path)))

    def _children(self, path: str) -> list[str]:
        try:
            names: list[str] = self._wait(self._client.get_children_async(path))
        except NoNodeError:
            return []
        return names

    def _exists(self, path: str) -> bool:
        return self._wait(self._client.exists_async(path)) is not None

    def _wait(self, result: Any) -> Any:
        return result.get(timeout=self._patience)

    def _again(self, work: Callable[[bool], _T]) -> _T:
        """Work that may be done twice; it is told whether it may have been done already.

        A member of ZooKeeper that restarts breaks the connection and keeps the session.
        """
        deadline, tried = time.monotonic() + self._patience, False
        while True:
            try:
                return work(tried)
            except ConnectionLoss:
                if time.monotonic() > deadline:
                    raise
                tried = True

    def _guarded(self, what: str, work: Callable[[], _T]) -> _T:
        """Work whose failure is told in our words; after one whose outcome is open, nothing goes.

        Raises:
            StateError: nothing was changed.
            Deposed: see there.
        """
        if self._ended:
            raise Deposed(self._ended)
        try:
            return work()
        except Deposed as error:
            self._ended = str(error)
            raise
        except (NoAuthError, AuthFailedError) as error:
            raise StateError(
                f"{self._where}: cannot {what} the state: no permission; wanted the password with"
                " which it was made"
            ) from error
        except (KazooException, KazooTimeoutError) as error:
            said = str(error) or type(error).__name__
            self._ended = f"{self._where}: cannot {what} the state: {said}"
            raise Deposed(self._ended) from error

    def _too_large(self, documents: Documents, size: int) -> StateError:
        (kind, key), largest = max(documents.items(), key=lambda item: len(item[1]))
        return StateError(
            f"{self._where}: {kind} {key} is too large: {len(largest)} bytes; {size} together with"
            f" its neighbours, compressed, and a node of ZooKeeper takes {MOST_VALUE}"
        )


def _size(values: Iterable[bytes | None]) -> int:
    return sum(_FRAMING + len(value or b"") for value in values)
