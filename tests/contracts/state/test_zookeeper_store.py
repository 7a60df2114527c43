"""The store in ZooKeeper: one writer, whole writes whatever happens, and nothing too large."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, NoAuthError
from tests.contracts.mesos.engine import wait_for
from tests.contracts.mesos.zookeeper import DebianZooKeeper, ZooKeeper
from tests.contracts.state.conftest import Sessions

from kubedcos.state import schema
from kubedcos.state import zookeeper as zookeeper_store
from kubedcos.state.schema import Documents
from kubedcos.state.session import ZooKeeperSession
from kubedcos.state.store import Change, Deposed, StateError
from kubedcos.state.zookeeper import ZooKeeperStore

LARGEST_PACKET = 0xFFFFF


def leading(sessions: Sessions) -> ZooKeeperSession:
    session = sessions()
    assert session.lead()
    return session


@pytest.fixture
def raw(zookeeper: ZooKeeper) -> Iterator[Any]:
    """A client of ZooKeeper with the store's password."""
    client = KazooClient(zookeeper.address, auth_data=[("digest", "kubedcos:secret")])
    client.start(10)
    yield client
    client.stop()
    client.close()


def expire(raw: Any, session: ZooKeeperSession) -> None:
    """What is left of a session that ZooKeeper has ended: its node is gone."""
    raw.delete(session._fence)


def test_who_was_deposed_cannot_write_even_before_it_hears_of_it(
    sessions: Sessions, raw: Any
) -> None:
    old, new = leading(sessions), sessions()
    store = old.store()
    store.write("k8s", [Change("task", "a", b"1")])
    expire(raw, old)
    assert new.lead()
    other = new.store()
    with pytest.raises(Deposed, match="does not lead any more"):
        store.write("k8s", [Change("task", "a", b"2")])
    assert other.read("k8s", "task") == {"a": b"1"}
    other.write("k8s", [Change("task", "b", b"3")])
    # It does nothing any more, whatever ZooKeeper would say.
    for act in (lambda: store.drop("k8s"), lambda: store.read("k8s", "task")):
        with pytest.raises(Deposed):
            act()
    assert new.store().read("k8s", "task") == {"a": b"1", "b": b"3"}


def test_who_was_deposed_cannot_write_a_batch(
    sessions: Sessions, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zookeeper_store, "MOST_TRANSACTION", 400)
    old, new = leading(sessions), sessions()
    store = old.store()
    expire(raw, old)
    with pytest.raises(Deposed):
        store.write("k8s", [Change("task", str(n), b"1") for n in range(20)])
    assert new.lead()
    assert new.store().clusters() == ()


class Fails:
    """A client that fails at one of its transactions: before it takes place, or after."""

    def __init__(self, client: Any, at: int, *, applied: bool, error: BaseException) -> None:
        self._client, self._left, self._applied, self._error = client, at, applied, error
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transaction(self) -> Any:
        request = self._client.transaction()
        commit = request.commit_async

        def commit_async() -> Any:
            self._left -= 1
            if self._left != 0:
                return commit()
            self.failed = True
            if self._applied:
                commit().get(timeout=5)
            raise self._error

        request.commit_async = commit_async
        return request


class Killed(BaseException):
    """The process ends here."""


BEFORE = {f"{number}": b"old" for number in range(8)}
AFTER = {f"{number}": b"new" for number in range(4, 20)}
CHANGES = [
    *(Change("task", key, None) for key in BEFORE if key not in AFTER),
    *(Change("task", key, value) for key, value in AFTER.items()),
]


def failing(session: ZooKeeperSession, at: int, *, applied: bool, error: BaseException) -> Any:
    client = Fails(session._client, at, applied=applied, error=error)
    return client, ZooKeeperStore(client, session._path, session._fence)


