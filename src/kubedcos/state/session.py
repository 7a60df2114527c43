"""A session with ZooKeeper: which scheduler leads, what all of them share, and proof of both.

====================  ==========================================================================
``PATH/lock``         children are the schedulers in the order in which they came; the first leads.
                      Each goes with its scheduler's session, and names where it can be reached
``PATH/shared/NAME``  a value that whoever comes first makes and all use, for ever
====================  ==========================================================================

A scheduler may act only while ZooKeeper cannot have given its place away. The session ends a
timeout after ZooKeeper heard of it last; so whoever got an answer to a question has the place for
that long, counted from when it asked. `prove` asks anew when a third of the time has gone by. The
clock goes on while the machine sleeps, so that a program that was stopped for a minute asks before
it does anything else.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    AuthFailedError,
    CancelledError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry
from kazoo.security import make_digest_acl

from kubedcos.state.store import Deposed, StateError
from kubedcos.state.zookeeper import ZooKeeperStore

DEFAULT_TIMEOUT: Final = 6.0
"""Seconds: what remains of the 15 s for a takeover is for reading the state and for Mesos.
ZooKeeper itself grants no less than two of its ticks, which are 2 s each."""

_WORD_SECONDS: Final = 3.0
"""For the question who leads: who asks it does not wait for long."""
_DIGITS: Final = 10
_RECONNECT: Final = {"max_tries": -1, "max_delay": 2.0}
"""Without an end, for the session's end decides; kazoo's own pauses grow to a minute."""

_T = TypeVar("_T")


class ZooKeeperSession:
    """One scheduler among those that share `path`. All methods block, for `patience` at most.

    Args:
        hosts: ``host:port,…`` of ZooKeeper.
        path: of the installation, such as ``/kubedcos``.
        user: whose nodes they are, and alone may read them.
        password: of that user.
        url: where this scheduler's API is, for those who ask who leads.
        timeout: of the session, seconds.
        patience: seconds that one operation may take.
        on_lost: called once, from a thread of its own, when the session is over.
    """

    def __init__(
        self,
        hosts: str,
        path: str,
        user: str,
        password: str,
        url: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        patience: float = 10.0,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._hosts = hosts
        self._path = path
        self._timeout = timeout
        self._patience = patience
        self._on_lost = on_lost
        self._lost = threading.Event()
        self._closing = False
        self._doubt: threading.Timer | None = None
        self._proved_at = float("-inf")
        self._client = KazooClient(
            hosts=hosts,
            timeout=timeout,
            connection_retry=_RECONNECT,
            auth_data=[("digest", f"{user}:{password}")],
            default_acl=[make_digest_acl(user, password, all=True)],
        )
        self._lock = self._client.Lock(f"{path}/lock", json.dumps({"url": url}))

    def start(self) -> None:
        """Connect.

        Raises:
            StateError: ZooKeeper does not answer, or the nodes belong to somebody else.
        """
        self._client.add_listener(self._changed)
        self._guarded("start", lambda: self._client.start(timeout=self._patience))
        shared = f"{self._path}/shared"
        self._guarded("start", lambda: self._client.ensure_path(shared))
        # That a node exists everybody may know: only reading it needs the right password.
        self._guarded("start", lambda: self._client.get_children(shared))

    def once(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The value that all share under this name; who finds none makes it.

        Raises:
            StateError: ZooKeeper does not answer.
        """
        node = f"{self._path}/shared/{name}"

        def look() -> bytes:
            with contextlib.suppress(NoNodeError):
                return bytes(self._client.get(node)[0])
            with contextlib.suppress(NodeExistsError):
                self._client.create(node, make())
            return bytes(self._client.get(node)[0])

        retry = KazooRetry(max_tries=-1, max_delay=1.0, deadline=self._patience)
        return self._guarded("read", lambda: bytes(retry(look)))

    def lead(self, seconds: float | None = None) -> bool:
        """Wait until this scheduler leads; False when it was closed instead.

        Args:
            seconds: how long to wait; None for as long as it takes.

        Raises:
            StateError: ZooKeeper refuses, or time is over.
            Deposed: the session was lost meanwhile.
        """
        try:
            self._guarded("lead", lambda: self._lock.acquire(timeout=seconds))
        except StateError:
            if self._closing:
                return False
            raise
        if self._lost.is_set():
            raise self._deposed()
        self.prove()
        return True

    def store(self, **more: Any) -> ZooKeeperStore:
        """The store, for the one that leads; see `ZooKeeperStore`."""
        return ZooKeeperStore(self._client, self._path, self._fence, self._patience, **more)

    def leader(self) -> str:
        """Where the API of the scheduler that leads is; empty while none does, or nobody knows."""
        folder = f"{self._path}/lock"

        def ask(result: Any) -> Any:
            return result.get(timeout=_WORD_SECONDS)

        try:
            names = ask(self._client.get_children_async(folder))
            if not names:
                return ""
            # They end in a number that ZooKeeper counts up.
            first = min(names, key=lambda name: name[-_DIGITS:])
            return str(json.loads(ask(self._client.get_async(f"{folder}/{first}"))[0])["url"])
        except (KazooException, KazooTimeoutError, ValueError, KeyError, TypeError):
            return ""

    def prove(self) -> None:
        """Return if nobody else can lead now, and not before a third of the timeout has passed.

        Raises:
            Deposed: somebody else may.
        """
        if self._lost.is_set():
            raise self._deposed()
        if _now() - self._proved_at >= self._timeout / 3:
            self._ask()

    def close(self) -> None:
        """End the session: another scheduler can lead at once."""
        self._closing = True
        self._lock.cancel()
        if self._doubt is not None:
            self._doubt.cancel()
        self._client.stop()
        self._client.close()

    @property
    def _fence(self) -> str:
        return f"{self._path}/lock/{self._lock.node}"

    def _ask(self) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            asked = _now()
            try:
                found = self._client.exists_async(self._fence).get(timeout=self._patience)
            except ConnectionLoss as error:
                if time.monotonic() > deadline:
                    raise self._deposed() from error
                continue
            except (KazooException, KazooTimeoutError) as error:
                raise self._deposed() from error
            if found is None or found.ephemeralOwner != self._client.client_id[0]:
                raise self._deposed()
            if _now() - asked < self._timeout / 3:
                self._proved_at = asked
                return

    def _deposed(self) -> Deposed:
        return Deposed(
            f"ZooKeeper {self._path}: the session may be over, and another scheduler may lead"
        )

    def _changed(self, state: str) -> None:
        """Runs in kazoo's thread, which must not be held up."""
        if state == KazooState.CONNECTED:
            if self._doubt is not None:
                self._doubt.cancel()
                self._doubt = None
        elif state == KazooState.LOST:
            self._end()
        elif self._doubt is None and not self._closing:
            # kazoo tells of an expired session only when it reaches ZooKeeper again.
            self._doubt = threading.Timer(self._timeout, self._end)
            self._doubt.daemon = True
            self._doubt.start()

    def _end(self) -> None:
        if not self._closing and not self._lost.is_set():
            self._lost.set()
            self._on_lost()

    def _guarded(self, what: str, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except (NoAuthError, AuthFailedError) as error:
            raise StateError(
                f"ZooKeeper {self._path}: cannot {what}: no permission; wanted the password with"
                " which its nodes were made"
            ) from error
        except (KazooException, KazooTimeoutError, CancelledError) as error:
            said = str(error) or type(error).__name__
            raise StateError(
                f"ZooKeeper {self._hosts}{self._path}: cannot {what}: {said}"
            ) from error


def _now() -> float:
    """Seconds of a clock that also goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
