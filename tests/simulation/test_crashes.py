"""A scheduler that is killed at any moment continues, and starts nothing twice."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from .crash_points import crash_points
from .stage import Crash, Effects, Stage, play


async def _staged_with_crash_at(limit: int | None) -> tuple[Stage, int]:
    """Stage everything, dying at effect `limit` and starting again; counts effects passed."""
    stage = Stage()
    effects = Effects(limit)
    stage.start(effects)
    if limit is not None:
        with pytest.raises(Crash):
            async with asyncio.timeout(600):
                await stage.running
        await stage.mesos.disconnect()
        await asyncio.sleep(3)
        stage.start()
    await stage.until_complete()
    return stage, effects.count


def test_killed_at_any_effect_it_continues_and_starts_nothing_twice() -> None:
    async def count() -> int:
        stage, effects = await _staged_with_crash_at(None)
        await stage.close()
        return effects

    total = play(count)
    assert total > 60

    async def crash(limit: int) -> None:
        stage, _ = await _staged_with_crash_at(limit)
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert stage.mesos.violations == [], f"crash at effect {limit}"
        assert set(started.values()) == {1}, f"crash at effect {limit}: {started}"
        volumes = [part for part in stage.mesos.reserved() if part.disk and part.disk.persistence]
        assert len(volumes) == 1, f"crash at effect {limit}"
        await stage.close()

    for limit in crash_points(1, total):
        play(lambda limit=limit: crash(limit))


def test_killed_again_and_again_it_comes_to_the_end() -> None:
    async def story() -> None:
        stage = Stage()
        for _ in range(200):
            stage.start(Effects(7))
            try:
                await stage.until_complete(60)
                break
            except Crash:
                await stage.mesos.disconnect()
                await asyncio.sleep(1)
        else:
            pytest.fail("never complete")
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_task_that_ended_while_nobody_looked_is_started_again() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        await stage.kill()
        stage.mesos.fail("kube-node-1-proxy")
        await asyncio.sleep(30)
        stage.start()
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE", 60)
        await stage.until_complete()
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert started.pop("kube-node-1-proxy") == 2
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_complete_cluster_is_left_alone_by_a_restart() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        await stage.kill()
        launched, before = len(stage.mesos.launches), stage.plan()
        stage.start()
        await asyncio.sleep(120)
        assert stage.plan() == before
        assert len(stage.mesos.launches) == launched
        await stage.close()

    play(story)


def test_the_effects_chosen_are_before_and_after_things_are_done() -> None:
    assert crash_points(1, 9, every=True) == tuple(range(1, 10))
    for last in (20, 61, 150, 400):
        chosen = crash_points(1, last, every=False)
        assert len(chosen) <= 24
        assert {limit % 2 for limit in chosen} == {0, 1}
