"""Where the Mesos masters are: a list of addresses, or the nodes that they keep in ZooKeeper."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import msgspec
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.mesos.messages import MasterInfo, decode

DEFAULT_PORT = 5050
_ZOOKEEPER_PORT = 2181
_NODE_PREFIX = "json.info_"


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


@dataclass(frozen=True, slots=True)
class ZooKeeperAddress:
    """Parts of ``zk://[user:password@]host:port,…/path``."""

    hosts: str
    path: str
    credentials: str = ""


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
        auth = [("digest", address.credentials)] if address.credentials else None
        client = KazooClient(hosts=address.hosts, timeout=self._timeout, auth_data=auth)
        try:
            client.start(timeout=self._timeout)
            children = client.get_children(address.path)
            nodes = sorted(name for name in children if name.startswith(_NODE_PREFIX))
            found = tuple(master_address(client.get(f"{address.path}/{name}")[0]) for name in nodes)
        except (KazooException, KazooTimeoutError, msgspec.MsgspecError) as error:
            what = str(error) or type(error).__name__
            raise NoMaster(f"zk://{address.hosts}{address.path}: {what}") from error
        finally:
            client.stop()
            client.close()
        if not found:
            raise NoMaster(f"zk://{address.hosts}{address.path}: no master is registered")
        return found


def master_address(info: bytes) -> str:
    """``host:port`` out of a master's node; the IP address is surer than the name.

    Raises:
        msgspec.MsgspecError: not a MasterInfo.
    """
    master = decode(info, MasterInfo)
    address = master.address
    if address is None:
        return f"{master.hostname}:{master.port}"
    return f"{address.ip or address.hostname}:{address.port}"


def detector(masters: str) -> Detector:
    """The detector for ``host:port,…`` or ``zk://host:port,…/path``.

    Raises:
        InvalidInput: neither of the two forms.
    """
    if masters.startswith("zk://"):
        return ZooKeeperDetector(_zookeeper_address(masters))
    parts = tuple(part.strip() for part in masters.split(","))
    if not all(parts):
        raise _invalid(masters)
    return ListDetector(tuple(_with_port(part, masters) for part in parts))


def _zookeeper_address(text: str) -> ZooKeeperAddress:
    rest = text.removeprefix("zk://")
    credentials, _, rest = rest.rpartition("@")
    hosts, slash, path = rest.partition("/")
    names = hosts.split(",")
    if not slash or not path.strip("/") or not all(names):
        raise _invalid(text.replace(credentials, "…") if credentials else text)
    full = ",".join(name if ":" in name else f"{name}:{_ZOOKEEPER_PORT}" for name in names)
    return ZooKeeperAddress(full, "/" + path.strip("/"), credentials)


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
