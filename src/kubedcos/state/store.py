"""A store of small documents, addressed by cluster, kind and key; the seam between state and disk.

Values are bytes; what they mean stands in `records`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubedcos.errors import KubedcosError


class StateError(KubedcosError):
    """The store cannot be read or written; nothing of the change was kept."""


class Deposed(StateError):
    """This program may not be the one that leads any more: it has to end without another act.

    Whether a write that ended so was kept is for the next leader to see. A store that has raised
    this does nothing else any more.
    """


@dataclass(frozen=True, slots=True)
class Change:
    """A document to write, or with `value` None to remove; removing what is not there is well."""

    kind: str
    key: str
    value: bytes | None


class Store(Protocol):
    """Documents of any number of clusters, for one writer at a time.

    A store that several could open sees to it itself: the file is locked, and in ZooKeeper each
    write proves that its writer still leads.
    """

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
            Deposed: somebody else may lead by now.
        """
        ...

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster.

        Raises:
            StateError: nothing was changed.
            Deposed: somebody else may lead by now.
        """
        ...

    def close(self) -> None:
        """Release the store."""
        ...
