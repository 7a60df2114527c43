"""Runs Ansible modules as Ansible does: a process that prints JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

MODULES = Path(__file__).parents[3] / "plugins/modules"
MODULE_UTILS = MODULES.parent / "module_utils"


def _run(
    name: str, *, check: bool = False, inside: Sequence[str] = (), **arguments: Any
) -> dict[str, Any]:
    """Run a module; `inside` is a program that runs another one where the module is to run."""
    given = {
        "ANSIBLE_MODULE_ARGS": {
            **arguments,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
        }
    }
    # Outside of Ansible's own packaging the caller hands over arguments and serialisation profile.
    code = (
        "import runpy\n"
        "from ansible import module_utils\n"
        f"module_utils.__path__.append({str(MODULE_UTILS)!r})\n"
        "from ansible.module_utils import basic\n"
        f"basic._ANSIBLE_ARGS = {json.dumps(given).encode()!r}\n"
        "basic._ANSIBLE_PROFILE = 'legacy'\n"
        f"runpy.run_path({str(MODULES / (name + '.py'))!r}, run_name='__main__')\n"
    )
    words = [*inside, sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="session")
def run_module() -> Callable[..., dict[str, Any]]:
    """Function that runs a module by name with arguments and returns its result."""
    return _run
