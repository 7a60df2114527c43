"""The ZooKeeper detector against a client that the test plays."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kazoo.exceptions import NoNodeError

from kubedcos.embedded.agent import detector
from kubedcos.embedded.agent.detector import Master, ZooKeeperDetector


class FakeZooKeeper:
    """Nodes below one path, and the watches that were set on it."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.nodes: dict[str, bytes] | None = None
        self.watches: list[Callable[[object], None]] = []
        self.handler = SimpleNamespace(spawn=lambda work: work())
        self.listener: Callable[[str], None] = lambda _state: None

    def add_listener(self, listener: Callable[[str], None]) -> None:
        self.listener = listener

    def start_async(self) -> None:
        pass

    def get_children(self, path: str, watch: Any) -> list[str]:
        assert path == "/mesos"
        if self.nodes is None:
            raise NoNodeError
        self.watches.append(watch)
        return list(self.nodes)

    def exists(self, _path: str, watch: Any) -> None:
        self.watches.append(watch)

    def get(self, path: str) -> tuple[bytes, None]:
        assert self.nodes is not None
        return self.nodes[path.rpartition("/")[2]], None

    def change(self, nodes: dict[str, int] | None) -> None:
        self.nodes = None
        if nodes is not None:
            self.nodes = {
                name: json.dumps({"address": {"ip": f"10.0.0.{host}", "port": 5050}}).encode()
                for name, host in nodes.items()
            }
        watches, self.watches = self.watches, []
        for watch in watches:
            watch(None)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_it_follows_the_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeZooKeeper] = []

    def make(**settings: Any) -> FakeZooKeeper:
        made.append(FakeZooKeeper(**settings))
        return made[-1]

    monkeypatch.setattr("kazoo.client.KazooClient", make)

    async def story() -> None:
        followed = ZooKeeperDetector("zk://u:p@a:1,b:2/mesos", 10)
        await followed.start()
        (zookeeper,) = made
        assert zookeeper.settings["hosts"] == "a:1,b:2"
        assert zookeeper.settings["auth_data"] == [("digest", "u:p")]
        waiting = asyncio.create_task(followed.leader())
        zookeeper.listener("CONNECTED")
        await asyncio.sleep(0)
        assert not waiting.done()
        zookeeper.change({"json.info_0000000007": 7, "json.info_0000000003": 3, "log_replicas": 1})
        first = await asyncio.wait_for(waiting, 60)
        assert first == Master("10.0.0.3", 5050)
        changed = asyncio.create_task(followed.changed(first))
        await asyncio.sleep(0)
        assert not changed.done()
        zookeeper.change({"json.info_0000000007": 7})
        await asyncio.wait_for(changed, 60)
        assert await followed.leader() == Master("10.0.0.7", 5050)
        await followed.stop()

    asyncio.run(story())


def test_a_fixed_master_never_changes() -> None:
    async def story() -> None:
        master = Master("h", 1)
        fixed = detector.FixedDetector(master)
        assert await fixed.leader() == master
        changed = asyncio.create_task(fixed.changed(master))
        await asyncio.sleep(0)
        assert not changed.done()
        changed.cancel()
        await asyncio.wait_for(fixed.changed(Master("other", 1)), 60)

    asyncio.run(story())
