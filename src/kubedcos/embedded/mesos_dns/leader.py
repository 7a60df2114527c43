"""Whom to ask for the state: the list of masters, and ZooKeeper where it is configured.

Mesos masters register as children ``json.info_NNNNNNNNNN`` of the path; the lowest number leads.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.protocol.states import KazooState, WatchedEvent

PREFIX = "json.info_"


@dataclass(frozen=True, slots=True)
class ZooKeeperUrl:
    """``zk://[user:password@]host:port,…/path`` taken apart; without a port it is 2181."""

    hosts: str
    path: str
    user: str = ""
    password: str = ""


def parse_url(url: str) -> ZooKeeperUrl:
    """Take a ``zk://`` address apart."""
    rest = url.removeprefix("zk://")
    credentials, at, place = rest.rpartition("@")
    hosts, _, path = (place if at else rest).partition("/")
    user, _, password = credentials.partition(":")
    with_ports = ",".join(h if ":" in h else f"{h}:2181" for h in hosts.split(","))
    return ZooKeeperUrl(with_ports, f"/{path.strip('/')}", user, password)


class MasterDetector:
    """Follows the masters in ZooKeeper from kazoo's threads; reads are safe from any thread."""

    def __init__(self, url: str, changed: Callable[[], None]) -> None:
        self._url = parse_url(url)
        self._changed = changed
        self._lock = threading.Lock()
        self._masters: tuple[str, ...] = ()
        auth = None
        if self._url.user:
            auth = [("digest", f"{self._url.user}:{self._url.password}")]
        self._client = KazooClient(hosts=self._url.hosts, auth_data=auth, read_only=False)

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
            children = self._client.get_children(self._url.path, watch=self._on_change)
        except NoNodeError:
            self._client.exists(self._url.path, watch=self._on_change)
            children = []
        masters = []
        for child in sorted(c for c in children if c.startswith(PREFIX)):
            try:
                data, _ = self._client.get(f"{self._url.path}/{child}")
            except NoNodeError:
                continue
            info = json.loads(data)
            address = info.get("address") or {}
            host = address.get("ip") or info.get("hostname")
            masters.append(f"{host}:{address.get('port') or info.get('port')}")
        with self._lock:
            self._masters = tuple(masters)
        self._changed()

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._client.handler.spawn(lambda: self._client.retry(self._read))

    def _on_change(self, event: WatchedEvent) -> None:
        self._client.handler.spawn(lambda: self._client.retry(self._read, event))
