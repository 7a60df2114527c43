"""How role bootstrap copies what the control machine exported: with rsync, as the task says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

TASKS = Path(__file__).parents[2] / "roles/bootstrap/tasks/export.yml"


def copied(source: Path, target: Path) -> list[str]:
    """What rsync says that it changed; for Ansible each line is a change."""
    tasks: list[dict[str, Any]] = yaml.safe_load(TASKS.read_text(encoding="utf-8"))
    (given,) = (task["ansible.posix.synchronize"] for task in tasks if "synchronize" in str(task))
    assert (given["archive"], given["recursive"], given["times"]) == (False, True, True)
    options = ["--recursive", "--times", *given["rsync_opts"], "--out-format=%i %n"]
    done = subprocess.run(
        ["rsync", *options, f"{source}/", f"{target}/"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_what_others_put_beside_the_artefacts_is_no_change(tmp_path: Path) -> None:
    source, target = tmp_path / "export", tmp_path / "served"
    (source / "artifacts/sha256/aa").mkdir(parents=True)
    (source / "artifacts/sha256/aa/etcd").write_text("x")
    os.utime(source / "artifacts/sha256", (0, 0))  # rsync compares whole seconds
    target.mkdir()
    assert len(copied(source, target)) == 4
    (target / "artifacts/sha256/bb").mkdir()
    assert copied(source, target) == []
    assert (target / "artifacts/sha256/bb").is_dir()
    (source / "artifacts/sha256/aa/etcd").write_text("other")
    assert [line.split()[1] for line in copied(source, target)] == ["artifacts/sha256/aa/etcd"]
