"""Updates that are lost, repeated or about tasks that nobody knows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from kubedcos.mesos import messages as wire

from .stage import Stage, play


def test_repeated_updates_change_nothing() -> None:
    async def story() -> None:
        stage = Stage()
        stage.mesos.duplicate_updates = True
        stage.start()
        await stage.until_complete()
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_lost_updates_only_take_time() -> None:
    async def story(seed: int) -> None:
        chance = random.Random(seed)
        stage = Stage()
        stage.mesos.lose_update = lambda _: chance.random() < 0.3
        stage.start()
        await stage.until_complete(3600)
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    for seed in range(10):
        play(lambda seed=seed: story(seed))


def test_every_update_is_acknowledged() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        await asyncio.sleep(5)
        assert [task.info.name for task in stage.mesos.tasks.values() if task.unsent] == []
        await stage.close()

    play(story)


def test_a_dropped_launch_is_repeated() -> None:
    async def story() -> None:
        stage = Stage()
        dropped = []
        real = stage.mesos.take

        async def take(call: wire.Call) -> None:
            if call.type == "ACCEPT" and not dropped:
                dropped.append(call)
                assert call.accept is not None
                for offer_id in call.accept.offer_ids:
                    await real(wire.Call(type="DECLINE", decline=wire.CallDecline((offer_id,))))
            await real(call)

        stage.mesos.take = take  # type: ignore[method-assign]
        stage.start()
        await stage.until_complete()
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert len(stage.workload.ended) >= 1
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_task_that_nobody_knows_is_killed() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        stage.mesos.plant("stranger", "b2")
        await stage.until(lambda: "stranger" not in stage.mesos.live, 60)
        assert stage.mesos.tasks["stranger__1"].state == "TASK_KILLED"
        await stage.close()

    play(story)


def test_even_a_silent_task_that_nobody_knows_is_found_and_killed() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        stage.mesos.plant("stranger", "b2", silent=True)
        await stage.until(lambda: "stranger" not in stage.mesos.live, 1000)
        assert "stranger" not in stage.mesos.live
        await stage.close()

    play(story)


def test_a_lost_connection_is_made_anew() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        for _ in range(6):
            await asyncio.sleep(2)
            await stage.mesos.disconnect()
        await stage.until_complete()
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_an_operator_who_marks_an_agent_gone_lets_the_pod_move() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        host = stage.mesos.live["etcd-0-peer"].agent.hostname
        stage.mesos.lose_agent(host)
        await asyncio.sleep(30)
        stage.mesos.mark_gone(host)
        await stage.until_complete()
        assert stage.mesos.live["etcd-0-peer"].agent.hostname != host
        assert stage.mesos.violations == []
        await stage.close()

    play(story)
