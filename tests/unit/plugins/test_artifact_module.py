"""The artefact module, run as Ansible runs it: a process with arguments on stdin."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.systemd_double import Systemd

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def install(run_module: Run) -> Run:
    def run(*artifacts: dict[str, Any], check: bool = False) -> dict[str, Any]:
        return run_module("kubedcos_artifact", artifacts=list(artifacts), retries=0, check=check)

    return run


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "served" / "coredns"
    path.parent.mkdir()
    path.write_bytes(b"\x7fELF something")
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "runtime.tar.gz"
    with tarfile.open(path, "w:gz") as sink:
        for name, content in {
            "pkg/bin/tool": b"#!/bin/sh\n",
            "pkg/lib/data": b"1",
            "pkg/doc/x": b"d",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            sink.addfile(member, io.BytesIO(content))
    return path


def file_item(source: Path, dest: Path, **more: Any) -> dict[str, Any]:
    owner = {"owner": "0", "group": "0"}
    return {
        "name": source.name,
        "url": source.as_uri(),
        "sha256": sha256(source),
        "dest": str(dest),
        **owner,
        **more,
    }


def test_file_is_installed_once_and_then_left_alone(
    install: Run, binary: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "opt" / "bin" / "coredns"
    item = file_item(binary, dest)
    assert install(item)["installed"] == {"coredns": "missing"}
    before = dest.stat()
    assert before.st_mode & 0o777 == 0o755
    again = install(item)
    assert again["changed"] is False
    assert dest.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in dest.parent.iterdir()] == ["coredns"]


def test_check_mode_announces_the_install_and_writes_nothing(
    install: Run, binary: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "opt" / "coredns"
    result = install(file_item(binary, dest), check=True)
    assert result["changed"] is True
    assert not dest.parent.exists()


def test_changed_file_and_changed_mode_are_repaired(
    install: Run, binary: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "coredns"
    item = file_item(binary, dest)
    install(item)
    dest.write_bytes(b"tampered")
    assert install(item)["installed"] == {"coredns": "other content"}
    dest.chmod(0o600)
    assert install(item)["attributes"] == [str(dest)]
    assert dest.stat().st_mode & 0o777 == 0o755


def test_wrong_sum_is_refused_with_both_sums_and_keeps_the_old_file(
    install: Run, binary: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "coredns"
    dest.write_bytes(b"old")
    expected = "0" * 64
    result = install(file_item(binary, dest, sha256=expected))
    assert result["failed"] is True
    assert expected in result["msg"]
    assert sha256(binary) in result["msg"]
    assert dest.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coredns", "served"]


def test_missing_artefact_names_the_address(install: Run, binary: Path, tmp_path: Path) -> None:
    item = file_item(binary, tmp_path / "x")
    binary.unlink()
    result = install(item)
    assert result["failed"] is True
    assert item["url"] in result["msg"]


def test_malformed_sum_is_refused(install: Run, binary: Path, tmp_path: Path) -> None:
    result = install(file_item(binary, tmp_path / "x", sha256="abc"))
    assert "64 hexadecimal digits" in result["msg"]


def test_archive_becomes_a_directory_with_links(
    install: Run, archive: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "opt" / "runtime-1"
    item = file_item(
        archive,
        dest,
        unpack=True,
        strip=1,
        include=["bin/*", "lib/*"],
        links={str(tmp_path / "opt" / "current"): "."},
    )
    first = install(item)
    assert first["changed"] is True
    assert (tmp_path / "opt" / "current" / "bin" / "tool").read_bytes() == b"#!/bin/sh\n"
    assert not (dest / "doc").exists()
    assert install(item)["changed"] is False


def test_changed_file_in_an_unpacked_tree_is_repaired(
    install: Run, archive: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "runtime"
    item = file_item(archive, dest, unpack=True, strip=1)
    install(item)
    (dest / "lib" / "data").write_bytes(b"other")
    assert install(item)["installed"] == {archive.name: "lib/data was changed"}
    assert (dest / "lib" / "data").read_bytes() == b"1"


def test_directory_with_foreign_files_is_refused(
    install: Run, archive: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "runtime"
    dest.mkdir()
    (dest / "precious").write_text("x")
    result = install(file_item(archive, dest, unpack=True))
    assert result["failed"] is True
    assert (dest / "precious").exists()


def test_archive_member_outside_of_the_directory_is_refused(install: Run, tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as sink:
        member = tarfile.TarInfo("../escaped")
        sink.addfile(member, io.BytesIO(b""))
    result = install(file_item(evil, tmp_path / "in" / "dest", unpack=True))
    assert "unsafe member" in result["msg"]
    assert not (tmp_path / "in" / "escaped").exists()


def test_something_else_in_place_of_a_link_is_refused(
    install: Run, binary: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").write_text("mine")
    item = file_item(binary, tmp_path / "coredns", links={str(tmp_path / "link"): "coredns"})
    assert "no symbolic link" in install(item)["msg"]


@pytest.fixture
def outdated(
    run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Function that installs for unit x, which runs, and says whether it is outdated then."""
    systemd = Systemd.install(tmp_path / "systemd", {"x": {}, "y": {"active": "failed"}})
    monkeypatch.setenv("PATH", f"{systemd.programs}{os.pathsep}{os.environ['PATH']}")
    notes = str(tmp_path / "notes")

    def run(item: dict[str, Any], **more: Any) -> list[str]:
        known = {**item, "read_by": ["x", "y"]}
        run_module("kubedcos_artifact", artifacts=[known], retries=0, notes=notes, **more)
        found = run_module("kubedcos_files", units=["x"], notes=notes)
        assert found["changed"] is False
        return list(found["outdated"])

    return run


