"""Runs Ansible modules as Ansible does: a process that prints JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

MODULES = Path(__file__).parents[3] / "plugins/modules"
MODULE_UTILS = MODULES.parent / "module_utils"
FORKED = [sys.executable, str(Path(__file__).with_name("forked_modules.py")), str(MODULE_UTILS)]


@pytest.fixture(scope="session")
def run_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., dict[str, Any]]]:
    """Function that runs a module by name with arguments and returns its result.

    With `check` in check mode; `inside` is a program that runs another one where the module is to
    run.
    """
    folder = tmp_path_factory.mktemp("modules")
    output, errors = folder / "output", folder / "errors"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

    def run(
        name: str, *, check: bool = False, inside: Sequence[str] = (), **arguments: Any
    ) -> dict[str, Any]:
        given = {
            **arguments,
            "_ansible_check_mode": check,
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
        }
        request = {
            "module": str(MODULES / f"{name}.py"),
            "arguments": {"ANSIBLE_MODULE_ARGS": given},
            "environment": dict(os.environ),
            "cwd": str(Path.cwd()),
            "output": str(output),
            "errors": str(errors),
        }
        output.unlink(missing_ok=True)
        line = json.dumps(request) + "\n"
        if inside:
            subprocess.run(
                [*inside, *FORKED], input=line, stdout=subprocess.DEVNULL, text=True, check=True
            )
        else:
            forks.stdin.write(line)
            forks.stdin.flush()
            assert forks.stdout.readline(), "no module can be run any more"
        printed = output.read_text()
        assert printed, errors.read_text()
        result: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return result

    with subprocess.Popen(FORKED, **pipes, text=True) as forks:
        yield run
