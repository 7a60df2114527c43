"""A cluster becomes highly available while it runs: members join one by one, nobody restarts."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from .crash_points import crash_points
from .drill import run
from .ensemble import Ensemble, spec
from .faults import AgentCut, Fault, Rival, Schedule, Setting, TaskEnds, Update
from .stage import Crash, Effects, play


async def grown(limit: int | None) -> tuple[Ensemble, int]:
    """One member becomes three; dying at effect `limit` and starting again; counts effects."""
    stage = Ensemble(spec(members=1))
    stage.start()
    await stage.until_whole()
    effects = Effects(limit)
    await stage.change(spec(members=3), effects)
    if limit is not None:
        with pytest.raises(Crash):
            await asyncio.wait_for(stage.running, 900)
        await stage.kill()
        stage.start()
    await stage.until_whole(900)
    return stage, effects.count


def test_members_join_one_by_one_and_the_first_one_runs_on() -> None:
    async def story() -> None:
        stage, _ = await grown(None)
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(launches.values()) == {1}
        at = {name: when for when, name, _ in stage.mesos.launches}
        ready_after = stage.workload.ready_after
        assert at["etcd-2-peer"] - at["etcd-1-peer"] >= ready_after
        assert len({stage.host(f"etcd-{index}-peer") for index in range(3)}) == 3
        stage.sound()
        await stage.close()

    play(story)


def test_killed_at_any_effect_it_goes_on_growing() -> None:
    async def count() -> int:
        stage, effects = await grown(None)
        await stage.close()
        return effects

    total = play(count)
    assert total > 10

    async def crash(limit: int) -> None:
        stage, _ = await grown(limit)
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(launches.values()) == {1}, f"crash at effect {limit}"
        stage.sound()
        await stage.close()

    for limit in crash_points(1, total):
        play(lambda limit=limit: crash(limit))


@pytest.mark.parametrize(
    "faults",
    [
        (Update(2.0, grows=True),),
        (Update(60.0, grows=True), AgentCut(61.0, 200.0, "a1")),
        (Update(60.0, grows=True), TaskEnds(60.5, "etcd-0-peer", "TASK_FAILED")),
        (Update(60.0, grows=True), TaskEnds(62.0, "etcd-1-peer", "TASK_FAILED")),
        (Update(60.0, pods=("etcd",), larger=True), Update(61.0, grows=True)),
        (Update(60.0, grows=True), Update(64.0, pods=("etcd", "kube-apiserver"), larger=True)),
        (Rival(58.0), Update(60.0, grows=True)),
    ],
)
def test_whatever_happens_meanwhile_it_comes_to_a_good_end(faults: tuple[Fault, ...]) -> None:
    assert run(Schedule(1, Setting(etcd=1, nodes=1, local=4, remote=1), faults)).findings == ()
