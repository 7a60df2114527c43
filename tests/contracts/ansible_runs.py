"""Ansible as the checkout configures it, run to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ansible_playbook(
    inventory: Path | str, playbook: Path, *options: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a playbook; how it ended is the caller's affair.

    Args:
        inventory: a path, or hosts with a comma behind each.
        playbook: its path.
        options: further words of the command line.
        settings: variables of the environment.
    """
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(inventory), str(playbook), *options),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
