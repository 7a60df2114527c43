"""What the agent's unit does before it starts an agent."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.systemd_reading import words

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def units(play: Callable[..., dict[str, Any]], *cases: dict[str, Any]) -> list[str]:
    """The agent's unit for each case."""
    extra = ("-e", json.dumps({"cases": cases}))
    answer = play(ROOT / "inventories/sample", "mesos_services.yml", *extra)
    return [result["msg"]["agent_unit"] for result in answer["results"]]


def prepare(unit: str, cgroups: Path) -> None:
    """Run what the unit runs first, on a machine whose cgroups are a folder."""
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStartPre=-")]
    assert not {"$", "%"} & set(line), "systemd would replace these"
    command = f"mount --bind {shlex.quote(str(cgroups))} /sys/fs/cgroup && exec " + shlex.join(
        words(line.removeprefix("ExecStartPre=-"))
    )
    subprocess.run(["unshare", "--mount", "sh", "-c", command], check=True, cwd="/")


def shared_out(cgroups: Path) -> list[str]:
    """Cgroups whose controllers those below them may use."""
    found = sorted(cgroups.rglob("cgroup.subtree_control"))
    assert {path.read_text() for path in found} <= {"+cpu +memory\n"}
    return sorted(str(path.parent.relative_to(cgroups)) for path in found)


# How an inventory names the root of Mesos' cgroups, and the cgroups that Mesos needs to find.
ROOTS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, [".", "mesos"]),
    ({"extra_flags": {"cgroups_root": "mesos-b"}}, [".", "mesos-b"]),
    (
        {"extra_flags": ["--no-hostname_lookup", "--cgroups_root=/site/it's b"]},
        [".", "site", "site/it's b"],
    ),
    ({"environment": {"MESOS_CGROUPS_ROOT": "mesos-c"}}, [".", "mesos-c"]),
    # As Mesos has it: the command line before the environment, and there the last line.
    (
        {
            "extra_flags": ["--cgroups_root=mesos-d"],
            "environment": {"MESOS_CGROUPS_ROOT": "mesos-c"},
        },
        [".", "mesos-d"],
    ),
    (
        {
            "extra_flags": {"cgroups_root": "mesos-b"},
            "environment": {"MESOS_CGROUPS_ROOT": "mesos-c"},
        },
        [".", "mesos-c"],
    ),
]


def test_where_there_is_cgroup_v2_alone_mesos_finds_its_cgroup_with_controllers(
    play: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    made = units(play, *(case for case, _ in ROOTS))
    found = []
    for number, unit in enumerate(made):
        cgroups = tmp_path / str(number)
        cgroups.mkdir()
        (cgroups / "cgroup.controllers").write_text("cpu io memory pids\n")
        prepare(unit, cgroups)
        found.append(shared_out(cgroups))
    assert found == [wanted for _, wanted in ROOTS]


def test_cgroup_v1_is_left_as_it_is(play: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (unit,) = units(play, {})
    prepare(unit, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["memory"]
