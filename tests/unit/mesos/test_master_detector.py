"""Where the masters are."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from kubedcos.errors import InvalidInput
from kubedcos.mesos import detector as module
from kubedcos.mesos.detector import ListDetector, NoMaster, ZooKeeperDetector, detector

# As a master of Apache Mesos wrote it.
NODE = (
    b'{"address":{"hostname":"m1","ip":"10.0.0.1","port":15071},"domain":{"fault_domain":'
    b'{"region":{"name":"dc-a"},"zone":{"name":"a1"}}},"hostname":"m1","id":"b983",'
    b'"ip":16777226,"pid":"master@10.0.0.1:15071","port":15071,"version":"1.12.0"}'
)


def test_a_list_is_rotated() -> None:
    found = detector("m1:5050, m2,m3:6000")
    assert isinstance(found, ListDetector)
    assert asyncio.run(found.masters()) == ("m1:5050", "m2:5050", "m3:6000")
    assert asyncio.run(found.masters()) == ("m2:5050", "m3:6000", "m1:5050")


@pytest.mark.parametrize("text", ["", "m1:x", "m1,,m2", ":5050", "m1:70000", "zk://h", "zk:///p"])
def test_nonsense_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"wanted (host:port,host:port or )?zk://"):
        detector(text)


def test_a_refusal_does_not_tell_the_password() -> None:
    with pytest.raises(InvalidInput) as caught:
        detector("zk://me:hunter2@h1")
    assert "hunter2" not in str(caught.value)


class FakeZooKeeper:
    """Stands in for kazoo's client: nodes by path."""

    made: ClassVar[list[dict[str, Any]]] = []
    nodes: ClassVar[dict[str, bytes]] = {}

    def __init__(self, **settings: Any) -> None:
        self.made.append(settings)

    def start(self, timeout: float) -> None:
        pass

    def get_children(self, path: str) -> list[str]:
        return [name.removeprefix(path + "/") for name in self.nodes if name.startswith(path)]

    def get(self, path: str) -> tuple[bytes, None]:
        return self.nodes[path], None

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def zookeeper(monkeypatch: pytest.MonkeyPatch) -> type[FakeZooKeeper]:
    monkeypatch.setattr(module, "KazooClient", FakeZooKeeper)
    monkeypatch.setattr(FakeZooKeeper, "made", [])
    monkeypatch.setattr(FakeZooKeeper, "nodes", {})
    return FakeZooKeeper


def test_the_lowest_sequence_leads(zookeeper: type[FakeZooKeeper]) -> None:
    zookeeper.nodes = {
        "/mesos/json.info_0000000012": NODE.replace(b"10.0.0.1", b"10.0.0.2"),
        "/mesos/json.info_0000000009": NODE,
        "/mesos/log_replicas": b"",
    }
    found = detector("zk://me:hunter2@h1,h2:2182/mesos")
    assert isinstance(found, ZooKeeperDetector)
    assert asyncio.run(found.masters()) == ("10.0.0.1:15071", "10.0.0.2:15071")
    (settings,) = zookeeper.made
    assert settings["hosts"] == "h1:2181,h2:2182"
    assert settings["auth_data"] == [("digest", "me:hunter2")]


def test_no_master_is_said_so(zookeeper: type[FakeZooKeeper]) -> None:
    assert zookeeper.nodes == {}
    with pytest.raises(NoMaster, match="no master is registered"):
        asyncio.run(detector("zk://h1/mesos").masters())
