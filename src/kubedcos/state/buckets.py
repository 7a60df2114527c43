"""How documents are packed into the nodes of ZooKeeper. Pure.

A node for each document would be 45,000 nodes for 5,000 Kubernetes nodes: a new leader would read
them for half a minute, and one listing of them would be larger than ZooKeeper sends. One node for
all would be too large for it a hundred times over. So documents are spread over a fixed number of
buckets by the checksum of their kind and key; a bucket is compressed, for its documents resemble
each other.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from kubedcos.state.store import Change, StateError

COUNT: Final = 2048
"""Buckets of a cluster. At 5,000 nodes one holds some 20 documents, and a listing of all takes
20 KB. It is part of the stored form: another number is another schema version."""

Documents = dict[tuple[str, str], bytes]
"""Documents by kind and key."""

_T = TypeVar("_T")
_LEVEL: Final = 1
_FORM: Final = b"\x01"
"""First byte of a packed value."""


def bucket_of(kind: str, key: str) -> str:
    """Name of the bucket that a document belongs to: three hexadecimal digits."""
    return f"{zlib.crc32(f'{kind}/{key}'.encode()) % COUNT:03x}"


def pack(documents: Mapping[tuple[str, str], bytes]) -> bytes:
    """The value of a bucket with these documents."""
    rows = [(kind, key, value) for (kind, key), value in sorted(documents.items())]
    return _FORM + zlib.compress(msgspec.msgpack.encode(rows), _LEVEL)


def unpack(value: bytes, where: str) -> Documents:
    """The documents of a bucket.

    Args:
        value: as stored.
        where: the node, for the error.

    Raises:
        StateError: this is no bucket.
    """
    rows = _decode(value, list[tuple[str, str, bytes]], where)
    return {(kind, key): document for kind, key, document in rows}


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Changes that are too many for one transaction of ZooKeeper, as they lie there until done.

    Attributes:
        changes: by cluster; kind, key, and value or None.
        schema: the version that holds once they are carried out.
    """

    changes: dict[str, list[tuple[str, str, bytes | None]]]
    schema: int

    def of(self, cluster: str) -> list[Change]:
        """The changes to one cluster."""
        return [Change(*row) for row in self.changes[cluster]]


def batch(changes: Mapping[str, Iterable[Change]], schema: int) -> Batch:
    """A batch of changes by cluster."""
    rows = {
        cluster: [(change.kind, change.key, change.value) for change in found]
        for cluster, found in changes.items()
    }
    return Batch(rows, schema)


def pack_batch(found: Batch) -> bytes:
    """The form in which a batch is stored."""
    return _FORM + zlib.compress(msgspec.msgpack.encode(found), _LEVEL)


def unpack_batch(value: bytes, where: str) -> Batch:
    """The batch that was stored.

    Raises:
        StateError: this is none.
    """
    return _decode(value, Batch, where)


def touched(present: Mapping[str, Documents], changes: Sequence[Change]) -> dict[str, Documents]:
    """Buckets that differ after these changes, as they are then; an empty one is to go.

    Args:
        present: buckets of the cluster as they are.
        changes: in their order; a later one of the same document wins.
    """
    found: dict[str, Documents] = {}
    for change in changes:
        name = bucket_of(change.kind, change.key)
        documents = found.get(name)
        if documents is None:
            documents = found[name] = dict(present.get(name, {}))
        if change.value is None:
            documents.pop((change.kind, change.key), None)
        else:
            documents[change.kind, change.key] = change.value
    return {name: docs for name, docs in found.items() if docs != present.get(name, {})}


def _decode(value: bytes, form: type[_T], where: str) -> _T:
    try:
        if value[:1] != _FORM:
            raise StateError(f"{where}: not written by kubedcos, or by another version of it")
        return msgspec.msgpack.decode(zlib.decompress(value[1:]), type=form)
    except (zlib.error, msgspec.DecodeError) as error:
        raise StateError(f"{where}: not readable: {error}") from error
