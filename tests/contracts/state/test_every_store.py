"""All stores are alike: whatever is done to them in whatever order, they hold the same."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from tests.contracts.mesos.zookeeper import ZooKeeper

from kubedcos.state import zookeeper as zookeeper_store
from kubedcos.state.memory import MemoryStore
from kubedcos.state.session import ZooKeeperSession
from kubedcos.state.sqlite import SqliteStore
from kubedcos.state.store import Change, Store

CLUSTERS = st.sampled_from(["one", "two"])
KINDS = st.sampled_from(["task", "pod"])
KEYS = st.sampled_from(["a", "b", "kube-node-3/kubelet", "ä/ö", ""])
VALUES = st.none() | st.binary(max_size=600)
CHANGES = st.lists(st.builds(Change, KINDS, KEYS, VALUES), max_size=6)

_numbers = itertools.count()


class Alike(RuleBasedStateMachine):
    """Each step is done to all stores; now and then each one is closed and opened by another."""

    address = ""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(mkdtemp(prefix="kubedcos-store-"))
        self.path = f"/alike-{next(_numbers)}"
        self.session: ZooKeeperSession | None = None
        self.model = MemoryStore()
        self.stores: list[Store] = []
        self.open()

    def open(self) -> None:
        self.session = ZooKeeperSession(self.address, self.path, "u", "p", "https://s")
        self.session.start()
        assert self.session.lead()
        self.stores = [SqliteStore(self.folder / "s.db"), self.session.store()]

    def close(self) -> None:
        for store in self.stores:
            store.close()
        if self.session is not None:
            self.session.close()

    @rule(cluster=CLUSTERS, changes=CHANGES)
    def write(self, cluster: str, changes: list[Change]) -> None:
        for store in (self.model, *self.stores):
            store.write(cluster, changes)

    @rule(cluster=CLUSTERS, size=st.integers(200, 5000))
    def write_more_than_fits(self, cluster: str, size: int) -> None:
        """Incompressible and many: a batch in ZooKeeper."""
        changes = [
            Change("task", f"t{number}", bytes((number * 7919 + at * at) % 256 for at in range(9)))
            for number in range(size % 97)
        ]
        for store in (self.model, *self.stores):
            store.write(cluster, changes)

    @rule(cluster=CLUSTERS)
    def drop(self, cluster: str) -> None:
        for store in (self.model, *self.stores):
            store.drop(cluster)

    @rule()
    def reopen(self) -> None:
        self.close()
        self.open()

    @rule()
    def compare(self) -> None:
        self.same()

    def same(self) -> None:
        for store in self.stores:
            assert store.clusters() == self.model.clusters()
            for cluster, kind in itertools.product(("one", "two"), ("task", "pod")):
                found = store.read(cluster, kind)
                assert found == self.model.read(cluster, kind)
                assert list(found) == sorted(found)

    def teardown(self) -> None:
        if getattr(self, "stores", None):
            self.same()
            self.close()
            self.open()
            self.same()
            self.close()


@pytest.mark.parametrize("transaction", [zookeeper_store.MOST_TRANSACTION, 900])
def test_all_stores_are_alike(
    zookeeper: ZooKeeper, transaction: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once as they are, and once with transactions so small that most writes become batches."""
    monkeypatch.setattr(zookeeper_store, "MOST_TRANSACTION", transaction)
    monkeypatch.setattr(Alike, "address", zookeeper.address)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Alike,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
