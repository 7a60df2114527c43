"""The module that keeps files writes only what differs, and says so."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.systemd_double import Systemd

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
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Systemd]:
    """Function (**units) that gives the host a systemd with these units."""

    def install(**units: dict[str, Any]) -> Systemd:
        found = Systemd.install(tmp_path / "systemd", units)
        monkeypatch.setenv("PATH", f"{found.programs}{os.pathsep}{os.environ['PATH']}")
        return found

    return install


@pytest.fixture
def keep(run_module: Run, tmp_path: Path) -> Run:
    """The module, with its notes in a folder of the test."""
    return functools.partial(run_module, "kubedcos_files", notes=str(tmp_path / "notes"))


def test_units_that_run_are_left_alone_even_when_their_files_changed(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    host = systemd(x={}, y={})
    result = keep(files=[item(tmp_path / "one")], units=["x", "y"])
    assert result["paths"] == [str(tmp_path / "one")]
    assert (result["started"], result["enabled"]) == ([], [])
    assert host.told() == []


def test_units_that_do_not_run_are_enabled_and_started(
    keep: Run, systemd: Callable[..., Systemd]
) -> None:
    host = systemd(x={"active": "inactive", "at_boot": "disabled"}, y={"active": "failed"})
    assert keep(units=["x", "y"], check=True)["changed"] is True
    result = keep(units=["x", "y"])
    assert result["changed"] is True
    assert (result["started"], result["enabled"]) == (["x", "y"], ["x"])
    assert host.told() == ["enable x", "start x", "start y"]


def test_systemd_reads_unit_files_that_changed_before_it_starts_them(
    keep: Run, systemd: Callable[..., Systemd]
) -> None:
    host = systemd(x={"active": "inactive", "stale": "yes"})
    keep(units=["x"])
    assert host.told() == ["daemon-reload", "start x"]


def test_a_unit_that_does_not_start_is_named(keep: Run, systemd: Callable[..., Systemd]) -> None:
    systemd(x={"active": "inactive"}).refuse("start")
    result = keep(units=["x"])
    assert result["failed"] is True
    assert "systemctl start x: refused" in result["msg"]


def test_a_unit_that_systemd_does_not_know_is_refused(
    keep: Run, systemd: Callable[..., Systemd]
) -> None:
    host = systemd()
    assert "x is not-found" in keep(units=["x"])["msg"]
    # In check mode what brings it may not be there yet.
    assert keep(units=["x"], check=True)["started"] == ["x"]
    assert host.told() == ["daemon-reload"]


def test_a_unit_is_outdated_until_it_is_restarted_however_often_one_looks(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    host = systemd(x={})
    (tmp_path / "one").write_text("old\n")
    files = [item(tmp_path / "one", "new\n")]
    assert keep(files=files, units=["x"])["outdated"] == ["x"]
    for _ in range(2):
        again = keep(files=files, units=["x"])
        assert (again["changed"], again["paths"], again["outdated"]) == (False, [], ["x"])
    host.restart("x")
    after = keep(files=files, units=["x"])
    assert (after["changed"], after["outdated"]) == (False, [])
    assert list((tmp_path / "notes").iterdir()) == [], "its note is void"


def test_what_is_to_be_restarted_is_known_before_the_file_changes(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={})
    (tmp_path / "one").write_text("old\n")
    look = [
        *("sh", "-c", f"grep -q old {tmp_path}/one && grep -q {tmp_path}/one {tmp_path}/notes/x.*"),
        "%s",
    ]
    files = [
        item(tmp_path / "one", "new\n", validate=look),
        item(tmp_path / "two", validate=["false"]),
    ]
    broken = keep(files=files, units=["x"])
    assert "two is refused by false" in broken["msg"]
    assert broken["paths"] == [str(tmp_path / "one"), str(tmp_path / "two")]
    assert keep(files=files[:1], units=["x"])["outdated"] == ["x"]


def test_a_file_that_is_again_as_the_unit_has_read_it_needs_no_restart(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={})
    one, two = item(tmp_path / "one", "a\n"), item(tmp_path / "two", "a\n")
    keep(files=[one, two])
    changed = [{**one, "content": "b\n"}, {**two, "content": "b\n"}]
    assert keep(files=changed, units=["x"])["outdated"] == ["x"]
    assert keep(files=[one, changed[1]], units=["x"])["outdated"] == ["x"], "the other one is new"
    back = keep(files=[one, two], units=["x"])
    assert (back["changed"], back["outdated"]) == (True, [])
    assert keep(files=changed, units=["x"])["outdated"] == ["x"]


def test_permissions_count_as_well_because_the_unit_may_have_been_kept_from_reading(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={})
    keep(files=[item(tmp_path / "one", mode="0600")])
    result = keep(files=[item(tmp_path / "one", mode="0640")], units=["x"])
    assert result["outdated"] == ["x"]


def test_a_unit_that_starts_now_or_does_not_run_is_not_outdated(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={"active": "inactive"}, y={"active": "failed"})
    files = [item(tmp_path / "one"), item(tmp_path / "two", read_by=["y", "unheard-of"])]
    result = keep(files=files, units=["x"])
    assert (result["started"], result["outdated"]) == (["x"], [])
    assert not (tmp_path / "notes").exists()


def test_files_of_one_call_and_units_of_a_later_one(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={}, y={}, z={})
    first = keep(
        files=[item(tmp_path / "one", read_by=["x"]), item(tmp_path / "two", read_by=["y"])]
    )
    assert first["outdated"] == ["x", "y"]
    assert keep(units=["z", "y"])["outdated"] == ["y"]
    assert keep(files=[item(tmp_path / "three", read_by=[])], units=["z"])["outdated"] == []


def test_a_unit_that_started_by_itself_while_its_files_changed_may_have_read_the_old_ones(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    host = systemd(x={})
    (tmp_path / "one").write_text("old\n")
    restart = [str(host.programs / "systemctl"), "restart", "x"]
    files = [item(tmp_path / "one", "new\n", validate=restart)]
    assert keep(files=files, units=["x"])["outdated"] == ["x"]
    assert keep(files=files, units=["x"])["outdated"] == ["x"]
    host.restart("x")
    assert keep(files=files, units=["x"])["outdated"] == []


def test_a_unit_that_started_by_a_definition_which_systemd_had_not_read_is_outdated(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    definition = tmp_path / "x.service"
    files = [item(definition, "new\n", read_by=["x"])]
    host = systemd(x={"definition": str(definition)}, y={})
    keep(files=files)
    # The play broke off here; the service ended and was started again, by the old definition.
    host.restart("x")
    for unit in ("x", "y"):
        host.change(unit, stale="yes")
    assert keep(files=files, units=["x", "y"])["outdated"] == ["x"], "of y nothing changed"
    assert host.told() == ["daemon-reload"]
    assert keep(files=files, units=["x", "y"])["outdated"] == ["x"]
    host.restart("x")
    # Whoever enables a unit without a reload makes systemd say so of all units.
    host.change("x", stale="yes")
    assert keep(files=files, units=["x", "y"])["outdated"] == []
    # And whoever has systemd read the definition before the restart runs by the new one.
    newer = [item(definition, "newer\n", read_by=["x"])]
    keep(files=newer)
    host.restart("x")
    host.change("y", stale="yes")
    assert keep(files=newer, units=["x", "y"])["outdated"] == []


def test_check_mode_tells_what_would_be_outdated_and_notes_nothing(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    host = systemd(x={}, y={})
    (tmp_path / "one").write_text("old\n")
    files = [item(tmp_path / "one", "new\n")]
    assert keep(files=files, units=["x"], check=True)["outdated"] == ["x"]
    assert not (tmp_path / "notes").exists()
    keep(files=files, units=["x"])
    pending = keep(files=files, units=["x", "y"], check=True)
    assert (pending["changed"], pending["outdated"]) == (False, ["x"])
    host.restart("x")
    assert keep(files=files, units=["x"], check=True)["outdated"] == []
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["x.service"]


def test_units_that_only_have_to_reload_are_reloaded_here_and_once(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    host = systemd(x={}, y={})
    (tmp_path / "one").write_text("old\n")
    call = {
        "files": [item(tmp_path / "one", "new\n", read_by=["x"])],
        "units": ["x", "y"],
        "reload": ["x"],
    }
    assert keep(**call, check=True)["reloaded"] == ["x"]
    host.refuse("reload")
    assert "systemctl reload x: refused" in keep(**call)["msg"]
    host.refuse()
    host.told()
    again = keep(**call)
    assert (again["changed"], again["reloaded"], again["outdated"]) == (True, ["x"], [])
    assert host.told() == ["reload x"]
    after = keep(**call)
    assert (after["changed"], after["reloaded"]) == (False, [])
    assert host.told() == []


def test_notes_keep_no_secret_and_are_for_root_alone(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={})
    (tmp_path / "key").write_text("hunter1")
    keep(files=[item(tmp_path / "key", "hunter2", secret=True)], units=["x"])
    (note,) = (tmp_path / "notes").iterdir()
    assert "hunter" not in note.read_text()
    assert note.stat().st_mode & 0o777 == 0o600
    assert note.parent.stat().st_mode & 0o777 == 0o700


def test_what_can_not_be_known_is_said(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={"invocation": ""}, y={})
    result = keep(files=[item(tmp_path / "one")], units=["x"])
    assert result["msg"] == "x runs without an InvocationID; wanted systemd 232 or newer"
    assert not (tmp_path / "one").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "y.service").write_text("{}")
    result = keep(units=["y"])
    assert "notes/y.service is no note of ours" in result["msg"]
    assert "wanted JSON with invocation and files" in result["msg"]


def part(path: Path, lists: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "lists": str(lists), **OWNER, **more}


def test_lists_of_several_files_are_joined_in_the_order_of_their_names(
    run_module: Run, tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "20-b.json").write_text('[{"b": 2}]')
    (parts / "note.txt").write_text("not JSON")
    call = {
        "files": [item(parts / "10-a.json", '[{"a": 1}]\n'), item(tmp_path / "x.json", "[]")],
        "joined": [part(tmp_path / "all.json", parts)],
    }
    checked = run_module("kubedcos_files", **call, check=True)
    assert not (tmp_path / "all.json").exists()
    first = run_module("kubedcos_files", **call)
    assert json.loads((tmp_path / "all.json").read_text()) == [{"a": 1}, {"b": 2}]
    assert checked["paths"] == first["paths"]
    assert [d["after"] for d in checked["diff"]] == [d["after"] for d in first["diff"]]
    assert run_module("kubedcos_files", **call)["changed"] is False
    (parts / "20-b.json").unlink()
    again = run_module("kubedcos_files", **call)
    assert again["paths"] == [str(tmp_path / "all.json")]
    assert json.loads((tmp_path / "all.json").read_text()) == [{"a": 1}]


@pytest.mark.parametrize("text", ["{}", "[1", ""])
def test_a_list_that_is_none_is_named(run_module: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "10-bad.json").write_text(text)
    result = run_module("kubedcos_files", joined=[part(tmp_path / "all", tmp_path)])
    assert str(tmp_path / "10-bad.json") in result["msg"]
    assert "wanted a JSON list" in result["msg"]
    assert not (tmp_path / "all").exists()


def test_lists_that_somebody_else_changed_make_their_reader_outdated(
    keep: Run, tmp_path: Path, systemd: Callable[..., Systemd]
) -> None:
    systemd(x={})
    joined = [part(tmp_path / "all", tmp_path, read_by=["x"])]
    keep(joined=joined)
    (tmp_path / "30-c.json").write_text("[3]")
    assert keep(joined=joined)["outdated"] == ["x"]
    again = keep(joined=joined)
    assert (again["changed"], again["outdated"]) == (False, ["x"])
