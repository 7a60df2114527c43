#!/usr/bin/env python3
"""Run one program between what must be done before it and what must be undone after it.

Argument: a JSON file with ``run`` (argv), ``before`` and ``after`` (lists of argv), and
``stop_seconds``, how long the program may take to end after SIGTERM.

Exit code: the program's own; 0 when it ended because this was told to end; 1 when something before
it failed.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """In a child: end when this program is killed, so that nothing runs unattended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def stop(child: subprocess.Popen[bytes], seconds: float) -> None:
    """End a child: politely, then not."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main(arguments: list[str]) -> int:
    """Entry point; see the module's text."""
    with open(arguments[0]) as file:
        spec: dict[str, Any] = json.load(file)
    told_to_end = False

    def on_term(_signal: int, _frame: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, on_term)
    try:
        for command in spec["before"]:
            subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"supervise: {error}", file=sys.stderr)
        return 1
    child = subprocess.Popen(spec["run"], preexec_fn=die_with_parent)  # noqa: PLW1509  one thread
    while child.poll() is None and not told_to_end:
        try:
            child.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    if child.returncode is None:
        stop(child, spec["stop_seconds"])
    for command in spec["after"]:
        subprocess.run(command, check=False)
    return 0 if told_to_end else child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
