"""The lock that schedulers compete for, as ZooKeeper would keep it: one leads, until it is deposed.

A scheduler that is cut off from ZooKeeper runs on, in good faith, until it has to prove its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from kubedcos.embedded.simulation.virtual_time import VirtualLoop
from kubedcos.state.session import DEFAULT_TIMEOUT
from kubedcos.state.store import Change, Deposed, Store

_PROOF_LASTS: Final = DEFAULT_TIMEOUT / 3
_PATIENCE: Final = 10.0
"""Seconds that one operation may take, as in `state.session.ZooKeeperSession`."""


class ZooKeeper:
    """The ensemble, which nobody may reach for a while: all its members restart, say.

    A session outlives that if it is short enough. What was under way when it began may have arrived
    although nobody was told.
    """

    def __init__(self) -> None:
        self._began = self._ends = float("-inf")
        self._arrives = False

    def cut(self, seconds: float, *, arrives: bool) -> None:
        """Nobody reaches it from now on.

        Args:
            seconds: for how long.
            arrives: the next write arrives all the same; it is the answer that does not.
        """
        now = _now()
        self._began = self._began if now < self._ends else now
        self._ends = max(self._ends, now + seconds)
        self._arrives = arrives

    @property
    def out_for(self) -> float:
        """Seconds until it is in reach again; 0 when it is."""
        return max(0.0, self._ends - _now())

    @property
    def ends_sessions(self) -> bool:
        """Whether no session outlives it: then another scheduler might lead."""
        return self._ends - self._began >= DEFAULT_TIMEOUT

    def arrives(self) -> bool:
        """Whether this write arrives; asked once for each."""
        arrives, self._arrives = self._arrives, False
        return arrives and self.out_for > 0


class Seat:
    """A scheduler's session; see `state.session.ZooKeeperSession`, whose rules are these.

    Attributes:
        lost: the session is over, and another scheduler leads.
        over: the session is over, and its scheduler knows.
    """

    def __init__(self, zookeeper: ZooKeeper) -> None:
        self.lost = asyncio.Event()
        self.over = asyncio.Event()
        self.zookeeper = zookeeper
        self._cut = False
        self._ended = False
        self._proved_at = float("-inf")

    def cut(self) -> None:
        """From now on ZooKeeper does not hear of the scheduler, nor the scheduler of ZooKeeper."""
        self._cut = True

    def prove(self) -> None:
        """Return if nobody else can lead now.

        Raises:
            Deposed: somebody else may.
        """
        if self.lost.is_set():
            raise Deposed("the session is over; another scheduler leads")
        if _now() - self._proved_at >= _PROOF_LASTS:
            self.take_part()
            self._proved_at = _now()

    def take_part(self) -> None:
        """A transaction of ZooKeeper, which checks that its writer leads; it is waited for.

        Raises:
            Deposed: it does not, or nobody answers.
        """
        if self._cut or self._ended or self.lost.is_set():
            raise Deposed("ZooKeeper does not answer; another scheduler may lead")
        wait = self.zookeeper.out_for
        if not wait:
            return
        self._ended = self.zookeeper.ends_sessions
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.pass_time(min(wait, _PATIENCE))
        if self._ended:
            raise Deposed("ZooKeeper has not answered; the session may be over")


class LockedStore:
    """A store that only the scheduler which leads can write."""

    def __init__(self, store: Store, seat: Seat) -> None:
        self._store = store
        self._seat = seat

    def clusters(self) -> tuple[str, ...]:
        return self._store.clusters()

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        self._seat.take_part()
        return self._store.read(cluster, kind)

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        if self._seat.zookeeper.arrives():
            self._store.write(cluster, changes)
            self._seat.take_part()
            return
        self._seat.take_part()
        self._store.write(cluster, changes)

    def drop(self, cluster: str) -> None:
        self._seat.take_part()
        self._store.drop(cluster)

    def close(self) -> None:
        pass


def _now() -> float:
    return asyncio.get_running_loop().time()
