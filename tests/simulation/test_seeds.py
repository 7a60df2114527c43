"""Seeds: hundreds of schedules of faults, each of which must come to a good end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kubedcos.mesos.client import Connection
from kubedcos.scheduler import cycle, ending, events, releasing
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.task_updates import TaskUpdate
from kubedcos.state.records import TaskRecord
from kubedcos.state.store import Change

from .drill import run
from .faults import (
    AgentCut,
    Fault,
    MasterEnds,
    Operator,
    Rival,
    Schedule,
    SchedulerCut,
    SchedulerKilled,
    Setting,
    TaskEnds,
    ZooKeeperCut,
)
from .generator import schedule
from .journal import Journal
from .lock import Seat
from .shrinking import shrink
from .soak import Summary, complaint, run_seed, soak
from .stage import CrashingStore

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


# The watch itself is watched: each of these schedulers is broken, and is found out.

_QUIET = Schedule(1, Setting(etcd=1, nodes=1))


def test_a_launch_without_a_stored_intent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = CrashingStore.write

    def write(self: CrashingStore, cluster: str, changes: Sequence[Change]) -> None:
        real(
            self, cluster, [it for it in changes if b'"state":"INTENDED"' not in (it.value or b"")]
        )

    monkeypatch.setattr(CrashingStore, "write", write)
    assert "without a stored intent" in str(run(_QUIET).findings)


def test_a_reservation_that_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def release(_self: releasing.Releaser, _connection: Connection) -> list[str]:
        return []

    async def dismantle(self: cycle.Cycle, connection: Connection) -> str:
        self.world.ask_to_end(self.world.alive)
        await self._reconcile(connection)
        return "; ".join(await self._ender.end(connection))

    monkeypatch.setattr(releasing.Releaser, "release", release)
    monkeypatch.setattr(cycle.Cycle, "dismantle", dismantle)
    assert "reservations are left" in str(run(_QUIET).findings)


def test_a_task_that_is_started_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = events.apply

    def apply(record: TaskRecord, update: TaskUpdate, now: float, pace: Pace) -> TaskRecord:
        lost = update.state == "TASK_UNREACHABLE"
        return real(record, replace(update, state="TASK_LOST") if lost else update, now, pace)

    monkeypatch.setattr(events, "apply", apply)
    cut = AgentCut(20.0, 200.0, "a1"), AgentCut(20.0, 200.0, "a2"), AgentCut(20.0, 200.0, "b1")
    assert "is launched while another runs" in str(run(Schedule(1, _QUIET.setting, cut)).findings)


def test_a_member_that_is_ended_without_asking_the_others_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending.Ender, "_is_spared", lambda *_: True)
    setting = Setting(etcd=3, nodes=1, replace_after=100.0)
    faults = AgentCut(40.0, 30.0, "a1"), Operator(50.0, 1.0, "restart", "etcd-2")
    assert "members are left" in str(run(Schedule(1, setting, faults)).findings)


@pytest.mark.parametrize(
    "faults",
    [
        (Rival(60.0), MasterEnds(61.0, 20.0)),
        (Rival(5.0), SchedulerCut(6.0, 8.0)),
    ],
)
def test_a_scheduler_that_acts_although_another_one_leads_is_found(
    faults: tuple[Fault, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Schedule(1, Setting(etcd=1, nodes=2), faults)
    assert run(found).findings == ()
    monkeypatch.setattr(Seat, "prove", lambda _: None)
    monkeypatch.setattr(Seat, "take_part", lambda _: None)
    assert run(found).findings != ()


@pytest.mark.parametrize(("lasts", "processes"), [(0.5, 1), (5.9, 1), (6.0, 2), (40.0, 2)])
@pytest.mark.parametrize("at", [1.5, 2.01, 30.1])
def test_a_scheduler_outlives_a_short_loss_of_zookeeper_and_begins_anew_after_a_long_one(
    at: float, lasts: float, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bytes] = []

    def note(self: Journal, kind: str, what: bytes) -> None:
        if kind == "process":
            said.append(what)
        noted(self, kind, what)

    noted = Journal.note
    monkeypatch.setattr(Journal, "note", note)
    ends = TaskEnds(at + lasts / 2, "kube-apiserver-0-instance", "TASK_FAILED")
    assert run(Schedule(1, Setting(etcd=1), (ZooKeeperCut(at, lasts), ends))).findings == ()
    assert said.count(b"starts") == processes


def test_a_failing_schedule_is_made_smaller() -> None:
    faults = (
        SchedulerKilled(1.0, 1.0, 3),
        TaskEnds(5.0, "etcd-0-peer", "TASK_FAILED"),
        AgentCut(9.0, 10.0, "a1"),
    )
    small = shrink(Schedule(5, faults=faults), lambda it: faults[1] in it.faults)
    assert small.faults == (faults[1],)
    assert small.setting.nodes == 1
