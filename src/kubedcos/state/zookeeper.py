"""The store in ZooKeeper: what several schedulers share, and only the one that leads may write.

======================  ========================================================================
``PATH/schema``         version of the stored form
``PATH/clusters/NAME``  a cluster; its children are buckets of documents, see `buckets`
``PATH/batch``          names of the parts of a batch that is being carried out; mostly empty
``PATH/batch/part_N``   a part of it
======================  ========================================================================

Only the leader can write, see `fenced`.

ZooKeeper refuses packets above 1 MiB (``jute.maxbuffer``). What is larger is written as a batch:
its parts first, then in one transaction the list of them, which decides that it takes place, then
the buckets in as many transactions as it needs. The next leader finishes a batch that it finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from kazoo.exceptions import NodeExistsError

from kubedcos.state import buckets, schema
from kubedcos.state.buckets import Batch, Documents
from kubedcos.state.fenced import FencedClient
from kubedcos.state.schema import Migration
from kubedcos.state.store import Change, StateError

MOST_VALUE: Final = 512 * 1024
"""Bytes of one node's value; ZooKeeper's own limit is 1 MiB for a whole packet."""
MOST_TRANSACTION: Final = 768 * 1024
"""Bytes of one transaction, paths and framing counted in."""
_FRAMING: Final = 160
"""Bytes that an operation takes besides its value: more than path, ACL and header need."""
_AT_ONCE: Final = 64
"""Reads under way at a time."""


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
        self._zk = FencedClient(client, f"ZooKeeper {path}", fence, patience)
        self._path = path
        self._clusters: dict[str, dict[str, Documents]] = {}
        self._zk.guarded("open", lambda: self._open(migrations))

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that have documents, sorted."""
        return tuple(sorted(name for name, found in self._clusters.items() if found))

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        """All documents of one kind by key."""
        self._zk.check()
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
            raise StateError(f"{self._zk.where}: cannot write the state: {error}") from error
        if not packed:
            return
        for name, value in packed.items():
            if value is not None and len(value) > MOST_VALUE:
                raise self._too_large(found[name], len(value))
        if _size(packed.values()) <= MOST_TRANSACTION:
            self._zk.guarded("write", lambda: self._put(cluster, packed))
            self._believe(cluster, found)
        else:
            self._zk.guarded("write", lambda: self._write_batch({cluster: changes}, None))

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster."""
        present = self._clusters.get(cluster)
        if present:
            self._zk.guarded("write", lambda: self._put(cluster, dict.fromkeys(present)))
            del self._clusters[cluster]

    def close(self) -> None:
        """Nothing to release: the session is somebody else's."""

    # --- opening ----------------------------------------------------------------------------------

    def _open(self, migrations: Sequence[Migration]) -> None:
        # A member of ZooKeeper that lags behind might answer without this.
        self._zk.again(lambda _: self._zk.sync(self._path))
        found = self._zk.value(f"{self._path}/schema")
        newest = schema.newest(migrations)
        if found is None:
            self._lay_out(newest)
        version = newest if found is None else self._version(found)
        schema.steps_from(version, self._zk.where, migrations)
        for name in self._zk.names(f"{self._path}/clusters"):
            self._clusters[name] = self._load(name)
        self._finish_batch()
        # A batch that was finished just now may have been a migration.
        self._migrate(self._version(self._zk.value(f"{self._path}/schema") or b""), migrations)

    def _lay_out(self, newest: int) -> None:
        def create(tried: bool) -> None:
            request = self._zk.transaction()
            for name in ("clusters", "batch"):
                request.create(f"{self._path}/{name}")
            request.create(f"{self._path}/schema", str(newest).encode())
            try:
                self._zk.commit(request)
            except NodeExistsError:
                if not tried:
                    raise

        self._zk.again(create)

    def _version(self, text: bytes) -> int:
        try:
            return int(text)
        except ValueError:
            raise StateError(f"{self._zk.where}/schema holds {text[:40]!r}, no version") from None

    def _load(self, cluster: str) -> dict[str, Documents]:
        folder = f"{self._path}/clusters/{cluster}"
        names = self._zk.names(folder)
        found = {}
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            values = self._zk.values(folder, part)
            found.update(
                {
                    name: buckets.unpack(value, f"{folder}/{name}")
                    for name, value in zip(part, values, strict=True)
                }
            )
        return found

    def _migrate(self, version: int, migrations: Sequence[Migration]) -> None:
        steps = schema.steps_from(version, self._zk.where, migrations)
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
                self._zk.sync(self._path)
                known = set(self._zk.children(folder))
            request = self._zk.transaction()
            left = (known | values.keys()) - {name for name, v in values.items() if v is None}
            if not known and left and not (tried and self._zk.exists(folder)):
                request.create(folder)
            for name, value in values.items():
                if value is None:
                    if name in known:
                        request.delete(f"{folder}/{name}")
                elif name in known:
                    request.set_data(f"{folder}/{name}", value)
                else:
                    request.create(f"{folder}/{name}", value)
            if not left and (known or (tried and self._zk.exists(folder))):
                request.delete(folder)
            self._zk.commit(request)

        self._zk.again(put)

    # --- batches ----------------------------------------------------------------------------------

    def _write_batch(self, changes: Mapping[str, Sequence[Change]], version: int | None) -> None:
        number = version or self._version(self._zk.value(f"{self._path}/schema") or b"")
        batch = buckets.batch(changes, number)
        data = buckets.pack_batch(batch)
        names = [
            self._add_part(data[at : at + MOST_VALUE]) for at in range(0, len(data), MOST_VALUE)
        ]
        index = msgspec.msgpack.encode(names)

        def decide(_tried: bool) -> None:
            request = self._zk.transaction()
            request.set_data(f"{self._path}/batch", index)
            request.set_data(f"{self._path}/schema", str(number).encode())
            self._zk.commit(request)

        self._zk.again(decide)
        self._carry_out(batch)
        self._clear_batch()

    def _add_part(self, piece: bytes) -> str:
        """The name of a new node that holds a piece of a batch; one too many is cleared later."""

        def add(_tried: bool) -> str:
            request = self._zk.transaction()
            request.create(f"{self._path}/batch/part_", piece, sequence=True)
            created: str = self._zk.commit(request)[1]
            return created.rpartition("/")[2]

        return self._zk.again(add)

    def _finish_batch(self) -> None:
        """What an earlier leader had decided and not finished takes place now."""
        index = self._zk.value(f"{self._path}/batch")
        if index:
            folder = f"{self._path}/batch"
            try:
                names = msgspec.msgpack.decode(index, type=list[str])
            except msgspec.DecodeError as error:
                raise StateError(f"{folder}: not readable: {error}") from error
            pieces = self._zk.values(folder, names)
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
            names = self._zk.children(folder)
            if not names and not self._zk.value(folder):
                return
            request = self._zk.transaction()
            request.set_data(folder, b"")
            for name in names:
                request.delete(f"{folder}/{name}")
            self._zk.commit(request)

        self._zk.again(clear)

    def _believe(self, cluster: str, found: Mapping[str, Documents]) -> None:
        present = self._clusters.setdefault(cluster, {})
        for name, documents in found.items():
            if documents:
                present[name] = documents
            else:
                present.pop(name, None)
        if not present:
            del self._clusters[cluster]

    def _too_large(self, documents: Documents, size: int) -> StateError:
        (kind, key), largest = max(documents.items(), key=lambda item: len(item[1]))
        return StateError(
            f"{self._zk.where}: {kind} {key} is too large: {len(largest)} bytes; {size} together"
            f" with its neighbours, compressed, and a node of ZooKeeper takes {MOST_VALUE}"
        )


def _size(values: Iterable[bytes | None]) -> int:
    return sum(_FRAMING + len(value or b"") for value in values)