@pytest.mark.parametrize("applied", [False, True])
def test_killed_at_any_transaction_of_a_batch_all_of_it_holds_or_nothing(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, *, applied: bool
) -> None:
    monkeypatch.setattr(zookeeper_store, "MOST_TRANSACTION", 700)
    monkeypatch.setattr(zookeeper_store, "MOST_VALUE", 200)
    path = f"/killed-{applied}-{random.randrange(10**9)}"
    for at in range(1, 60):
        session = sessions(f"{path}-{at}")
        assert session.lead()
        session.store().write("k8s", [Change("task", k, v) for k, v in BEFORE.items()])
        client, store = failing(session, at, applied=applied, error=Killed())
        with contextlib.suppress(Killed):
            store.write("k8s", CHANGES)
        session.close()
        after = sessions(f"{path}-{at}")
        assert after.lead()
        found = after.store().read("k8s", "task")
        assert found in (BEFORE, AFTER), f"killed at transaction {at}"
        after.close()
        if not client.failed:
            assert at > 5, "a batch takes several transactions"
            break
    else:
        pytest.fail("it never came to the end")


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("most", [700, zookeeper_store.MOST_TRANSACTION])
def test_a_broken_connection_is_forgiven_at_every_transaction(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, most: int, *, applied: bool
) -> None:
    monkeypatch.setattr(zookeeper_store, "MOST_TRANSACTION", most)
    session = leading(sessions)
    for at in range(1, 60):
        session.store().drop("k8s")
        session.store().write("k8s", [Change("task", k, v) for k, v in BEFORE.items()])
        client, store = failing(session, at, applied=applied, error=ConnectionLoss())
        store.write("k8s", CHANGES)
        store.write("new", CHANGES)
        store.drop("new")
        assert session.store().read("k8s", "task") == AFTER
        assert session.store().clusters() == ("k8s",)
        if not client.failed:
            break
    else:
        pytest.fail("it never came to the end")


def documents(nodes: int) -> list[Change]:
    """What 5,000 nodes leave behind, as bytes that do not compress well."""
    source = random.Random(7)
    changes = []
    for node in range(nodes):
        for name in ("kubelet", "kube-proxy", "coredns"):
            changes.append(Change("task", f"kube-node-{node}/{name}", source.randbytes(500)))
            changes.append(Change("secret", f"grant-{node}-{name}", source.randbytes(500)))
        changes.append(Change("step", f"deploy/node/kube-node-{node}", source.randbytes(100)))
        changes.append(Change("agent", f"S{node}", source.randbytes(200)))
    return changes


def test_five_thousand_nodes_stay_below_the_limits_of_zookeeper(
    sessions: Sessions, raw: Any
) -> None:
    session = leading(sessions)
    store = session.store()
    wanted = documents(5000)
    store.write("k8s", wanted)
    folder = f"{session._path}/clusters/k8s"
    names = raw.get_children(folder)
    assert sum(len(name) + 4 for name in names) < LARGEST_PACKET / 10
    assert max(raw.exists(f"{folder}/{name}").dataLength for name in names) < LARGEST_PACKET / 10
    assert raw.get_children(f"{session._path}/batch") == []
    found = session.store()
    assert len(found.read("k8s", "task")) == 15_000
    assert found.read("k8s", "agent") == store.read("k8s", "agent")
    # Everything at once is as much as a cluster has: it goes again in one write, too.
    found.write("k8s", [Change(change.kind, change.key, b"x") for change in wanted])
    assert set(session.store().read("k8s", "task").values()) == {b"x"}


def test_a_document_that_no_node_can_hold_is_refused_and_named(sessions: Sessions) -> None:
    session = leading(sessions)
    store = session.store()
    store.write("k8s", [Change("task", "a", b"1")])
    huge = random.Random(1).randbytes(zookeeper_store.MOST_VALUE + 1)
    with pytest.raises(StateError, match="options options is too large"):
        store.write("k8s", [Change("task", "a", b"2"), Change("options", "options", huge)])
    assert store.read("k8s", "task") == {"a": b"1"}
    store.write("k8s", [Change("task", "a", b"3")])


def test_a_newer_schema_is_refused(sessions: Sessions, raw: Any) -> None:
    session = leading(sessions)
    session.store().write("k8s", [Change("task", "a", b"1")])
    newest = schema.newest()
    raw.set(f"{session._path}/schema", str(newest + 1).encode())
    said = f"schema version {newest + 1}; this kubedcos reads 1 to {newest}"
    with pytest.raises(StateError, match=said):
        session.store()


