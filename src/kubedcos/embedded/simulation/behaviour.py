"""How a simulated task goes: read from its labels or its command."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from kubedcos.mesos.messages import TaskInfo

RUNS_FOR: Final = "simulation.runs_for"
"""Label: seconds after which the task ends by itself."""
EXIT_STATUS: Final = "simulation.exit_status"
"""Label: exit status with which it then ends."""

_SLEEP: Final = re.compile(r"sleep ([0-9]+(?:\.[0-9]+)?)s?(?:\s*(?:;|&&)\s*exit ([0-9]+))?")
_EXIT: Final = re.compile(r"exit ([0-9]+)")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Times in seconds.

    Attributes:
        starts_after: from the launch to TASK_STARTING.
        runs_after: from the launch to TASK_RUNNING.
        runs_for: from TASK_RUNNING to its end; `None`: until it is killed.
        exit_status: of its command, which decides between TASK_FINISHED and TASK_FAILED.
        stops_after: from TERM to the end.
    """

    starts_after: float = 0.01
    runs_after: float = 0.02
    runs_for: float | None = None
    exit_status: int = 0
    stops_after: float = 0.01


def behaviour_of(task: TaskInfo, usual: Behaviour) -> Behaviour:
    """What the task asks for: by its labels, else by what its command would do.

    Commands that are understood: ``true``, ``false``, ``exit N``, ``sleep SECONDS``, and a sleep
    followed by an exit. Any other runs until it is killed, or as `usual` says.
    """
    command = (task.command.value or "").strip() if task.command is not None else ""
    found = _by_command(command, usual)
    labels = {label.key: label.value for label in task.labels.labels} if task.labels else {}
    try:
        if RUNS_FOR in labels:
            found = replace(found, runs_for=max(float(labels[RUNS_FOR] or 0), 0.0))
        if EXIT_STATUS in labels:
            found = replace(found, exit_status=int(labels[EXIT_STATUS] or 0) & 0xFF)
    except ValueError:
        # As a shell would: what it cannot understand it fails on.
        return replace(found, runs_for=0.0, exit_status=2)
    return found


def _by_command(command: str, usual: Behaviour) -> Behaviour:
    if command in {"true", "false"}:
        return replace(usual, runs_for=0.0, exit_status=int(command == "false"))
    if match := _EXIT.fullmatch(command):
        return replace(usual, runs_for=0.0, exit_status=int(match[1]) & 0xFF)
    if match := _SLEEP.fullmatch(command):
        return replace(usual, runs_for=float(match[1]), exit_status=int(match[2] or 0) & 0xFF)
    return usual
