"""Missing artefacts are obtained once, from the preferred source that has them, or not at all."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from tests.waiting import wait_until

from kubedcos.artifacts.build import Builder
from kubedcos.artifacts.download import Downloader, Unavailable
from kubedcos.artifacts.manifest import Artifact, Manifest, load
from kubedcos.artifacts.programs import ProgramFailed, environment, run
from kubedcos.artifacts.sources import SourceKind
from kubedcos.artifacts.store import ChecksumMismatch, Store
from kubedcos.errors import KubedcosError

from .conftest import IMAGE_SUM, RELEASED, FakeCompiler, MakeBuilder, Web, compiled, sha


@pytest.fixture
def lab(manifest: Manifest) -> tuple[Artifact, ...]:
    return manifest.chosen(manifest.choice())


def test_builds_what_is_missing_once(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler, store: Store
) -> None:
    first = make_builder().build(lab)
    assert [r.name for r in first.records] == ["etcd", "etcdctl", "kubelet", "image-etcd"]
    assert len(first.made) == 4
    assert first.compiled
    assert store.file(first.records[0]).read_bytes() == compiled("etcd.test/server/v3")
    second = make_builder().build(lab)
    assert second.made == ()
    assert not second.compiled
    assert second.records == first.records
    assert len(compiler.calls) == 2


def test_one_component_is_built_in_one_go(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler
) -> None:
    make_builder().build(lab)
    assert sorted(compiler.calls) == [
        ("etcd", ("etcd.test/etcdctl", "etcd.test/server/v3")),
        ("kubernetes-1.36.3", ("k8s.test/cmd/kubelet",)),
    ]


def test_a_mismatch_stops_with_both_sums_and_keeps_nothing(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler, store: Store
) -> None:
    compiler.content = lambda _: b"something else"
    with pytest.raises(ChecksumMismatch) as caught:
        make_builder().build([artifact for artifact in lab if artifact.component == "etcd"])
    assert sha(b"something else") in str(caught.value)
    assert sha(compiled("etcd.test/server/v3")) in str(caught.value)
    assert not (store.root / "sha256").exists()
    assert list((store.root / "work").iterdir()) == []


def test_an_interrupted_run_continues(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler, store: Store
) -> None:
    def interrupted(package: str) -> bytes:
        if "kubelet" in package:
            wait_until(lambda: all(store.recall(artifact) for artifact in lab[:2]))
            raise KeyboardInterrupt
        return compiled(package)

    compiler.content = interrupted
    with pytest.raises(KeyboardInterrupt):
        make_builder().build(lab)
    compiler.content = compiled
    compiler.calls.clear()
    outcome = make_builder().build(lab)
    assert "kubelet 1.36.3" in outcome.made
    assert [module for module, _ in compiler.calls] == ["kubernetes-1.36.3"]


def test_two_components_are_made_at_the_same_time(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler
) -> None:
    together = threading.Barrier(2, timeout=60)

    def content(package: str) -> bytes:
        if package in {"etcd.test/etcdctl", "k8s.test/cmd/kubelet"}:
            together.wait()
        return compiled(package)

    compiler.content = content
    assert len(make_builder().build(lab).made) == 4


def test_a_failure_ends_what_else_is_under_way(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def content(package: str) -> bytes:
        if "kubelet" in package:
            fifo.read_text()
            return b"something else"
        if "etcdctl" in package:
            run(
                ["sh", "-c", f"echo > {fifo}; exec sleep 600"],
                what="building etcd",
                cwd=tmp_path,
                env=environment(),
            )
        return compiled(package)

    compiler.content = content
    started = time.monotonic()
    with pytest.raises(ChecksumMismatch, match="kubelet"):
        make_builder().build(lab)
    assert time.monotonic() - started < 60


def test_two_runs_at_once_build_once(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler
) -> None:
    outcomes = []
    builders = [make_builder(), make_builder()]
    barrier = threading.Barrier(2)

    def run(builder: Builder) -> None:
        barrier.wait(60)
        outcomes.append(builder.build(lab))

    threads = [threading.Thread(target=run, args=(builder,)) for builder in builders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes[0].records == outcomes[1].records
    assert len(outcomes[0].made) + len(outcomes[1].made) == 4
    assert len(compiler.calls) == 2


def test_spoilt_content_is_made_again(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], store: Store
) -> None:
    outcome = make_builder().build(lab)
    store.file(outcome.records[1]).write_bytes(b"spoilt")
    again = make_builder().build(lab)
    assert again.made == ("etcdctl 3.6.16",)
    assert store.file(again.records[1]).read_bytes() == compiled("etcd.test/etcdctl")


def test_a_new_sum_in_the_manifest_makes_the_old_content_worthless(
    make_builder: MakeBuilder, manifest: Manifest, compiler: FakeCompiler
) -> None:
    make_builder().build(manifest.all[:2])
    old, new = sha(compiled("etcd.test/etcdctl")), sha(b"newer")
    manifest.path.write_text(manifest.path.read_text().replace(old, new))
    changed = load(manifest.path)
    assert make_builder(of=changed).present(changed.all[1]) is None
    compiler.content = lambda _: b"newer"
    outcome = make_builder(of=changed).build(changed.all[:2])
    assert outcome.made == ("etcdctl 3.6.16",)


def test_content_without_a_record_is_hashed_instead_of_built(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], store: Store, compiler: FakeCompiler
) -> None:
    make_builder().build(lab)
    for record in (store.root / "records").iterdir():
        record.unlink()
    again = make_builder().build(lab)
    assert again.made == ("image-etcd 1",)
    assert len(compiler.calls) == 2


def test_preferred_source_first_and_a_release_keeps_its_own_sum(
    make_builder: MakeBuilder, manifest: Manifest, web: Web, store: Store, compiler: FakeCompiler
) -> None:
    web.files["https://releases.test/3.6.16/etcd"] = RELEASED
    order = (SourceKind.RELEASE, SourceKind.GO)
    outcome = make_builder(order).build(manifest.all[:2])
    assert [record.source for record in outcome.records] == ["release", "go"]
    assert outcome.records[0].sha256 == sha(RELEASED)
    assert compiler.calls == [("etcd", ("etcd.test/etcdctl",))]
    assert make_builder(order).build(manifest.all[:2]).made == ()


def test_releases_are_left_out_unless_asked_for(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], web: Web
) -> None:
    make_builder().build(lab)
    assert web.asked == []


def test_a_wrong_release_stops(make_builder: MakeBuilder, manifest: Manifest, web: Web) -> None:
    web.files["https://releases.test/3.6.16/etcd"] = b"tampered"
    with pytest.raises(ChecksumMismatch, match=sha(b"tampered")):
        make_builder((SourceKind.RELEASE, SourceKind.GO)).build(manifest.all[:1])


def test_a_dead_host_is_asked_once(
    make_builder: MakeBuilder, manifest: Manifest, web: Web, manifest_text: str
) -> None:
    web.dead.add("mirror.test")
    order = (SourceKind.MIRROR, SourceKind.GO)
    outcome = make_builder(order, "http://mirror.test").build(manifest.all[:3])
    assert len(outcome.made) == 3
    assert len(web.asked) == 1


def test_a_download_that_was_stopped_leaves_nothing(web: Web, tmp_path: Path) -> None:
    web.files["https://releases.test/etcd"] = RELEASED
    downloader = Downloader(web.client())
    downloader.stop()
    with pytest.raises(Unavailable, match="stopped"):
        downloader.fetch("https://releases.test/etcd", tmp_path / "etcd", sha(RELEASED))


def test_the_mirror_is_asked_by_sum(
    make_builder: MakeBuilder, manifest: Manifest, web: Web, compiler: FakeCompiler
) -> None:
    content = compiled("etcd.test/server/v3")
    url = f"http://mirror.test/artifacts/sha256/{sha(content)}/etcd"
    web.files[url] = content
    outcome = make_builder(None, "http://mirror.test/").build(manifest.all[:1])
    assert outcome.records[0].sha256 == sha(content)
    assert web.asked == [url]
    assert compiler.calls == []


def test_without_any_source_each_reason_is_named(
    make_builder: MakeBuilder, manifest: Manifest, web: Web
) -> None:
    order = (SourceKind.RELEASE, SourceKind.MIRROR)
    with pytest.raises(KubedcosError) as caught:
        make_builder(order).build([manifest.all[1]])
    text = str(caught.value)
    assert "etcdctl 3.6.16: no source could give it" in text
    assert "the manifest has no sum for it" in text
    assert "--mirror" in text


def test_a_failed_build_is_a_reason(
    make_builder: MakeBuilder, manifest: Manifest, compiler: FakeCompiler
) -> None:
    def fail(package: str) -> bytes:
        raise ProgramFailed("building etcd failed: the network does not answer (dial tcp)")

    compiler.content = fail
    with pytest.raises(KubedcosError, match="the network does not answer"):
        make_builder().build(manifest.all[:1])


def test_an_unpinned_build_is_refused_with_its_sum(
    make_builder: MakeBuilder, manifest: Manifest
) -> None:
    unpinned = next(a for a in manifest.all if a.label == "kubelet 1.35.4")
    with pytest.raises(ChecksumMismatch, match="none in the manifest") as caught:
        make_builder().build([unpinned])
    assert sha(compiled("k8s.test/cmd/kubelet")) in str(caught.value)


def test_images_are_pinned_and_follow_their_parts(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], web: Web, manifest: Manifest
) -> None:
    image = make_builder().build(lab).records[3]
    assert image.sha256 == IMAGE_SUM
    assert image.digest.startswith("sha256:")
    (manifest.data / "images" / "note.txt").write_text("another note\n")
    with pytest.raises(ChecksumMismatch, match=IMAGE_SUM):
        make_builder().build(lab)


def test_an_image_of_a_release_is_not_held_to_the_sum_of_our_build(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], web: Web
) -> None:
    web.files["https://releases.test/3.6.16/etcd"] = RELEASED
    order = (SourceKind.RELEASE, SourceKind.GO, SourceKind.IMAGE)
    outcome = make_builder(order).build(lab)
    assert outcome.records[3].sha256 != IMAGE_SUM
    assert make_builder(order).build(lab).made == ()


def test_a_mirrored_image_is_not_made_again(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], web: Web, store: Store
) -> None:
    first = make_builder().build(lab)
    content = store.file(first.records[3]).read_bytes()
    web.files[f"http://m.test/artifacts/sha256/{IMAGE_SUM}/image-etcd-1.tar"] = content
    store.forget(lab[3])
    second = make_builder(None, "http://m.test").build(lab)
    assert second.made == ("image-etcd 1",)
    assert second.records[3].digest == first.records[3].digest
    assert make_builder().build(lab).made == ()


def test_nothing_but_the_chosen_version_is_built(
    make_builder: MakeBuilder, lab: tuple[Artifact, ...], compiler: FakeCompiler, tmp_path: Path
) -> None:
    make_builder().build(lab)
    assert "kubernetes-1.35.4" not in {module for module, _ in compiler.calls}
