"""`kubedcos artifacts`: answers on stdout, exit codes as documented."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kubedcos.artifacts import build as build_module
from kubedcos.artifacts.manifest import Manifest
from kubedcos.cli.artifacts import app
from kubedcos.errors import InvalidInput

from .conftest import FakeCompiler


@pytest.fixture
def run(
    manifest: Manifest, tmp_path: Path, compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch
):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("KUBEDCOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEDCOS_MANIFEST", str(manifest.path))
    monkeypatch.delenv("KUBEDCOS_ARTIFACT_SOURCES", raising=False)
    monkeypatch.delenv("KUBEDCOS_ARTIFACT_MIRROR", raising=False)
    monkeypatch.setattr(build_module, "GoToolchain", lambda *_: compiler)

    def call(*arguments: str):  # type: ignore[no-untyped-def]
        return CliRunner().invoke(app, list(arguments))

    handler = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, handler)


def test_build_then_nothing_to_do(run, compiler: FakeCompiler) -> None:  # type: ignore[no-untyped-def]
    first = run("build", "--json")
    assert first.exit_code == 0
    assert json.loads(first.stdout)["changed"] is True
    assert "artefacts 1-2 of 4  etcd 3.6.16 (etcd, etcdctl)" in first.stderr
    assert compiler.pruned == 1
    second = run("build", "--json")
    assert json.loads(second.stdout)["changed"] is False
    assert second.stderr == ""
    assert compiler.pruned == 1


def test_named_ones_only(run, compiler: FakeCompiler) -> None:  # type: ignore[no-untyped-def]
    answer = json.loads(run("build", "--json", "--keep-caches", "image-etcd").stdout)
    assert [a["name"] for a in answer["artifacts"]] == ["etcd", "image-etcd"]
    assert compiler.pruned == 0


def test_list_says_what_is_here(run) -> None:  # type: ignore[no-untyped-def]
    run("build", "etcd")
    answer = run("list", "--json")
    states = {(a["name"], a["version"]): a["state"] for a in json.loads(answer.stdout)}
    assert states["etcd", "3.6.16"] == "verified"
    assert states["kubelet", "1.36.3"] == "missing"
    table = run("list").stdout
    assert table.splitlines()[0].split() == [
        "NAME", "VERSION", "PLATFORM", "LICENCE", "SHA256", "SOURCES", "STATE",
    ]  # fmt: skip


def test_verify_tells_missing_from_spoilt(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert run("verify", "etcd").exit_code == 4
    built = json.loads(run("build", "--json", "etcd").stdout)
    assert run("verify", "etcd").exit_code == 0
    Path(built["artifacts"][0]["path"]).write_bytes(b"spoilt")
    assert run("verify", "etcd").exit_code == 1


def test_export_says_whether_it_changed(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first = json.loads(run("export", "--json", str(tmp_path / "www")).stdout)
    assert first["changed"]
    assert "artifacts/index.json" in first["added"]
    second = run("export", "--for", "lab", str(tmp_path / "www"))
    assert second.stdout == "unchanged\n"


def test_bundle_and_load(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    assert run("bundle", str(tmp_path / "b.tar")).exit_code == 0
    monkeypatch.setenv("KUBEDCOS_CACHE", str(tmp_path / "other"))
    assert "4 artefacts loaded" in run("load", str(tmp_path / "b.tar")).stdout
    assert run("verify").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("build", "zookeeper"), "found zookeeper; wanted one of etcd"),
        (("build", "--kubernetes", "1.30.0"), "wanted one of 1.36.3, 1.35.4"),
        (("build", "--sources", "go,pigeon"), "found pigeon; wanted one of release, mirror"),
        (("build", "--for", "moon"), "found moon"),
    ],
)
def test_wrong_input(run, arguments: tuple[str, ...], told: str) -> None:  # type: ignore[no-untyped-def]
    result = run(*arguments)
    assert isinstance(result.exception, InvalidInput)
    assert told in str(result.exception)


@pytest.mark.parametrize(
    "mirror", ["mirror.example", "ftp://mirror.example", "http://[", "http://"]
)
def test_a_mirror_that_is_no_address_is_refused(run, mirror: str) -> None:  # type: ignore[no-untyped-def]
    done = run("build", "--mirror", mirror)
    assert isinstance(done.exception, InvalidInput)
    assert f"--mirror: found {mirror!r}; wanted an address such as http" in str(done.exception)


def test_everything_that_is_printed_comes_as_json_too(run) -> None:  # type: ignore[no-untyped-def]
    assert json.loads(run("prune", "--json").stdout).keys() == {"freed"}
