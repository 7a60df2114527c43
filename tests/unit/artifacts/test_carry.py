"""Export, bundle and verify: what leaves the store arrives as it was, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from kubedcos.artifacts.bundle import load_bundle, write_bundle
from kubedcos.artifacts.export import Pair, export_tree
from kubedcos.artifacts.manifest import Manifest
from kubedcos.artifacts.store import ChecksumMismatch, Store
from kubedcos.artifacts.verify import Verdict, verify
from kubedcos.errors import InvalidInput

from .conftest import FakeCompiler, MakeBuilder

CHOICE = {"kubernetes": "1.36.3"}


@pytest.fixture
def pairs(make_builder: MakeBuilder, manifest: Manifest) -> list[Pair]:
    artifacts = manifest.chosen(CHOICE)
    return list(zip(artifacts, make_builder().build(artifacts).records, strict=True))


def test_export_has_every_artifact_under_its_sum(
    store: Store, pairs: list[Pair], tmp_path: Path
) -> None:
    change = export_tree(store, pairs, CHOICE, tmp_path / "www")
    assert change
    index = json.loads((tmp_path / "www" / "artifacts" / "index.json").read_text())
    assert index["choice"] == CHOICE
    assert [entry["name"] for entry in index["artifacts"]] == [a.name for a, _ in pairs]
    for entry in index["artifacts"]:
        file = tmp_path / "www" / "artifacts" / entry["path"]
        assert file.stat().st_size == entry["size"]
        assert entry["path"] == f"sha256/{entry['sha256']}/{entry['filename']}"
    image = index["artifacts"][-1]
    assert image["reference"] == "registry.test/etcd:1"
    assert (tmp_path / "www" / "images" / image["filename"]).is_file()


def test_a_second_export_changes_nothing(store: Store, pairs: list[Pair], tmp_path: Path) -> None:
    export_tree(store, pairs, CHOICE, tmp_path / "www")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "www").rglob("*")}
    assert not export_tree(store, pairs, CHOICE, tmp_path / "www")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "www").rglob("*")} == before


def test_export_removes_what_is_no_longer_wanted_and_only_that(
    store: Store, pairs: list[Pair], tmp_path: Path
) -> None:
    root = tmp_path / "www"
    export_tree(store, pairs, CHOICE, root)
    (root / "index.html").write_text("not ours")
    change = export_tree(store, pairs[:1], CHOICE, root)
    assert len(change.removed) == 4  # two binaries, an image, and its second place
    assert (root / "index.html").exists()
    assert len(list((root / "artifacts" / "sha256").iterdir())) == 1


def test_a_file_besides_lies_under_its_sum_and_follows_its_content(
    store: Store, pairs: list[Pair], tmp_path: Path
) -> None:
    root = tmp_path / "www"
    first = export_tree(store, pairs, CHOICE, root, extras={"task": b"one"})
    assert f"artifacts/sha256/{hashlib.sha256(b'one').hexdigest()}/task" in first.added
    assert not export_tree(store, pairs, CHOICE, root, extras={"task": b"one"})
    second = export_tree(store, pairs, CHOICE, root, extras={"task": b"two"})
    assert [name.rpartition("/")[2] for name in (*second.added, *second.removed)] == ["task"] * 2
    assert [path.read_bytes() for path in root.rglob("task")] == [b"two"]


def test_a_bundle_fills_another_store(
    store: Store,
    pairs: list[Pair],
    manifest: Manifest,
    tmp_path: Path,
    make_builder: MakeBuilder,
    compiler: FakeCompiler,
) -> None:
    target = tmp_path / "out" / "bundle.tar"
    members = write_bundle(store, pairs, CHOICE, target)
    assert members[:2] == ["manifest.json", "SHA256SUMS"]
    other = Store(tmp_path / "other")
    records = load_bundle(other, manifest, target)
    assert [r.sha256 for r in records] == [r.sha256 for _, r in pairs]
    for record in records:
        assert other.file(record).read_bytes() == store.file(record).read_bytes()
    builder = make_builder()
    builder.store = other
    assert all(builder.present(artifact) for artifact, _ in pairs)


def test_a_bundle_can_be_checked_by_hand(store: Store, pairs: list[Pair], tmp_path: Path) -> None:
    write_bundle(store, pairs, CHOICE, tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as tar:
        tar.extractall(tmp_path / "b", filter="data")
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path / "b",
        check=True,
        capture_output=True,
    )


def test_debs_go_along(store: Store, pairs: list[Pair], tmp_path: Path) -> None:
    (tmp_path / "x_1_all.deb").write_bytes(b"deb")
    members = write_bundle(store, pairs, CHOICE, tmp_path / "b.tar", [tmp_path / "x_1_all.deb"])
    assert members[-1] == "debs/x_1_all.deb"


def test_a_spoilt_file_is_not_bundled(store: Store, pairs: list[Pair], tmp_path: Path) -> None:
    store.file(pairs[0][1]).write_bytes(b"spoilt")
    with pytest.raises(ChecksumMismatch):
        write_bundle(store, pairs, CHOICE, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_a_tampered_bundle_is_refused(
    store: Store, pairs: list[Pair], manifest: Manifest, tmp_path: Path
) -> None:
    write_bundle(store, pairs, CHOICE, tmp_path / "b.tar")
    content = store.file(pairs[0][1]).read_bytes()
    data = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(data.replace(content, content[::-1]))
    with pytest.raises(ChecksumMismatch):
        load_bundle(Store(tmp_path / "other"), manifest, tmp_path / "b.tar")


def test_a_bundle_with_its_own_idea_of_the_sums_is_refused(
    store: Store, pairs: list[Pair], manifest: Manifest, tmp_path: Path
) -> None:
    artifact = pairs[0][0]
    with store.work("evil") as work:
        (work / "f").write_bytes(b"evil")
        digest = store.add(work / "f", artifact.filename, executable=True)
    evil = store.remember(artifact, digest, "go")
    write_bundle(store, [(artifact, evil)], CHOICE, tmp_path / "b.tar")
    with pytest.raises(ChecksumMismatch, match=artifact.sha256):
        load_bundle(Store(tmp_path / "other"), manifest, tmp_path / "b.tar")


def test_what_is_no_bundle_is_an_input_error(
    store: Store, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "b.tar").write_bytes(b"x" * 2000)
    with pytest.raises(InvalidInput, match="a bundle of artefacts"):
        load_bundle(store, manifest, tmp_path / "b.tar")
    with pytest.raises(InvalidInput, match="a bundle of artefacts"):
        load_bundle(store, manifest, tmp_path / "missing.tar")


def test_verify_finds_the_spoilt_and_the_missing(
    store: Store, pairs: list[Pair], make_builder: MakeBuilder
) -> None:
    store.file(pairs[0][1]).write_bytes(b"spoilt")
    store.forget(pairs[1][0])
    findings = verify(store, [a for a, _ in pairs[:3]], make_builder().present)
    assert [f.verdict for f in findings] == [Verdict.SPOILT, Verdict.MISSING, Verdict.VERIFIED]
    assert findings[0].wanted == pairs[0][1].sha256
    assert findings[0].seen != findings[0].wanted
    assert not store.file(pairs[0][1]).exists()


def test_verify_sees_a_change_that_keeps_size_and_time(
    store: Store, pairs: list[Pair], make_builder: MakeBuilder
) -> None:
    artifact, record = pairs[0]
    file = store.file(record)
    info = file.stat()
    with file.open("r+b") as stream:
        stream.write(b"X")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert store.recall(artifact) is not None
    finding = verify(store, [artifact], make_builder().present)[0]
    assert finding.verdict is Verdict.SPOILT
