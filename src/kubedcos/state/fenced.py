"""ZooKeeper for the one that leads: nothing is written any more once another one may lead.

Each transaction begins with a check of the node by which its writer leads. That node goes with the
writer's session, and only then can another one lead: a leader that was deposed cannot write any
more, even if it has not heard of it yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.handlers.threading import KazooTimeoutError

from kubedcos.retry import again
from kubedcos.state.store import Deposed, StateError

_T = TypeVar("_T")


class FencedClient:
    """Reads and transactions of a leader. Blocks its caller.

    Args:
        client: a started `KazooClient`.
        where: what it is about, such as ``ZooKeeper /kubedcos``; errors begin with it.
        fence: node that exists as long as this program leads.
        patience: seconds that one operation may take, broken connections included.
    """

    def __init__(self, client: Any, where: str, fence: str, patience: float) -> None:
        self.where = where
        self._client = client
        self._fence = fence
        self._patience = patience
        self._ended = ""

    def check(self) -> None:
        """Return as long as this program may lead.

        Raises:
            Deposed: it may not, or an earlier operation's outcome is open.
        """
        if self._ended:
            raise Deposed(self._ended)

    def guarded(self, what: str, work: Callable[[], _T]) -> _T:
        """Work whose failure is told in our words; after one whose outcome is open, nothing goes.

        Raises:
            StateError: nothing was changed.
            Deposed: see `check`.
        """
        self.check()
        try:
            return work()
        except Deposed as error:
            self._ended = str(error)
            raise
        except (NoAuthError, AuthFailedError) as error:
            raise StateError(
                f"{self.where}: cannot {what} the state: no permission; wanted the password with"
                " which it was made"
            ) from error
        except (KazooException, KazooTimeoutError) as error:
            said = str(error) or type(error).__name__
            self._ended = f"{self.where}: cannot {what} the state: {said}"
            raise Deposed(self._ended) from error

    def again(self, work: Callable[[bool], _T]) -> _T:
        """Work that may be done twice; it is told whether it may have been done already.

        A member of ZooKeeper that restarts breaks the connection and keeps the session.
        """
        return again(work, seconds=self._patience, passing=ConnectionLoss)

    def sync(self, path: str) -> None:
        """See what was written before: the member that answers us may lag behind."""
        self._wait(self._client.sync_async(path))

    def value(self, path: str) -> bytes | None:
        """Value of a node; None when it is not there."""
        try:
            value: bytes = self.again(lambda _: self._wait(self._client.get_async(path)))[0]
        except NoNodeError:
            return None
        return value

    def values(self, folder: str, names: Iterable[str]) -> list[bytes]:
        """Values of nodes in a folder, all asked for at once."""

        def read(_tried: bool) -> list[bytes]:
            asked = [self._client.get_async(f"{folder}/{name}") for name in names]
            return [self._wait(one)[0] for one in asked]

        return self.again(read)

    def names(self, path: str) -> list[str]:
        """Names of a node's children, sorted; none when it is not there."""
        return sorted(self.again(lambda _: self.children(path)))

    def children(self, path: str) -> list[str]:
        """The same, within work that is done again as a whole."""
        try:
            names: list[str] = self._wait(self._client.get_children_async(path))
        except NoNodeError:
            return []
        return names

    def exists(self, path: str) -> bool:
        """Whether a node is there; within work that is done again as a whole."""
        return self._wait(self._client.exists_async(path)) is not None

    def transaction(self) -> Any:
        """A transaction that fails when this program does not lead."""
        request = self._client.transaction()
        # The node's value is never changed: that it exists is what counts.
        request.check(self._fence, 0)
        return request

    def commit(self, request: Any) -> list[Any]:
        """Carry out a `transaction`; what each of its operations gave, the check first.

        Raises:
            Deposed: this program does not lead any more.
            KazooException: of the operation that failed; none was carried out.
        """
        results: list[Any] = self._wait(request.commit_async())
        if isinstance(results[0], (NoNodeError, BadVersionError)):
            raise Deposed(f"{self.where}: this scheduler does not lead any more")
        errors = [result for result in results if isinstance(result, KazooException)]
        # Operations before and after the one that failed say only that another one did.
        own = [e for e in errors if not isinstance(e, (RolledBackError, RuntimeInconsistency))]
        if errors:
            raise (own or errors)[0]
        return results

    def _wait(self, result: Any) -> Any:
        return result.get(timeout=self._patience)
