"""Where the Mesos masters are: a list of addresses, or the nodes that they keep in ZooKeeper."""

from __future__ import annotations

import asyncio
from typing import Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.mesos.zookeeper import (
    PREFIX,
    ZooKeeperAddress,
    candidates,
    master_address,
    zookeeper_address,
)

DEFAULT_PORT = 5050


class NoMaster(KubedcosError):
    """No master could be found or reached; trying again later may help."""


class Detector(Protocol):
    """Finds masters."""

    async def masters(self) -> tuple[str, ...]:
        """``host:port`` of masters, the most likely leader first.

        Raises:
            NoMaster: nobody answered, or there is no leader.
        """
        ...


class ListDetector:
    """A fixed list of masters; each call begins with the next one."""

    def __init__(self, masters: tuple[str, ...]) -> None:
        self._masters = masters
        self._next = 0

    async def masters(self) -> tuple[str, ...]:
        """The list, rotated."""
        at = self._next % len(self._masters)
        self._next += 1
        return self._masters[at:] + self._masters[:at]


class ZooKeeperDetector:
    """Reads the masters' nodes; the lowest sequence number is the leader's."""

    def __init__(self, address: ZooKeeperAddress, timeout_seconds: float = 10.0) -> None:
        self._address = address
        self._timeout = timeout_seconds

    async def masters(self) -> tuple[str, ...]:
        """The leader, then the others in the order in which they would follow."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> tuple[str, ...]:
        address = self._address
        client = KazooClient(
            hosts=address.hosts, timeout=self._timeout, auth_data=address.auth_data
        )
        try:
            client.start(timeout=self._timeout)
            nodes = candidates(client.get_children(address.path))
            found = tuple(master_address(client.get(f"{address.path}/{name}")[0]) for name in nodes)
        except (KazooException, KazooTimeoutError, ValueError) as error:
            what = str(error) or type(error).__name__
            raise NoMaster(f"zk://{address.hosts}{address.path}: {what}") from error
        finally:
            client.stop()
            client.close()
        if not found:
            raise NoMaster(f"zk://{address.hosts}{address.path}: no master is registered")
        return found


def detector(masters: str) -> Detector:
    """The detector for ``host:port,…`` or ``zk://host:port,…/path``.

    Raises:
        InvalidInput: neither of the two forms.
    """
    if masters.startswith(PREFIX):
        return ZooKeeperDetector(zookeeper_address(masters))
    parts = tuple(part.strip() for part in masters.split(","))
    if not all(parts):
        raise _invalid(masters)
    return ListDetector(tuple(_with_port(part, masters) for part in parts))


def _with_port(part: str, text: str) -> str:
    host, colon, port = part.rpartition(":")
    if not colon:
        return f"{part}:{DEFAULT_PORT}"
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise _invalid(text)
    return part


def _invalid(text: str) -> InvalidInput:
    wanted = "host:port,host:port or zk://host:port,host:port/path"
    return InvalidInput([Problem("masters", text or "nothing", wanted, id="masters-address")])
