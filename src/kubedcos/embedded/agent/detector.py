"""Finding the leading master: a fixed address, or the lowest candidate in ZooKeeper."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Protocol

from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.zookeeper import PREFIX, candidates, master_address, zookeeper_address


@dataclass(frozen=True, slots=True)
class Master:
    """Where a master answers."""

    host: str
    port: int

    @classmethod
    def at(cls, address: str) -> Master:
        """The master at ``host:port``."""
        host, _, port = address.rpartition(":")
        return cls(host, int(port))

    @property
    def url(self) -> str:
        """Base of its URLs."""
        return f"http://{self.host}:{self.port}"


class Detector(Protocol):
    """Says who leads."""

    async def start(self) -> None:
        """Begin to look."""

    async def leader(self) -> Master:
        """The leader, as soon as there is one."""
        ...

    async def changed(self, known: Master) -> None:
        """Return when `known` does not lead any more."""

    async def stop(self) -> None:
        """Let go of whatever is held."""


def detector_of(master: str, session_timeout: float) -> Detector:
    """The detector for a `--master` flag: ``host:port`` or ``zk://[user:password@]hosts/path``.

    Raises:
        InvalidInput: neither of them.
    """
    if master.startswith(PREFIX):
        return ZooKeeperDetector(master, session_timeout)
    host, colon, port = master.strip().rpartition(":")
    if not colon or not port.isdigit() or not host:
        wanted = "host:port, zk://host:port,…/path or file:///path of a file that holds one"
        raise InvalidInput([Problem("flag --master", repr(master), wanted, "agent-master")])
    return FixedDetector(Master(host, int(port)))


class FixedDetector:
    """One master, for ever."""

    def __init__(self, master: Master) -> None:
        self._master = master

    async def start(self) -> None:
        """Nothing to begin."""

    async def leader(self) -> Master:
        """The only master."""
        return self._master

    async def changed(self, known: Master) -> None:
        """Return at once when another master was followed meanwhile, otherwise never."""
        if known == self._master:
            await asyncio.Event().wait()

    async def stop(self) -> None:
        """Nothing is held."""


class ZooKeeperDetector:
    """Follows the candidates in ZooKeeper, as Mesos' masters enter themselves there."""

    def __init__(self, url: str, session_timeout: float) -> None:
        self._address = zookeeper_address(url, "flag --master")
        self._timeout = session_timeout
        self._current: Master | None = None
        self._event = asyncio.Event()
        self._client: Any = None

    async def start(self) -> None:
        """Connect in the background; ZooKeeper may be away for as long as it likes."""
        from kazoo.client import KazooClient  # noqa: PLC0415  only needed with ZooKeeper

        self._loop = asyncio.get_running_loop()
        self._client = KazooClient(
            hosts=self._address.hosts,
            timeout=self._timeout,
            connection_retry={"max_tries": -1, "max_delay": 5.0},
            auth_data=self._address.auth_data,
        )
        self._client.add_listener(self._on_state)
        self._client.start_async()

    def _on_state(self, state: object) -> None:
        """Kazoo's thread: watches can only be set once the session stands."""
        if str(state) == "CONNECTED":
            self._client.handler.spawn(self._look)

    def _look(self, *_: object) -> None:
        from kazoo.exceptions import KazooException, NoNodeError  # noqa: PLC0415  as above

        try:
            try:
                children = self._client.get_children(self._address.path, watch=self._look)
            except NoNodeError:
                self._client.exists(self._address.path, watch=self._look)
                children = []
            master = None
            for name in candidates(children)[:1]:
                data, _ = self._client.get(f"{self._address.path}/{name}")
                master = Master.at(master_address(data))
        except (KazooException, ValueError):
            master = None
        self._loop.call_soon_threadsafe(self._set, master)

    def _set(self, master: Master | None) -> None:
        if master != self._current:
            self._current = master
            self._event.set()
            self._event = asyncio.Event()

    async def leader(self) -> Master:
        """Wait until somebody leads."""
        while self._current is None:
            await self._event.wait()
        return self._current

    async def changed(self, known: Master) -> None:
        """Wait until another one leads."""
        while self._current == known:
            await self._event.wait()

    async def stop(self) -> None:
        """End the session."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(self._client.stop)
                self._client.close()