def _rename(documents: Documents) -> Sequence[Change]:
    return [
        change
        for (kind, key), value in documents.items()
        if kind == "task"
        for change in (Change("task", key, None), Change("job", key, value + b"!"))
    ]


def test_an_older_schema_is_brought_forward_once_whenever_that_is_interrupted(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zookeeper_store, "MOST_TRANSACTION", 400)
    session = leading(sessions)
    first = session.store(migrations=[])
    for cluster in ("one", "two"):
        first.write(cluster, [Change("task", str(n), b"1") for n in range(10)])
    for at in range(1, 60):
        client = Fails(session._client, at, applied=bool(at % 2), error=Killed())
        try:
            ZooKeeperStore(client, session._path, session._fence, migrations=[_rename])
        except Killed:
            continue
        break
    with pytest.raises(StateError, match="schema version 2; this kubedcos reads 1 to 1"):
        session.store(migrations=[])
    after = session.store(migrations=[_rename])
    for cluster in ("one", "two"):
        assert after.read(cluster, "task") == {}
        assert after.read(cluster, "job") == {str(n): b"1!" for n in range(10)}


@pytest.mark.parametrize("node", ["schema", "batch", "clusters/k8s"])
def test_damage_is_named(sessions: Sessions, raw: Any, node: str) -> None:
    session = leading(sessions)
    session.store().write("k8s", [Change("task", "a", b"1")])
    path = f"{session._path}/{node}"
    if node.startswith("clusters"):
        path += "/" + raw.get_children(path)[0]
    raw.set(path, b"damage")
    with pytest.raises(StateError, match=path):
        session.store()


def test_the_first_value_is_everybodys(sessions: Sessions) -> None:
    one, two = sessions(), sessions()
    assert one.once("token", lambda: b"first") == b"first"
    assert two.once("token", lambda: b"second") == b"first"


def test_who_has_not_the_password_reads_and_writes_nothing(
    sessions: Sessions, zookeeper: ZooKeeper
) -> None:
    if not isinstance(zookeeper, DebianZooKeeper):
        pytest.skip("the double knows no permissions")
    session = leading(sessions)
    session.store().write("k8s", [Change("task", "a", b"1")])
    session.once("token", lambda: b"value")
    stranger = KazooClient(zookeeper.address)
    stranger.start(10)
    try:
        for path in ("", "/schema", "/clusters", "/clusters/k8s", "/shared/token", "/lock"):
            with pytest.raises(NoAuthError):
                stranger.get(f"{session._path}{path}")
            with pytest.raises(NoAuthError):
                stranger.create(f"{session._path}{path}/mine")
    finally:
        stranger.stop()
        stranger.close()
    other = ZooKeeperSession(
        zookeeper.address, session._path, "kubedcos", "wrong", "https://x", patience=5
    )
    with pytest.raises(StateError, match="no permission; wanted the password"):
        other.start()
    other.close()


def test_the_next_in_line_leads_when_the_first_one_goes(sessions: Sessions) -> None:
    first, second = leading(sessions), sessions()
    assert second.leader() == "https://s0:8443"
    first.close()
    assert second.lead()
    assert second.leader() == "https://s1:8443"


def test_a_place_that_was_taken_cannot_be_proved(sessions: Sessions, raw: Any) -> None:
    session = leading(sessions)
    session.prove()
    expire(raw, session)

    def refused() -> bool:
        try:
            session.prove()
        except Deposed:
            return True
        return False

    # It was proved a moment ago, and that holds for a third of the session's timeout.
    wait_for(refused, "the proof is refused")
    with pytest.raises(Deposed):
        session.prove()


def test_a_session_that_ends_is_told(sessions: Sessions) -> None:
    told: list[bool] = []
    session = sessions(on_lost=lambda: told.append(True))
    assert session.lead()
    session._client._session_id = 12345  # what ZooKeeper does not know has expired
    session._client._connection._socket.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: bool(told), "the end of the session is told")
    with pytest.raises(Deposed):
        session.prove()
    assert told == [True]
