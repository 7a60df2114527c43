"""What Mesos masters keep in ZooKeeper, and how its address is written.

Each master enters itself as a child ``json.info_NNNNNNNNNN`` of the path; the lowest number leads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from kubedcos.errors import InvalidInput, Problem

PREFIX = "zk://"
NODE_PREFIX = "json.info_"
_NODE = re.compile(re.escape(NODE_PREFIX) + r"\d{10}")
_PORT = 2181


@dataclass(frozen=True, slots=True)
class ZooKeeperAddress:
    """Parts of ``zk://[user:password@]host:port,…/path``; a port left out is 2181."""

    hosts: str
    path: str
    credentials: str = ""

    @property
    def auth_data(self) -> list[tuple[str, str]] | None:
        """The credentials as kazoo takes them."""
        return [("digest", self.credentials)] if self.credentials else None


def zookeeper_address(text: str, where: str = "masters") -> ZooKeeperAddress:
    """Take a ``zk://`` address apart.

    Raises:
        InvalidInput: not of that form; names `where` and does not show the password.
    """
    credentials, _, rest = text.removeprefix(PREFIX).rpartition("@")
    hosts, slash, path = rest.partition("/")
    names = hosts.split(",")
    if not text.startswith(PREFIX) or not slash or not path.strip("/") or not all(names):
        seen = text.replace(credentials, "…") if credentials else text
        wanted = "zk://host:port,host:port/path"
        raise InvalidInput([Problem(where, seen or "nothing", wanted, id="masters-address")])
    full = ",".join(name if ":" in name else f"{name}:{_PORT}" for name in names)
    return ZooKeeperAddress(full, "/" + path.strip("/"), credentials)


def candidates(children: Iterable[str]) -> list[str]:
    """Nodes of masters among `children`, the leader's first."""
    return sorted(filter(_NODE.fullmatch, children))


def master_address(info: bytes) -> str:
    """``host:port`` out of a master's node; the IP address is surer than the name.

    Raises:
        ValueError: not a MasterInfo, or one without an address.
    """
    master = json.loads(info)
    address = master.get("address") or {}
    host = address.get("ip") or address.get("hostname") or master.get("hostname")
    port = address.get("port") or master.get("port")
    if not host or not port:
        raise ValueError("MasterInfo without an address")
    return f"{host}:{port}"
