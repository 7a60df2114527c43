"""Runs a small playbook of this folder, without a connection to any host."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .ansible_runs import ansible_playbook


@pytest.fixture
def play() -> Callable[..., Any]:
    """Function (inventory, playbook, *options) that returns the answer of the first task's host."""

    def run(inventory: Path, playbook: str, *options: str) -> Any:
        done = ansible_playbook(
            inventory,
            Path(__file__).with_name(playbook),
            *options,
            ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (played,) = json.loads(done.stdout)["plays"]
        (answer,) = played["tasks"][0]["hosts"].values()
        return answer

    return run
