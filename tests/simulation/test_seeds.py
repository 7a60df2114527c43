"""Seeds: hundreds of schedules of faults, each of which must come to a good end."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from .faults import (
    AgentCut,
    Schedule,
    SchedulerKilled,
    TaskEnds,
)
from .generator import schedule
from .shrinking import shrink
from .soak import Summary, complaint, run_seed, soak

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("SIMULATION_SECONDS", "60"))
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "300"))
ROOT = Path(__file__).parents[2]


def test_hundreds_of_seeds_come_to_a_good_end() -> None:
    """The same ones each time, as many as the time allows; `make soak` runs more.

    In this process: pytest names modules in its own way, by which others do not find them.
    A failing one is not made smaller here, which takes minutes: the text says what does it.
    """
    summary = Summary()
    with closing(soak(0, SEEDS, jobs=1, seconds=SECONDS)) as outcomes:
        for outcome in outcomes:
            summary.add(outcome)
            if outcome.findings:
                pytest.fail(complaint(outcome), pytrace=False)
    assert summary.seeds > 0
    assert summary.virtual > 0


def test_a_seed_replays_exactly_also_in_another_process() -> None:
    seeds = (3, 14)
    here = [run_seed(seed).digest for seed in seeds]
    assert here == [run_seed(seed).digest for seed in seeds]
    for seed, digest in zip(seeds, here, strict=True):
        answer = subprocess.run(
            [sys.executable, "-m", "tests.simulation.soak", "--digest", str(seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "4711"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == digest


def test_other_seeds_are_other_runs() -> None:
    assert run_seed(1).digest != run_seed(2).digest


def test_a_schedule_prints_as_the_python_that_makes_it() -> None:
    found = schedule(11)
    names = vars(sys.modules[Schedule.__module__])
    assert eval(found.text, dict(names)) == found


def test_a_failing_schedule_is_made_smaller() -> None:
    faults = (
        SchedulerKilled(1.0, 1.0, 3),
        TaskEnds(5.0, "etcd-0-peer", "TASK_FAILED"),
        AgentCut(9.0, 10.0, "a1"),
    )
    small = shrink(Schedule(5, faults=faults), lambda it: faults[1] in it.faults)
    assert small.faults == (faults[1],)
    assert small.setting.nodes == 1
