"""A program of an agent with what has to be done before and after it, whichever way it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.processes import alive
from tests.waiting import wait_until

from .agent_programs import FOLDER, run


def supervised(tmp_path: Path, script: str, **changes: Any) -> Path:
    spec = {
        "run": ["/bin/sh", "-c", script],
        "before": [["touch", str(tmp_path / "before")]],
        "after": [["touch", str(tmp_path / "after")]],
        "stop_seconds": 5,
        **changes,
    }
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    return file


def test_a_supervised_program_ends_with_its_own_status(tmp_path: Path) -> None:
    assert run("supervise.py", str(supervised(tmp_path, "exit 7"))).returncode == 7
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists()


def test_what_cannot_be_prepared_does_not_start(tmp_path: Path) -> None:
    file = supervised(tmp_path, f"touch {tmp_path}/ran", before=[["false"]])
    assert run("supervise.py", str(file)).returncode == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("trap", ["trap 'exit 0' TERM", "trap '' TERM"])
def test_a_supervised_program_is_ended_and_tidied_up_after(tmp_path: Path, trap: str) -> None:
    script = f"{trap}; touch {tmp_path}/up; while :; do sleep 0.05; done"
    file = supervised(tmp_path, script, stop_seconds=0.5)
    with subprocess.Popen([sys.executable, "-I", str(FOLDER / "supervise.py"), str(file)]) as child:
        wait_until((tmp_path / "up").exists)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert (tmp_path / "after").exists()


def test_a_supervised_program_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 600"
    file = supervised(tmp_path, script)
    with subprocess.Popen([sys.executable, "-I", str(FOLDER / "supervise.py"), str(file)]) as child:
        wait_until((tmp_path / "pid").exists)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
        child.kill()
        assert child.wait(60) == -signal.SIGKILL
    try:
        wait_until(lambda: not alive(pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not (tmp_path / "after").exists()
