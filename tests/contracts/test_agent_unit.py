"""What the agent's unit does before it starts an agent."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "roles/mesos_agent/templates/mesos-agent.service.j2"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def prepare(cgroups: Path) -> None:
    """Run what the unit runs first, on a machine whose cgroups are a folder."""
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStartPre=-")]
    command = f"mount --bind {shlex.quote(str(cgroups))} /sys/fs/cgroup && exec " + shlex.join(
        shlex.split(line.removeprefix("ExecStartPre=-"))
    )
    subprocess.run(["unshare", "--mount", "sh", "-c", command], check=True, cwd="/")


def test_where_there_is_cgroup_v2_alone_mesos_finds_its_cgroup_with_controllers(
    tmp_path: Path,
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    prepare(tmp_path)
    for shared_out in (tmp_path, tmp_path / "mesos"):
        assert (shared_out / "cgroup.subtree_control").read_text() == "+cpu +memory\n"


def test_cgroup_v1_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["memory"]
