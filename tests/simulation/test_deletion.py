"""After a delete Mesos shows no trace, whenever it was asked for and however often interrupted."""

from __future__ import annotations

import asyncio

import pytest

from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import SubscriptionEnded
from kubedcos.state import documents

from .crash_points import crash_points
from .drill import collector_of
from .stage import Crash, Effects, Stage, play


def _assert_no_trace(stage: Stage) -> None:
    assert stage.mesos.removed
    assert stage.mesos.live == {}
    assert stage.mesos.reserved() == []
    assert stage.mesos.violations == []
    assert documents.cluster_names(stage.disk) == ()


def test_nothing_is_left() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        async with asyncio.timeout(120):
            await stage.scheduler.delete()
            await stage.running
        _assert_no_trace(stage)
        assert sorted(set(stage.workload.ended)) == sorted(
            launch.task_id for launch in stage.workload.commands
        )
        await stage.close()

    play(story)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 2.0, 5.0, 10.0])
def test_nothing_is_left_when_asked_for_in_the_middle(seconds: float) -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await asyncio.sleep(seconds)
        async with asyncio.timeout(120):
            await stage.scheduler.delete()
        assert stage.mesos.live == {}
        assert stage.mesos.reserved() == []
        assert documents.cluster_names(stage.disk) == ()
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_killed_at_any_effect_of_a_delete_it_continues() -> None:
    async def deleted(limit: int | None) -> int:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        await stage.kill()
        effects = Effects(limit)
        stage.start(effects)
        wish = asyncio.create_task(stage.scheduler.delete())
        if limit is not None:
            with pytest.raises(Crash):
                await asyncio.gather(stage.running, wish)
            wish.cancel()
            await asyncio.gather(wish, return_exceptions=True)
            await stage.kill()
            stage.start()
            if documents.cluster_names(stage.disk):
                await asyncio.wait_for(stage.scheduler.delete(), 120)
        else:
            await asyncio.wait_for(wish, 120)
        if limit is None or documents.cluster_names(stage.disk) == ():
            _assert_no_trace(stage)
        await stage.close()
        return effects.count

    total = play(lambda: deleted(None))
    assert total > 20
    for limit in crash_points(1, total):
        play(lambda limit=limit: deleted(limit))


def test_what_outlives_a_framework_that_mesos_removed_is_released() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        await stage.kill()
        removed = stage.scheduler.world.cluster.framework_id
        stage.mesos.remove_framework()
        stage.start()
        with pytest.raises(SubscriptionEnded, match="has been removed"):
            await asyncio.wait_for(stage.running, 60)
        assert stage.mesos.reserved() != []
        wish = asyncio.create_task(stage.scheduler.delete())
        await asyncio.sleep(0)
        stage.restart_run()
        await asyncio.wait_for(wish, 120)
        # Whether the framework's tasks ended everywhere is for the collector to ask.
        collector = collector_of(stage.mesos, stage.disk)
        assert all(left["id"].startswith(f"{removed}.") for left in collector.view())
        assert {left["what"] for left in collector.view()} == {"tasks"}
        await collector.collect()
        _assert_no_trace(stage)
        await stage.close()

    play(story)


def test_a_volume_on_a_lost_agent_is_waited_for() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        host = stage.mesos.live["etcd-0-peer"].agent.hostname
        stage.mesos.lose_agent(host)
        wish = asyncio.create_task(stage.scheduler.delete())
        await asyncio.sleep(300)
        assert not wish.done()
        assert f"waits for offers from {host}" in stage.scheduler.snapshot()["doing"]
        stage.mesos.return_agent(host)
        await asyncio.wait_for(wish, 120)
        _assert_no_trace(stage)
        await stage.close()

    play(story)


def test_an_offer_made_before_the_end_of_a_task_does_not_prove_its_volume_gone() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()

        real = stage.mesos.take

        async def take(call: wire.Call) -> None:
            """Offer what etcd does not use, then end it; both are heard at once."""
            if call.kill is None:
                await real(call)
                return
            name = stage.mesos.tasks[call.kill.task_id.value].info.name
            if name == "etcd-0-peer":
                stage.mesos.offer_again()
            if name in stage.mesos.live:
                stage.mesos.fail(name, "TASK_KILLED")

        stage.mesos.take = take  # type: ignore[method-assign]
        await asyncio.wait_for(stage.scheduler.delete(), 120)
        _assert_no_trace(stage)
        await stage.close()

    play(story)


def test_a_reservation_that_came_to_nothing_is_released() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until(lambda: bool(stage.mesos.reserved()), 60, every=0.05)
        await stage.kill()
        for pod in list(stage.scheduler.world.pods.values()):
            assert not pod.confirmed
            stage.scheduler.world.commit(remove=[pod])
        for task in list(stage.mesos.live):
            stage.mesos.fail(task, "TASK_KILLED")
        stage.start()
        await stage.until_complete()
        ids = {
            label.value
            for part in stage.mesos.reserved()
            for label in part.reservations[-1].labels.labels
            if label.key == "kubedcos_reservation"
        }
        assert len(ids) == 1
        await stage.until(lambda: len(stage.scheduler.world.reservations) == 1)
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_framework_that_was_taken_over_stops_at_once() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        first = stage.running
        stage.start()
        with pytest.raises(SubscriptionEnded, match="failed over"):
            await asyncio.wait_for(first, 5)
        await asyncio.sleep(30)
        assert not stage.running.done()
        await stage.close()

    play(story)
