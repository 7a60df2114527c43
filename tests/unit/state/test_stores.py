"""What every store promises, and what the file adds."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubedcos.model.service import HealthCheckSpec
from kubedcos.state import documents, schema
from kubedcos.state.memory import MemoryStore
from kubedcos.state.schema import Documents
from kubedcos.state.sqlite import SqliteStore
from kubedcos.state.store import Change, StateError, Store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "s.db")
    yield made
    made.close()


def test_what_was_written_is_read(store: Store) -> None:
    store.write("k8s", [Change("task", "b", b"2"), Change("task", "a", b"1")])
    store.write("k8s", [Change("pod", "a", b"3")])
    assert store.read("k8s", "task") == {"a": b"1", "b": b"2"}
    assert list(store.read("k8s", "task")) == ["a", "b"]


def test_a_later_write_replaces_and_removes(store: Store) -> None:
    store.write("k8s", [Change("task", "a", b"1"), Change("task", "b", b"2")])
    store.write("k8s", [Change("task", "a", b"9"), Change("task", "b", None)])
    store.write("k8s", [Change("task", "never", None)])
    assert store.read("k8s", "task") == {"a": b"9"}


def test_clusters_do_not_see_each_other(store: Store) -> None:
    store.write("one", [Change("task", "a", b"1")])
    store.write("two", [Change("task", "a", b"2")])
    assert store.clusters() == ("one", "two")
    store.drop("one")
    assert store.clusters() == ("two",)
    assert store.read("one", "task") == {}
    assert store.read("two", "task") == {"a": b"2"}


def test_a_file_keeps_its_documents(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "s.db")
    first.write("k8s", [Change("task", "a", b"1")])
    first.close()
    second = SqliteStore(tmp_path / "s.db")
    assert second.read("k8s", "task") == {"a": b"1"}
    second.close()


def test_either_all_changes_are_written_or_none(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    store.write("k8s", [Change("task", "a", b"1")])
    broken = Change("task", "b", 1.5j)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="cannot write the state"):
        store.write("k8s", [Change("task", "a", b"9"), broken])
    assert store.read("k8s", "task") == {"a": b"1"}
    store.write("k8s", [Change("task", "c", b"3")])
    store.close()


def test_only_the_owner_may_read_the_file_and_its_logs(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "deep" / "s.db")
        store.write("k8s", [Change("task", "a", b"1")])
        modes = {
            file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "deep").iterdir()
        }
        assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700
    finally:
        os.umask(old)
    assert "s.db-wal" in modes
    assert set(modes.values()) == {0o600}
    store.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    newer = schema.newest() + 1
    SqliteStore(tmp_path / "s.db").close()
    other = sqlite3.connect(tmp_path / "s.db")
    other.execute(f"PRAGMA user_version = {newer}")
    other.close()
    with pytest.raises(StateError, match=f"schema version {newer}"):
        SqliteStore(tmp_path / "s.db")


def _rename(documents: Documents) -> Sequence[Change]:
    return [
        change
        for (kind, key), value in documents.items()
        if kind == "task"
        for change in (Change("task", key, None), Change("job", key, value))
    ]


def _mark(documents: Documents) -> Sequence[Change]:
    return [Change(kind, key, value + b"!") for (kind, key), value in documents.items()]


def test_an_older_schema_is_brought_forward_step_by_step(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "s.db", migrations=[])
    first.write("k8s", [Change("task", "a", b"1"), Change("pod", "b", b"2")])
    first.close()
    SqliteStore(tmp_path / "s.db", migrations=[_rename]).close()
    steps = [_rename, _mark]
    for _ in range(2):
        store = SqliteStore(tmp_path / "s.db", migrations=steps)
        assert store.read("k8s", "task") == {}
        assert store.read("k8s", "job") == {"a": b"1!"}
        assert store.read("k8s", "pod") == {"b": b"2!"}
        store.close()
    with pytest.raises(StateError, match="schema version 3; this kubedcos reads 1 to 2"):
        SqliteStore(tmp_path / "s.db", migrations=[_rename])


def test_a_step_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "s.db", migrations=[])
    first.write("k8s", [Change("task", "a", b"1")])
    first.close()

    def fail(_documents: Documents) -> Sequence[Change]:
        raise LookupError("no such thing")

    with pytest.raises(LookupError):
        SqliteStore(tmp_path / "s.db", migrations=[_rename, fail])
    store = SqliteStore(tmp_path / "s.db", migrations=[])
    assert store.read("k8s", "task") == {"a": b"1"}
    store.close()


def test_a_file_that_another_program_uses_is_refused(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "s.db")
    with pytest.raises(StateError, match="another program has"):
        SqliteStore(tmp_path / "s.db", wait_seconds=0.1)
    first.write("k8s", [Change("task", "a", b"1")])
    first.close()
    SqliteStore(tmp_path / "s.db", wait_seconds=0.1).close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("# not a database, but long enough to have a header\n" * 50)
    with pytest.raises(StateError, match=r"s\.db: cannot open the state"):
        SqliteStore(tmp_path / "s.db")


def test_a_killed_writer_leaves_whole_writes(tmp_path: Path) -> None:
    """Each write holds two documents with the same number; none may be read without the other."""
    program = (
        "import sys, itertools\n"
        "from pathlib import Path\n"
        "from kubedcos.state.sqlite import SqliteStore\n"
        "from kubedcos.state.store import Change\n"
        "store = SqliteStore(Path(sys.argv[1]))\n"
        "for n in itertools.count():\n"
        "    value = str(n).encode()\n"
        "    store.write('k', [Change('t', 'a', value), Change('t', 'b', value)])\n"
        "    if n == 50: print('going', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "s.db")], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"going\n"
        writer.kill()
    store = SqliteStore(tmp_path / "s.db")
    found = store.read("k", "t")
    assert int(found["a"]) >= 50
    assert found["a"] == found["b"]
    store.close()


def test_health_checks_of_the_first_version_are_http_checks_now(tmp_path: Path) -> None:
    check = {"grace_seconds": 420.0, "interval_seconds": 15.0}
    asks = "/usr/bin/python3 -I kubedcos-task check http"
    specs: dict[str, dict[str, Any]] = {
        "etcd-0/peer": {"command": f"{asks} http://127.0.0.1:2381/livez", **check},
        "kube-apiserver-0/instance": {"command": f"{asks} https://127.0.0.1:6443/livez", **check},
        "old-0/other": {"command": "true", **check},
    }
    with closing(SqliteStore(tmp_path / "s.db", migrations=[])) as store:
        for key, health in specs.items():
            spec = {"name": key.rpartition("/")[2], "kind": "etcd", "cpus": 0.2, "mem_mb": 1}
            spec |= {"disk_mb": 1, "cpu_is_limit": True, "health_check": health}
            record = {"task_id": key, "pod": key[: key.index("-0/")], "index": 0, "spec": spec}
            agent = {"id": "S0", "hostname": "a1"}
            value = msgspec.json.encode({**record, "agent": agent})
            store.write("k8s", [Change("task", key, value)])
    with closing(SqliteStore(tmp_path / "s.db")) as store:
        tasks = documents.load(store, "k8s").tasks
    assert tasks["etcd-0/peer"].spec.health_check == HealthCheckSpec(
        2381, "/livez", "http", **check
    )
    assert tasks["kube-apiserver-0/instance"].spec.health_check == HealthCheckSpec(
        6443, "/livez", "https", **check
    )
    assert tasks["old-0/other"].spec.health_check is None
