"""The registry in ZooKeeper, below the masters' nodes: it follows the leader, whoever that is.

=====================  ==========================================================================
``PATH/registry``      JSON: the names of the parts that make up the registry, in order
``…/part_NNNNNNNNNN``  a piece of the compressed registry, small enough for a node of ZooKeeper
=====================  ==========================================================================

A new registry is written beside the old one; replacing the list of parts makes it the registry.
That replacement names the version of the list that this master read or wrote last, and reading
begins a new version: a master that was deposed cannot write any more, even before it hears of it.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
)
from kazoo.handlers.threading import KazooTimeoutError

from kubedcos.embedded.master.registry import Registry, RegistryLost
from kubedcos.errors import InvalidInput, Problem
from kubedcos.retry import again

NODE: Final = "registry"
PART_SIZE: Final = 512 * 1024
"""Bytes; a packet to ZooKeeper may have twice as many by its default."""

_T = TypeVar("_T")


class _Index(msgspec.Struct, frozen=True):
    parts: tuple[str, ...] = ()


class ZooKeeperStore:
    """A registry in ZooKeeper. Blocks its caller, for `patience` at most.

    Args:
        client: a started `KazooClient`.
        path: where masters have their nodes.
        acl: of the nodes that are made; `None` for kazoo's default.
        patience: seconds that one operation may take.
    """

    def __init__(self, client: Any, path: str, acl: Any, patience: float) -> None:
        self._client, self._acl, self._patience = client, acl, patience
        self._index = f"{path}/{NODE}"
        self._version: int | None = None
        self._parts: tuple[str, ...] = ()

    def load(self) -> Registry:
        """The registry, empty when there is none yet; from now on only this master can write.

        Raises:
            RegistryLost: ZooKeeper does not answer, or another master was quicker.
            InvalidInput: what is there is no registry.
        """
        return self._guarded("read", self._load)

    def save(self, registry: Registry) -> None:
        """Store durably: when this returns, a majority of ZooKeeper has it.

        Raises:
            RegistryLost: it is not sure whether it was stored; or another master leads.
        """
        self._guarded("stored", lambda: self._save(registry))

    def _guarded(self, what: str, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except BadVersionError:
            text = f"The registry could not be {what}: another master has taken it over"
            raise RegistryLost(text) from None
        except (KazooException, KazooTimeoutError) as error:
            text = f"The registry could not be {what} in ZooKeeper: {type(error).__name__} {error}"
            raise RegistryLost(text) from error

    def _wait(self, result: Any) -> Any:
        return result.get(timeout=self._patience)

    def _again(self, work: Callable[[bool], _T]) -> _T:
        """Work that may be done twice; it is told whether it may have been done already.

        A member of ZooKeeper that restarts breaks the connection and keeps the session.
        """
        return again(work, seconds=self._patience, passing=ConnectionLoss)

    def _load(self) -> Registry:
        data = self._again(self._claim)
        try:
            self._parts = msgspec.json.decode(data, type=_Index).parts
            pieces = [self._again(partial(self._piece, name)) for name in self._parts]
            registry = _decoded(b"".join(pieces))
        except (NoNodeError, msgspec.DecodeError, zlib.error) as error:
            wanted = "the registry as this program wrote it; remove the node to start anew"
            seen = f"{type(error).__name__} {error}"
            problem = Problem(f"ZooKeeper node {self._index}", seen, wanted, "registry-damaged")
            raise InvalidInput([problem]) from error
        present = self._again(lambda _: self._wait(self._client.get_children_async(self._index)))
        self._remove(present, self._parts)
        return registry

    def _piece(self, name: str, _tried: bool) -> bytes:
        data: bytes = self._wait(self._client.get_async(f"{self._index}/{name}"))[0]
        return data

    def _claim(self, _tried: bool) -> bytes:
        """The list of parts, in a version that only this master knows."""
        with contextlib.suppress(NodeExistsError):
            empty = msgspec.json.encode(_Index())
            self._wait(self._client.create_async(self._index, empty, acl=self._acl))
        while True:
            data, stat = self._read_index()
            try:
                stat = self._wait(self._client.set_async(self._index, data, version=stat.version))
            except BadVersionError:
                continue  # the last write of the leader before
            self._version = stat.version
            return data

    def _read_index(self) -> tuple[bytes, Any]:
        # Without this a member that lags behind might answer.
        self._wait(self._client.sync_async(self._index))
        data, stat = self._wait(self._client.get_async(self._index))
        return data, stat

    def _save(self, registry: Registry) -> None:
        data = zlib.compress(msgspec.json.encode(registry), level=1)
        parts = self._again(lambda _: self._write(data))
        self._again(lambda tried: self._replace(msgspec.json.encode(_Index(parts)), tried=tried))
        old, self._parts = self._parts, parts
        self._remove(old, parts)

    def _write(self, data: bytes) -> tuple[str, ...]:
        path = f"{self._index}/part_"
        pieces = [data[start : start + PART_SIZE] for start in range(0, len(data), PART_SIZE)]
        writing = [
            self._client.create_async(path, piece, acl=self._acl, sequence=True) for piece in pieces
        ]
        return tuple(self._wait(one).rpartition("/")[2] for one in writing)

    def _replace(self, index: bytes, *, tried: bool) -> None:
        if tried:
            data, stat = self._read_index()
            if data == index:
                self._version = stat.version
                return
        stat = self._wait(self._client.set_async(self._index, index, version=self._version))
        self._version = stat.version

    def _remove(self, parts: Any, kept: tuple[str, ...]) -> None:
        """Best effort: what stays is removed by the next master that reads."""
        for name in set(parts) - set(kept):
            self._client.delete_async(f"{self._index}/{name}")


def _decoded(data: bytes) -> Registry:
    return msgspec.json.decode(zlib.decompress(data), type=Registry) if data else Registry()
