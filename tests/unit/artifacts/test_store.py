"""Content stays under its sum, changes are noticed, and two runs do not spoil each other."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kubedcos.artifacts.manifest import Manifest
from kubedcos.artifacts.store import Store, disk_errors, sha256_of
from kubedcos.errors import KubedcosError

from .conftest import sha


def put(store: Store, manifest: Manifest, content: bytes) -> Path:
    artifact = manifest.all[0]
    with store.work("test") as work:
        (work / "file").write_bytes(content)
        digest = store.add(work / "file", artifact.filename, executable=True)
    store.remember(artifact, digest, "go")
    return store.path(digest, artifact.filename)


def test_content_lies_under_its_sum_and_can_run(store: Store, manifest: Manifest) -> None:
    path = put(store, manifest, b"one")
    assert path == store.root / "sha256" / sha(b"one") / "etcd"
    assert path.stat().st_mode & 0o777 == 0o755
    record = store.recall(manifest.all[0])
    assert record is not None
    assert store.file(record) == path


def test_a_touched_file_is_not_trusted(store: Store, manifest: Manifest) -> None:
    path = put(store, manifest, b"one")
    os.utime(path, (1, 1))
    assert store.recall(manifest.all[0]) is None


def test_replaced_content_is_removed(store: Store, manifest: Manifest) -> None:
    first = put(store, manifest, b"one")
    second = put(store, manifest, b"two")
    assert not first.parent.exists()
    assert second.read_bytes() == b"two"


def test_forgotten_content_is_gone(store: Store, manifest: Manifest) -> None:
    path = put(store, manifest, b"one")
    store.forget(manifest.all[0])
    assert not path.exists()
    assert store.recall(manifest.all[0]) is None


def test_a_broken_record_is_no_record(store: Store, manifest: Manifest) -> None:
    put(store, manifest, b"one")
    (store.root / "records" / "etcd-3.6.16.json").write_text("{half")
    assert store.recall(manifest.all[0]) is None


def test_work_leaves_nothing_behind_when_it_fails(store: Store) -> None:
    def fail() -> None:
        with store.work("x") as work:
            (work / "half").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((store.root / "work").iterdir()) == []


def test_what_a_killed_run_left_is_removed_but_not_what_a_living_one_uses(store: Store) -> None:
    left = store.root / "work" / "left-1"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    os.utime(left, (1, 1))
    with store.work("living") as living:
        assert not left.exists()
        os.utime(living, (1, 1))
        with store.work("other"):
            assert living.exists()


HOLDER = """
import sys
from pathlib import Path
from kubedcos.artifacts.store import Store
with Store(Path(sys.argv[1])).lock("thing"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(store: Store):  # type: ignore[no-untyped-def]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_lock_waits_for_another_process_and_says_so(store: Store, holder) -> None:  # type: ignore[no-untyped-def]
    waiting = threading.Event()
    got = threading.Event()

    def wait() -> None:
        with store.lock("thing", waiting.set):
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(60)
    assert not got.is_set()
    holder.kill()  # even a killed run gives the lock back
    assert got.wait(60)
    thread.join(60)


def test_lock_if_free_does_not_wait(store: Store, holder) -> None:  # type: ignore[no-untyped-def]
    with store.lock_if_free("thing") as held:
        assert not held
    with store.lock_if_free("other") as held:
        assert held


def test_shared_locks_share(store: Store) -> None:
    with (
        store.lock("caches", shared=True),
        store.lock("caches", shared=True),
        store.lock_if_free("caches") as held,
    ):
        assert not held


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(KubedcosError, match="No space left on device") as caught,
        disk_errors(tmp_path / "not" / "yet"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "MiB free" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cache_in_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "artifacts")
    with pytest.raises(KubedcosError, match="Not a directory"), store.lock("x"):
        pass


def test_other_errors_are_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "denied")


def test_sums_are_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file").startswith("ba7816bf8f01cfea")
