"""Disks on a host: real file systems and mounts, in a namespace that ends with each test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubedcos.render import render

Run = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")

SYSTEMCTL = """#!/bin/sh
# A host's systemd, as far as mount units go.
case "$1" in
is-enabled) exit 0 ;;
show) cat {here}/mounts 2>/dev/null ;;
enable)
  while IFS='=' read -r name value; do
    case "$name" in What) what=$value ;; Where) where=$value ;; Type) type=$value ;;
    Options) options=$value ;; esac
  done <"/etc/systemd/system/$3"
  mount -t "$type" -o "$options" "$what" "$where" && echo once >>{here}/mounts ;;
esac
"""


@dataclass
class Host:
    """A host with one disk.

    Attributes:
        here: folder of what the test sees of it.
        run: runs the module on it.
        inside: program that runs another one there.
        root: where the disk is mounted.
    """

    here: Path
    run: Run
    inside: list[str]
    root: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = self.here / "fast1"

    def prepare(self, options: str, *, check: bool = False) -> dict[str, Any]:
        disk = {
            "name": "fast1",
            "type": "mount",
            "image": str(self.here / "fast1.img"),
            "image_mb": 64,
            "filesystem": "ext4",
            "root": str(self.root),
            "options": options,
        }
        unit = render("storage/disk.mount.j2", {**disk, "device": ""})
        done = self.run(
            "kubedcos_disks",
            disks=[disk],
            units={str(self.root): unit},
            root_path=str(self.here),
            margin_mb=1,
            check=check,
            inside=self.inside,
        )
        assert not done.get("failed"), done
        return done

    def tell(self, *words: str) -> str:
        done = subprocess.run([*self.inside, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def options(self) -> set[str]:
        words = ("--noheadings", "--output", "OPTIONS", "--mountpoint", str(self.root))
        return set(self.tell("findmnt", *words).split(","))


def warnings(done: dict[str, Any]) -> list[str]:
    return [warning["event"]["msg"] for warning in done.get("warnings", ())]


@pytest.fixture
def host(tmp_path: Path, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    units, bin_ = tmp_path / "units", tmp_path / "bin"
    units.mkdir()
    bin_.mkdir()
    systemctl = bin_ / "systemctl"
    systemctl.write_text(SYSTEMCTL.format(here=tmp_path))
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    lasts = f"mount --bind {units} /etc/systemd/system && mount -t tmpfs none /run && echo && cat"
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", lasts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as namespace:
        assert namespace.stdout is not None
        assert namespace.stdout.readline() == "\n"
        inside = ["nsenter", f"--mount=/proc/{namespace.pid}/ns/mnt", f"--wd={tmp_path}"]
        yield Host(tmp_path, run_module, inside)
        namespace.communicate("")


def test_changed_options_are_in_effect_at_once_and_stay(host: Host) -> None:
    host.prepare("noatime,discard")
    (host.root / "of-a-task").touch()
    done = host.prepare("nodev,commit=30,nodiscard")
    assert done["changed"] is True
    assert f"fast1 mounted again at {host.root} with nodev,commit=30,nodiscard" in done["actions"]
    assert {"nodev", "commit=30"} < host.options()
    assert not {"noatime", "discard"} & host.options()
    assert warnings(done) == []
    assert host.prepare("nodev,commit=30,nodiscard")["changed"] is False


def test_what_a_file_system_does_by_default_is_in_effect_when_somebody_asks_for_it(
    host: Host,
) -> None:
    host.prepare("noatime")
    assert warnings(host.prepare("noatime,barrier,data=ordered,nodiscard,nofail")) == []


def test_check_mode_says_that_it_would_be_mounted_again_and_does_not(host: Host) -> None:
    host.prepare("noatime")
    done = host.prepare("nodev", check=True)
    assert f"fast1 mounted again at {host.root} with nodev" in done["actions"]
    assert "nodev" not in host.options()
    # What was only said is still to be done.
    assert host.prepare("nodev")["changed"] is True
    assert "nodev" in host.options()


def test_what_needs_a_new_mount_is_said_until_there_was_one(host: Host) -> None:
    host.prepare("noatime")
    done = host.prepare("noatime,data=journal")
    assert not [action for action in done["actions"] if "mounted again" in action]
    (warning,) = warnings(done)
    assert f"disk fast1: not in effect at {host.root}: data=journal." in warning
    assert "unmount it, and run this again" in warning

    again = host.prepare("noatime,data=journal")
    assert again["changed"] is False
    assert warnings(again) == [warning]
    (warning,) = warnings(host.prepare("noatime,data=journal,nodev"))
    assert ": data=journal, nodev." in warning

    host.tell("umount", str(host.root))
    done = host.prepare("noatime,data=journal,nodev")
    assert warnings(done) == []
    assert {"data=journal", "nodev"} < host.options()
    assert host.prepare("noatime,data=journal,nodev")["changed"] is False


def test_what_was_taken_back_before_its_mount_is_no_longer_said(host: Host) -> None:
    host.prepare("noatime")
    host.prepare("noatime,data=journal")
    assert warnings(host.prepare("noatime")) == []
    assert warnings(host.prepare("noatime")) == []


def test_an_option_that_ends_with_the_mount_alone_is_said(host: Host) -> None:
    host.prepare("noatime,discard")
    done = host.prepare("noatime")
    # ext4 takes the remount, and keeps what it was not told to end.
    assert [action for action in done["actions"] if "mounted again" in action]
    (warning,) = warnings(done)
    assert ": the end of discard." in warning


def test_what_is_offered_already_is_told_as_far_as_the_file_is_as_it_should_be(
    run_module: Run, tmp_path: Path
) -> None:
    file = tmp_path / "20-disks.json"

    def offered() -> str:
        done = run_module("kubedcos_disks", root_path=str(tmp_path), offers_file=str(file))
        return str(done["offered"])

    assert offered() == ""
    file.write_text("[]\n")
    file.chmod(0o644)
    assert offered() == "[]\n"
    file.chmod(0o600)
    assert offered() == "", "the next step would leave it unreadable"
