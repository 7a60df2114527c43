"""The watch over the drills finds each broken scheduler out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kubedcos.mesos.client import Connection
from kubedcos.scheduler import cycle, ending, events, releasing
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.task_updates import TaskUpdate
from kubedcos.state.records import TaskRecord
from kubedcos.state.store import Change

from .drill import run
from .faults import AgentCut, Fault, MasterEnds, Operator, Rival, Schedule, SchedulerCut, Setting
from .lock import Seat
from .stage import CrashingStore

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
