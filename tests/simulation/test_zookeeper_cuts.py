"""A scheduler that has the lead and loses sight of ZooKeeper."""

from __future__ import annotations

import pytest

from .drill import run
from .faults import Schedule, Setting, TaskEnds, ZooKeeperCut
from .journal import Journal


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
