"""A store of small documents, addressed by cluster, kind and key; the seam between state and disk.

Three methods are enough for everything, so that another store (ZooKeeper, with its `multi`) is
easy to add. Values are bytes; what they mean stands in `records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubedcos.errors import KubedcosError


class StateError(KubedcosError):
    """The store cannot be read or written; nothing of the change was kept."""


@dataclass(frozen=True, slots=True)
class Change:
    """A document to write, or with `value` None to remove; removing what is not there is well."""

    kind: str
    key: str
    value: bytes | None


class Store(Protocol):
    """Documents of any number of clusters. Not for several writers of the same cluster."""

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that have documents, sorted."""
        ...

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        """All documents of one kind by key; empty when there are none.

        Raises:
            StateError: the store cannot be read.
        """
        ...

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        """Carry out all changes or none; they are durable when this returns.

        Raises:
            StateError: nothing was changed.
        """
        ...

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster.

        Raises:
            StateError: nothing was changed.
        """
        ...

    def close(self) -> None:
        """Release the store."""
        ...
