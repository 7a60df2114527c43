"""The registry in ZooKeeper, against a client that the test plays."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
)

from kubedcos.embedded.master import zookeeper_registry
from kubedcos.embedded.master.registry import Registry, RegistryLost
from kubedcos.embedded.master.zookeeper_registry import ZooKeeperStore
from kubedcos.errors import InvalidInput
from kubedcos.mesos.messages import AgentID, AgentInfo

INDEX = "/mesos/registry"


@dataclass
class Result:
    """What becomes of an operation; errors are told to whoever waits for it."""

    value: Any = None
    error: Exception | None = None

    def get(self, timeout: float) -> Any:
        assert timeout == 5.0
        if self.error is not None:
            raise self.error
        return self.value


class Tree:
    """Nodes, and operations that fail when they are told to.

    Attributes:
        failures: what the coming operations raise, by name; `applied` ones take effect before.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[bytes, int]] = {"/mesos": (b"", 0)}
        self.failures: list[tuple[str, Exception, bool]] = []
        self._sequence = 0

    def __getattr__(self, name: str) -> Any:
        work = getattr(self, "_" + name.removesuffix("_async"))

        def call(*arguments: Any, **more: Any) -> Result:
            failing = next((f for f in self.failures if f[0] == name), None)
            if failing is not None:
                self.failures.remove(failing)
            result = Result()
            if failing is None or failing[2]:
                try:
                    result = Result(work(*arguments, **more))
                except KazooException as error:
                    result = Result(error=error)
            return result if failing is None else Result(error=failing[1])

        return call

    def _create(self, path: str, data: bytes, *, acl: Any, sequence: bool = False) -> str:
        assert acl is None
        if sequence:
            path, self._sequence = f"{path}{self._sequence:010d}", self._sequence + 1
        if path in self.nodes:
            raise NodeExistsError
        self.nodes[path] = (data, 0)
        return path

    def _sync(self, path: str) -> str:
        return path

    def _get(self, path: str) -> Any:
        if path not in self.nodes:
            raise NoNodeError
        data, version = self.nodes[path]
        return data, SimpleNamespace(version=version)

    def _set(self, path: str, data: bytes, version: int) -> Any:
        if self.nodes[path][1] != version:
            raise BadVersionError
        self.nodes[path] = (data, version + 1)
        return SimpleNamespace(version=version + 1)

    def _get_children(self, path: str) -> list[str]:
        return [name.rpartition("/")[2] for name in self.nodes if name.startswith(path + "/")]

    def _delete(self, path: str) -> None:
        del self.nodes[path]


def store(tree: Tree) -> ZooKeeperStore:
    return ZooKeeperStore(tree, "/mesos", None, 5.0)


def registry(*names: str) -> Registry:
    return Registry(admitted=tuple(AgentInfo(name, id=AgentID(name)) for name in names))


def test_the_next_leader_reads_what_the_last_one_stored() -> None:
    tree = Tree()
    first = store(tree)
    assert first.load() == Registry()
    first.save(registry("a"))
    first.save(registry("a", "b"))
    assert store(tree).load() == registry("a", "b")
    assert len(tree.nodes) == 3


def test_a_deposed_leader_cannot_write_even_before_the_new_one_does() -> None:
    tree = Tree()
    old, new = store(tree), store(tree)
    old.load()
    old.save(registry("a"))
    assert new.load() == registry("a")
    with pytest.raises(RegistryLost, match="another master has taken it over"):
        old.save(registry("b"))
    new.save(registry("c"))
    assert store(tree).load() == registry("c")
    # What the deposed one left behind is cleared away.
    assert len(tree.nodes) == 3


def test_a_large_registry_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zookeeper_registry, "PART_SIZE", 100)
    tree = Tree()
    writer, large = store(tree), registry(*(f"agent-{number * 7919}" for number in range(200)))
    writer.load()
    writer.save(large)
    sizes = [len(data) for path, (data, _) in tree.nodes.items() if "part_" in path]
    assert len(sizes) > 3
    assert max(sizes) <= 100
    assert store(tree).load() == large


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("name", ["create_async", "set_async", "sync_async"])
def test_a_broken_connection_is_forgiven(name: str, applied: bool) -> None:
    tree = Tree()
    writer = store(tree)
    writer.load()
    writer.save(registry("a"))
    tree.failures = [(name, ConnectionLoss(), applied)]
    if name == "sync_async":
        tree.failures.append(("set_async", ConnectionLoss(), applied))
    writer.save(registry("b"))
    assert tree.failures == []
    writer.save(registry("c"))
    assert store(tree).load() == registry("c")


def test_who_wins_the_race_for_the_last_write_is_read() -> None:
    tree = Tree()
    old = store(tree)
    old.load()
    tree.failures = [("set_async", BadVersionError(), False)]
    new = store(tree)
    assert new.load() == Registry()
    new.save(registry("a"))


def test_an_expired_session_ends_the_leadership() -> None:
    tree = Tree()
    writer = store(tree)
    writer.load()
    tree.failures = [("set_async", SessionExpiredError(), False)]
    with pytest.raises(RegistryLost, match="SessionExpiredError"):
        writer.save(registry("a"))


def test_damage_is_named() -> None:
    tree = Tree()
    writer = store(tree)
    writer.load()
    writer.save(registry("a"))
    [part] = [path for path in tree.nodes if "part_" in path]
    tree.nodes[part] = (b"damaged", 0)
    with pytest.raises(InvalidInput, match=INDEX):
        store(tree).load()
    del tree.nodes[part]
    with pytest.raises(InvalidInput, match="NoNodeError"):
        store(tree).load()