def test_who_runs_another_file_than_the_one_that_is_installed_is_outdated(
    outdated: Callable[..., list[str]], binary: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "coredns"
    dest.write_bytes(b"old")
    dest.chmod(0o755)
    assert outdated(file_item(binary, dest, sha256="0" * 64)) == [], "it was refused"
    assert outdated(file_item(binary, dest), check=True) == []
    assert outdated(file_item(binary, dest)) == ["x"]
    assert outdated(file_item(binary, dest)) == ["x"]


def test_who_runs_an_earlier_installation_of_a_tree_is_outdated(
    install: Run, outdated: Callable[..., list[str]], archive: Path, tmp_path: Path
) -> None:
    def version(name: str) -> dict[str, Any]:
        links = {str(tmp_path / "current"): "."}
        return file_item(archive, tmp_path / name, unpack=True, strip=1, links=links)

    install(version("1"))
    assert outdated(version("1")) == []
    assert outdated(version("2")) == ["x"]
    assert outdated(version("1")) == [], "the link leads again to what it runs"
    (tmp_path / "1/lib/data").write_bytes(b"other")
    assert outdated(version("1")) == ["x"], "it may run what was repaired"


def test_program_and_configuration_come_before_the_unit_that_runs_them(
    run_module: Run, binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest, config = tmp_path / "coredns", tmp_path / "Corefile"
    reads = [str(dest), str(config)]
    stopped = {"active": "inactive", "at_boot": "disabled", "invocation": "", "reads": reads}
    systemd = Systemd.install(tmp_path / "systemd", {"x": stopped})
    monkeypatch.setenv("PATH", f"{systemd.programs}{os.pathsep}{os.environ['PATH']}")
    owner = {"owner": "0", "group": "0"}

    def call(text: str, **more: Any) -> dict[str, Any]:
        return run_module(
            "kubedcos_artifact",
            artifacts=[file_item(binary, dest, read_by=["x"])],
            files=[{"path": str(config), "content": text, **owner}],
            units=["x"],
            notes=str(tmp_path / "notes"),
            **more,
        )

    checked = call("one\n", check=True)
    assert (checked["changed"], checked["installed"]) == (True, {"coredns": "missing"})
    assert not dest.exists()
    assert not config.exists()
    assert systemd.unit("x")["active"] == "inactive"
    first = call("one\n")
    assert (first["enabled"], first["started"], first["outdated"]) == (["x"], ["x"], [])
    assert all(systemd.unit("x")["read"].values()), "it started before its files were there"
    assert call("one\n")["changed"] is False
    other = call("two\n")
    assert (other["paths"], other["started"], other["outdated"]) == ([str(config)], [], ["x"])
    dest.write_bytes(b"older")
    assert call("one\n")["outdated"] == ["x"], "the program was another one"


def test_a_program_that_can_not_be_had_leaves_its_configuration_as_it_is(
    run_module: Run, binary: Path, tmp_path: Path
) -> None:
    config = tmp_path / "Corefile"
    result = run_module(
        "kubedcos_artifact",
        artifacts=[file_item(binary, tmp_path / "coredns", sha256="0" * 64)],
        files=[{"path": str(config), "content": "new\n", "owner": "0", "group": "0"}],
        retries=0,
    )
    assert result["failed"] is True
    assert result["paths"] == []
    assert not config.exists()
