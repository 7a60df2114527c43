"""The module that keeps files writes only what differs, and says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]
OWNER = {"owner": str(os.getuid()), "group": str(os.getgid())}


def item(path: Path, content: str = "a\n", **more: Any) -> dict[str, Any]:
    return {"path": str(path), "content": content, **OWNER, **more}


def test_files_are_written_once(run_module: Run, tmp_path: Path) -> None:
    files = [item(tmp_path / "etc" / "one", mode="0640"), item(tmp_path / "etc" / "two")]
    first = run_module("kubedcos_files", files=files)
    assert first["paths"] == [str(tmp_path / "etc" / "one"), str(tmp_path / "etc" / "two")]
    assert (tmp_path / "etc" / "one").stat().st_mode & 0o777 == 0o640
    before = (tmp_path / "etc" / "one").stat().st_mtime_ns
    again = run_module("kubedcos_files", files=files)
    assert again["changed"] is False
    assert (tmp_path / "etc" / "one").stat().st_mtime_ns == before
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["one", "two"]


def test_check_mode_shows_the_difference_and_writes_nothing(
    run_module: Run, tmp_path: Path
) -> None:
    (tmp_path / "one").write_text("old\n")
    result = run_module("kubedcos_files", files=[item(tmp_path / "one", "new\n")], check=True)
    assert result["changed"] is True
    assert result["diff"][0]["before"] == "old\n"
    assert result["diff"][0]["after"] == "new\n"
    assert (tmp_path / "one").read_text() == "old\n"


def test_secrets_stay_out_of_the_difference(run_module: Run, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter1")
    result = run_module("kubedcos_files", files=[item(tmp_path / "key", "hunter2", secret=True)])
    assert "hunter" not in str(result)


def test_a_mode_that_drifted_is_a_change(run_module: Run, tmp_path: Path) -> None:
    run_module("kubedcos_files", files=[item(tmp_path / "one")])
    (tmp_path / "one").chmod(0o666)
    assert run_module("kubedcos_files", files=[item(tmp_path / "one")])["changed"] is True
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o644


def test_a_refused_file_leaves_the_old_one(run_module: Run, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("old\n")
    result = run_module(
        "kubedcos_files", files=[item(tmp_path / "one", "bad\n", validate=["grep", "good", "%s"])]
    )
    assert result["failed"] is True
    assert "grep" in result["msg"]
    assert (tmp_path / "one").read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_purge_removes_only_what_matches_and_is_not_listed(run_module: Run, tmp_path: Path) -> None:
    for name in ("10-old.conf", "10-kept.conf", "mine.txt"):
        (tmp_path / name).write_text("a\n")
    result = run_module(
        "kubedcos_files",
        files=[item(tmp_path / "10-kept.conf")],
        purge=[{"path": str(tmp_path), "patterns": ["10-*.conf"]}],
    )
    assert str(tmp_path / "10-old.conf") in result["paths"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10-kept.conf", "mine.txt"]


def test_purge_by_a_marker_leaves_what_does_not_say_that_it_is_ours(
    run_module: Run, tmp_path: Path
) -> None:
    root = tmp_path / "certs"
    for name, text in (("old", "# ours\na\n"), ("mixed", "# ours\n"), ("theirs", "# ours?\n")):
        (root / name).mkdir(parents=True)
        (root / name / "hosts.toml").write_text(text)
    (root / "mixed/ca.crt").touch()
    (root / "link").symlink_to("old")
    (root / "kept").symlink_to("theirs")
    purge = [{"path": str(root), "patterns": ["*/hosts.toml"], "marker": "# ours"}]
    checked = run_module("kubedcos_files", purge=purge, check=True)
    assert (root / "old/hosts.toml").exists()
    result = run_module("kubedcos_files", purge=purge)
    assert result["paths"] == [f"{root}/mixed/hosts.toml", f"{root}/old/hosts.toml"]
    assert checked["paths"] == result["paths"]
    assert not (root / "old").exists()
    assert (root / "mixed/ca.crt").exists()
    assert (root / "theirs/hosts.toml").exists()
    assert (root / "link").is_symlink()
    assert run_module("kubedcos_files", purge=purge)["changed"] is False


def test_absent_removes_files_and_refuses_directories(run_module: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert run_module("kubedcos_files", absent=[str(tmp_path / "file")])["changed"] is True
    assert run_module("kubedcos_files", absent=[str(tmp_path / "file")])["changed"] is False
    assert run_module("kubedcos_files", absent=[str(tmp_path / "folder")])["failed"] is True
    assert (tmp_path / "folder").is_dir()


def test_an_unknown_owner_is_named(run_module: Run, tmp_path: Path) -> None:
    result = run_module("kubedcos_files", files=[{**item(tmp_path / "x"), "owner": "nobody-such"}])
    assert "there is no user nobody-such" in result["msg"]
    assert not (tmp_path / "x").exists()


def test_a_part_of_a_file_leaves_the_rest_as_it_is(run_module: Run, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    part = {**item(path, "10.0.0.1 a\n10.0.0.2 b\n"), "marker": "# {mark} ours"}
    assert run_module("kubedcos_files", blocks=[part])["paths"] == [str(path)]
    assert path.read_text() == (
        "127.0.0.1 localhost\n# BEGIN ours\n10.0.0.1 a\n10.0.0.2 b\n# END ours\n"
    )
    assert run_module("kubedcos_files", blocks=[part])["changed"] is False
    path.write_text(path.read_text() + "10.9.9.9 added-below\n")
    assert run_module("kubedcos_files", blocks=[part])["changed"] is False
    assert run_module("kubedcos_files", blocks=[{**part, "content": "10.0.0.3 c\n"}])["changed"]
    assert path.read_text() == (
        "127.0.0.1 localhost\n# BEGIN ours\n10.0.0.3 c\n# END ours\n10.9.9.9 added-below\n"
    )


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A host with the units that the test names; returns what it was told to do."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    def install(*shown: str, fails: str = "nothing") -> list[str]:
        answer = "\n\n".join(shown)
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = show ]; then cat <<"END"\n{answer}\nEND\nexit; fi\n'
            f'echo "$@" >> {told}\n[ "$1" != {fails} ] || {{ echo refused >&2; exit 1; }}\n'
        )
        program.chmod(0o755)
        return told.read_text().splitlines() if told.exists() else []

    return install


def unit(load: str = "loaded", active: str = "active", at_boot: str = "enabled") -> str:
    return (
        f"Id=x.service\nLoadState={load}\nActiveState={active}\nUnitFileState={at_boot}\n"
        "NeedDaemonReload=no"
    )


def test_units_that_run_are_left_alone_even_when_their_files_changed(
    run_module: Run, tmp_path: Path, systemd: Callable[..., list[str]]
) -> None:
    systemd(unit(), unit())
    result = run_module("kubedcos_files", files=[item(tmp_path / "one")], units=["x", "y"])
    assert result["paths"] == [str(tmp_path / "one")]
    assert (result["started"], result["enabled"]) == ([], [])
    assert systemd() == []


def test_units_that_do_not_run_are_enabled_and_started(
    run_module: Run, systemd: Callable[..., list[str]]
) -> None:
    systemd(unit(active="inactive", at_boot="disabled"), unit(active="failed"))
    checked = run_module("kubedcos_files", units=["x", "y"], check=True)
    assert checked["changed"] is True
    result = run_module("kubedcos_files", units=["x", "y"])
    assert result["changed"] is True
    assert (result["started"], result["enabled"]) == (["x", "y"], ["x"])
    assert systemd() == ["enable x", "start x", "start y"]


def test_systemd_reads_unit_files_that_changed_before_it_starts_them(
    run_module: Run, systemd: Callable[..., list[str]]
) -> None:
    systemd(unit(active="inactive").replace("Reload=no", "Reload=yes"))
    run_module("kubedcos_files", units=["x"])
    assert systemd() == ["daemon-reload", "start x"]


def test_a_unit_that_does_not_start_is_named(
    run_module: Run, systemd: Callable[..., list[str]]
) -> None:
    systemd(unit(active="inactive"), fails="start")
    result = run_module("kubedcos_files", units=["x"])
    assert result["failed"] is True
    assert "systemctl start x: refused" in result["msg"]


def test_a_unit_that_systemd_does_not_know_is_refused(
    run_module: Run, systemd: Callable[..., list[str]]
) -> None:
    systemd(unit(load="not-found", active="inactive", at_boot=""))
    result = run_module("kubedcos_files", units=["x"])
    assert "x is not-found" in result["msg"]
    # In check mode what brings it may not be there yet.
    assert run_module("kubedcos_files", units=["x"], check=True)["started"] == ["x"]
    assert systemd() == ["daemon-reload"]
