"""A file comes out of a Debian package; a replaced version falls back to the signed present one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kubedcos.artifacts import debian
from kubedcos.artifacts.download import Unavailable
from kubedcos.artifacts.manifest import Manifest, load
from kubedcos.artifacts.programs import ProgramFailed
from kubedcos.artifacts.store import ChecksumMismatch, Store
from kubedcos.errors import KubedcosError

from .conftest import MakeBuilder, sha

CONTENT = b"#!/bin/sh\necho runc\n"

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not here")


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr" / "sbin").mkdir(parents=True)
    (root / "usr" / "sbin" / "runc").write_bytes(CONTENT)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        "Package: runc\nVersion: 1:1.1-1\nArchitecture: amd64\n"
        "Maintainer: nobody <nobody@example.test>\nDescription: test\n"
    )
    target = tmp_path / "made.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", root, target], check=True, capture_output=True
    )
    return target


class Apt:
    """Stands for apt-get: has one version of one package."""

    def __init__(self, deb: Path, version: str) -> None:
        self.deb, self.version = deb, version
        self.asked: list[str] = []
        self.error = ""

    def __call__(self, arguments: list[object], *, what: str, cwd: Path, **_: object) -> str:
        wanted = str(arguments[-1])
        self.asked.append(wanted)
        if self.error:
            raise ProgramFailed(f"{what} failed: {self.error}")
        _, _, version = wanted.partition("=")
        if version not in {"", self.version}:
            raise ProgramFailed(f"{what} failed: E: Version '{version}' for 'runc' was not found")
        shutil.copy(self.deb, cwd / f"runc_{self.version.replace(':', '%3a')}_amd64.deb")
        return ""


MANIFEST = """
  - name: runc
    licence: Apache-2.0
    homepage: https://runc.test
    versions: {"VERSION": {}}
    sources: [{kind: debian, package: runc, member: usr/sbin/runc}]
    artifacts: [{name: runc, sha256: {"VERSION": {debian: SUM}}}]
"""


def with_runc(manifest: Manifest, version: str, digest: str) -> Manifest:
    text = manifest.path.read_text() + MANIFEST.replace("VERSION", version).replace("SUM", digest)
    manifest.path.write_text(text)
    return load(manifest.path)


@needs_dpkg
def test_the_pinned_version_is_held_to_its_sum(
    deb: Path, manifest: Manifest, make_builder: MakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "run", Apt(deb, "1:1.1-1"))
    good = with_runc(manifest, "1:1.1-1", sha(CONTENT))
    outcome = make_builder(of=good).build(good.all[-1:])
    assert outcome.records[0].sha256 == sha(CONTENT)
    assert make_builder(of=good).build(good.all[-1:]).made == ()


@needs_dpkg
def test_the_pinned_version_with_another_sum_stops(
    deb: Path, manifest: Manifest, make_builder: MakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "run", Apt(deb, "1:1.1-1"))
    bad = with_runc(manifest, "1:1.1-1", "a" * 64)
    with pytest.raises(ChecksumMismatch, match=sha(CONTENT)):
        make_builder(of=bad).build(bad.all[-1:])


@needs_dpkg
def test_a_point_release_is_taken_and_kept(
    deb: Path,
    manifest: Manifest,
    make_builder: MakeBuilder,
    monkeypatch: pytest.MonkeyPatch,
    store: Store,
) -> None:
    apt = Apt(deb, "1:1.1-1")
    monkeypatch.setattr(debian, "run", apt)
    older = with_runc(manifest, "1:1.0-1", "a" * 64)
    outcome = make_builder(of=older).build(older.all[-1:])
    assert apt.asked == ["runc=1:1.0-1", "runc"]
    assert outcome.records[0].inputs == "1:1.1-1"
    assert store.file(outcome.records[0]).read_bytes() == CONTENT
    assert make_builder(of=older).build(older.all[-1:]).made == ()


def test_no_package_lists_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = Apt(tmp_path, "1")
    apt.error = "E: Unable to locate package runc"
    monkeypatch.setattr(debian, "run", apt)
    with pytest.raises(Unavailable, match="apt-get update"):
        debian.download("runc", "1", tmp_path)


def test_a_network_failure_is_not_taken_for_a_missing_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = Apt(tmp_path, "1")
    apt.error = "the network does not answer (Temporary failure resolving)"
    monkeypatch.setattr(debian, "run", apt)
    with pytest.raises(ProgramFailed, match="the network does not answer"):
        debian.download("runc", "1", tmp_path)
    assert apt.asked == ["runc=1"]


@needs_dpkg
def test_a_missing_member_is_named(deb: Path, tmp_path: Path) -> None:
    with pytest.raises(KubedcosError, match="no file usr/bin/runc in it"):
        debian.extract(debian.Package(deb, "1"), "usr/bin/runc", tmp_path / "out")
