"""Who leads: the master with the lowest of the sequence nodes that Mesos uses in ZooKeeper."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import CREATOR_ALL_ACL, READ_ACL_UNSAFE

from kubedcos.embedded.master.zookeeper_registry import ZooKeeperStore
from kubedcos.embedded.protojson import encode_json
from kubedcos.mesos.messages import MasterInfo
from kubedcos.mesos.zookeeper import ZooKeeperAddress, candidates

_log = logging.getLogger(__name__)


class Election:
    """Takes part in the election and reports who leads.

    Args:
        address: parsed `--zk`.
        own: who this master is.
        session_timeout: seconds.
        on_leader: called in the event loop with the leader, or None while there is none.
        on_lost: called in the event loop when this master can no longer be sure of its place:
            the session has expired, or ZooKeeper was out of reach for as long.
    """

    def __init__(
        self,
        address: ZooKeeperAddress,
        own: MasterInfo,
        session_timeout: float,
        on_leader: Callable[[MasterInfo | None], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._address, self._own = address, own
        self._timeout = session_timeout
        self._on_leader, self._on_lost = on_leader, on_lost
        self._loop = asyncio.get_running_loop()
        self._doubt: asyncio.TimerHandle | None = None
        self._expired = False
        self._stopping = False
        self._work: set[asyncio.Task[None]] = set()
        self._client: Any = KazooClient(
            hosts=address.hosts, timeout=session_timeout, auth_data=address.auth_data
        )

    def registry(self, patience: float) -> ZooKeeperStore:
        """The registry below the masters' nodes, in this session; see `ZooKeeperStore`."""
        return ZooKeeperStore(self._client, self._address.path, self._acl(private=True), patience)

    async def start(self) -> None:
        """Connect and enter the election; waits for ZooKeeper as long as it takes."""
        await asyncio.to_thread(self._connect)
        await asyncio.to_thread(self._enter)
        await asyncio.to_thread(self._watch)

    async def stop(self) -> None:
        """Leave the election: the node goes at once, others need not wait for the timeout."""
        self._stopping = True
        if self._doubt is not None:
            self._doubt.cancel()
        await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        self._client.stop()
        self._client.close()

    def _acl(self, *, private: bool) -> Any:
        """Who may touch a node: with credentials its creator; others may read what is not private.

        Without credentials everybody may do everything.
        """
        if not self._address.credentials:
            return None
        return list(CREATOR_ALL_ACL if private else (*CREATOR_ALL_ACL, *READ_ACL_UNSAFE))

    def _connect(self) -> None:
        self._client.add_listener(self._session_changed)
        self._client.start(timeout=10**6)

    def _enter(self) -> None:
        acl = self._acl(private=False)
        self._client.ensure_path(self._address.path, acl=acl)
        self._client.create(
            f"{self._address.path}/json.info_",
            encode_json(self._own),
            acl=acl,
            ephemeral=True,
            sequence=True,
        )

    def _watch(self) -> None:
        self._client.ChildrenWatch(self._address.path)(self._members_changed)

    def _session_changed(self, session_state: str) -> None:
        # Runs in kazoo's thread.
        self._loop.call_soon_threadsafe(self._judge, session_state)

    def _judge(self, session_state: str) -> None:
        """Session states: CONNECTED, SUSPENDED (may heal), LOST (our node is gone)."""
        if self._stopping:
            return
        if session_state == "CONNECTED":
            if self._doubt is not None:
                self._doubt.cancel()
                self._doubt = None
            if self._expired:
                self._expired = False
                again = self._loop.create_task(asyncio.to_thread(self._enter))
                self._work.add(again)
                again.add_done_callback(self._work.discard)
        elif session_state == "LOST":
            self._expired = True
            self._on_lost()
        elif self._doubt is None:
            # kazoo tells of an expired session only when it reaches ZooKeeper again.
            self._doubt = self._loop.call_later(self._timeout, self._on_lost)

    def _members_changed(self, nodes: list[str]) -> None:
        leader = None
        for first in candidates(nodes)[:1]:
            try:
                data, _ = self._client.get(f"{self._address.path}/{first}")
                leader = msgspec.json.decode(data, type=MasterInfo)
            except NoNodeError:
                return  # gone meanwhile: the watch fires again
            except msgspec.DecodeError:
                _log.exception("node %s holds no MasterInfo", first)
        self._loop.call_soon_threadsafe(self._on_leader, leader)
