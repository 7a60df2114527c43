"""Hosts go, even when their processes take their time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from kubedcos.lab.engine import Podman
from kubedcos.lab.lifecycle import REMOVALS, remove
from kubedcos.lab.program import ProgramFailed

SLOW = "Error: cannot remove container: given PIDs did not die within timeout"
CROSSED = "Error: could not be stopped: sending SIGKILL: container state improper: stopped"


class Machine:
    """Refuses removals with the given words, then removes."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.removals = 0

    def __call__(self, argv: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.removals += 1
        if self.refusals:
            raise ProgramFailed(argv, self.refusals.pop(0), status=125)
        return subprocess.CompletedProcess(argv, 0, "", "")


def test_a_host_that_dies_slowly_is_removed() -> None:
    machine = Machine(SLOW, CROSSED)
    remove(Podman(runner=machine), "lab-a1")
    assert machine.removals == 3


@pytest.mark.parametrize(
    ("refusals", "removals"), [([SLOW] * REMOVALS, REMOVALS), (["no space left"], 1)]
)
def test_what_does_not_go_away_by_waiting_is_told(refusals: list[str], removals: int) -> None:
    machine = Machine(*refusals)
    with pytest.raises(ProgramFailed):
        remove(Podman(runner=machine), "lab-a1")
    assert machine.removals == removals
