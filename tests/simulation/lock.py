"""The lock that schedulers compete for, as ZooKeeper would keep it: one leads, until it is deposed.

A scheduler that is cut off from ZooKeeper runs on, in good faith, until it has to prove its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from kubedcos.state.session import DEFAULT_TIMEOUT
from kubedcos.state.store import Change, Deposed, Store

_PROOF_LASTS: Final = DEFAULT_TIMEOUT / 3


class Seat:
    """A scheduler's session; see `state.session.ZooKeeperSession`, whose rules are these.

    Attributes:
        lost: the session is over, and another scheduler leads.
    """

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self._cut = False
        self._proved_at = float("-inf")

    def cut(self) -> None:
        """From now on ZooKeeper does not hear of the scheduler, nor the scheduler of ZooKeeper."""
        self._cut = True

    def prove(self) -> None:
        """Return if nobody else can lead now.

        Raises:
            Deposed: somebody else may.
        """
        now = asyncio.get_running_loop().time()
        if self.lost.is_set():
            raise Deposed("the session is over; another scheduler leads")
        if now - self._proved_at >= _PROOF_LASTS:
            self.take_part()
            self._proved_at = now

    def take_part(self) -> None:
        """A transaction of ZooKeeper, which checks that its writer leads.

        Raises:
            Deposed: it does not, or nobody answers.
        """
        if self._cut or self.lost.is_set():
            raise Deposed("ZooKeeper does not answer; another scheduler may lead")


class LockedStore:
    """A store that only the scheduler which leads can write."""

    def __init__(self, store: Store, seat: Seat) -> None:
        self._store = store
        self._seat = seat

    def clusters(self) -> tuple[str, ...]:
        return self._store.clusters()

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        return self._store.read(cluster, kind)

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        self._seat.take_part()
        self._store.write(cluster, changes)

    def drop(self, cluster: str) -> None:
        self._seat.take_part()
        self._store.drop(cluster)

    def close(self) -> None:
        pass
