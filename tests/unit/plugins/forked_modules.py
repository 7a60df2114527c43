"""A program that runs Ansible modules, each in a process of its own.

What every module imports takes longer than most of them do: it is imported here, once. A request is
a line of JSON; the answer, once the module has ended, is a line with its status.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any

from ansible import module_utils
from ansible.module_utils import basic


def main(folder: str) -> None:
    """Serve until the input ends.

    Args:
        folder: of the repository's own `module_utils`.
    """
    module_utils.__path__.append(folder)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            run(**request)
            return
        print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201  a program


def run(
    module: str,
    arguments: dict[str, Any],
    environment: dict[str, str],
    cwd: str,
    output: str,
    errors: str,
) -> None:
    """Become a module; whatever it does ends with this process."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, path, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT),
        (2, errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, how, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    # Outside of Ansible's own packaging the caller hands over arguments and serialisation profile.
    basic._ANSIBLE_ARGS = json.dumps(arguments).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    runpy.run_path(module, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
