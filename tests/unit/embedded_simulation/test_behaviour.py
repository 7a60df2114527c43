"""What tasks ask for."""

from __future__ import annotations

import pytest

from kubedcos.embedded.simulation.behaviour import Behaviour, behaviour_of
from kubedcos.mesos.messages import AgentID, CommandInfo, Label, Labels, TaskID, TaskInfo

USUAL = Behaviour(runs_for=7.0)


def task(command: str | None, **labels: str) -> TaskInfo:
    pairs = tuple(Label(f"simulation.{key}", value) for key, value in labels.items())
    return TaskInfo(
        "t",
        TaskID("t"),
        AgentID("S0"),
        command=CommandInfo(value=command) if command is not None else None,
        labels=Labels(pairs) if pairs else None,
    )


@pytest.mark.parametrize(
    ("command", "runs_for", "exit_status"),
    [
        ("true", 0.0, 0),
        ("false", 0.0, 1),
        ("exit 3", 0.0, 3),
        ("sleep 30", 30.0, 0),
        ("sleep 1.5; exit 2", 1.5, 2),
        ("sleep 5 && exit 0", 5.0, 0),
        ("./server --port 80", 7.0, 0),
        (None, 7.0, 0),
    ],
)
def test_a_command_is_understood(command: str | None, runs_for: float, exit_status: int) -> None:
    found = behaviour_of(task(command), USUAL)
    assert (found.runs_for, found.exit_status) == (runs_for, exit_status)


def test_labels_win_over_the_command() -> None:
    found = behaviour_of(task("sleep 30", runs_for="2.5", exit_status="1"), USUAL)
    assert (found.runs_for, found.exit_status) == (2.5, 1)


def test_a_label_without_sense_makes_the_task_fail_at_once() -> None:
    found = behaviour_of(task("sleep 30", runs_for="long"), USUAL)
    assert (found.runs_for, found.exit_status) == (0.0, 2)
