"""Whom to ask for the state, where ZooKeeper is configured."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.protocol.states import KazooState, WatchedEvent

from kubedcos.mesos.zookeeper import candidates, master_address, zookeeper_address


class MasterDetector:
    """Follows the masters in ZooKeeper from kazoo's threads; reads are safe from any thread."""

    def __init__(self, url: str, changed: Callable[[], None]) -> None:
        self._address = zookeeper_address(url, "zk")
        self._changed = changed
        self._lock = threading.Lock()
        self._masters: tuple[str, ...] = ()
        self._client = KazooClient(hosts=self._address.hosts, auth_data=self._address.auth_data)

    @property
    def masters(self) -> tuple[str, ...]:
        """`host:port` of the masters, the leader first; empty while none is known."""
        with self._lock:
            return self._masters

    def start(self) -> None:
        """Connect in the background; ZooKeeper may come later."""
        # Each new connection, the first and one after a lost session alike, reads and watches anew.
        self._client.add_listener(self._on_state)
        self._client.start_async()

    def stop(self) -> None:
        """End the session."""
        self._client.stop()
        self._client.close()

    def _read(self, event: WatchedEvent | None = None) -> None:
        del event
        try:
            children = self._client.get_children(self._address.path, watch=self._on_change)
        except NoNodeError:
            self._client.exists(self._address.path, watch=self._on_change)
            children = []
        masters = []
        for child in candidates(children):
            try:
                data, _ = self._client.get(f"{self._address.path}/{child}")
            except NoNodeError:
                continue
            masters.append(master_address(data))
        with self._lock:
            self._masters = tuple(masters)
        self._changed()

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._client.handler.spawn(lambda: self._client.retry(self._read))

    def _on_change(self, event: WatchedEvent) -> None:
        self._client.handler.spawn(lambda: self._client.retry(self._read, event))
