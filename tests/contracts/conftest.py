"""Runs a small playbook of this folder, without a connection to any host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def play() -> Callable[..., Any]:
    """Function (inventory, playbook, *options) that returns the answer of the first task's host."""

    def run(inventory: Path, playbook: str, *options: str) -> Any:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-i",
                str(inventory),
                str(Path(__file__).with_name(playbook)),
                *options,
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (played,) = json.loads(done.stdout)["plays"]
        (answer,) = played["tasks"][0]["hosts"].values()
        return answer

    return run
