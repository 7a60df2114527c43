"""A deletion does not wait for ever for lost agents; what it leaves is collected, and only that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kubedcos.api import daemon
from kubedcos.api.leftovers import LOOK_EVERY, Leftovers
from kubedcos.api.settings import DaemonSettings
from kubedcos.mesos import messages as wire
from kubedcos.mesos.durations import agent_lost_seconds
from kubedcos.model.offer import Agent
from kubedcos.state import documents

from .crash_points import crash_points
from .drill import collector_of
from .machines import scalar
from .simulated_mesos import SimulatedMesos
from .stage import Crash, Effects, Stage, play


def leftovers(stage: Stage) -> Leftovers:
    return collector_of(stage.mesos, stage.disk)


async def staged_and_lost() -> tuple[Stage, str]:
    stage = Stage()
    stage.start()
    await stage.until_complete()
    host = stage.mesos.live["etcd-0-peer"].agent.hostname
    stage.mesos.lose_agent(host)
    return stage, host


def volumes(mesos: SimulatedMesos) -> list[wire.Resource]:
    return [part for part in mesos.reserved() if part.disk and part.disk.persistence]


def test_after_a_bounded_wait_the_cluster_is_gone_and_what_is_left_is_written_down() -> None:
    async def story() -> None:
        stage, host = await staged_and_lost()
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(1000):
            await stage.scheduler.delete()
        assert 500 < asyncio.get_running_loop().time() - began < 700
        assert stage.mesos.removed
        assert documents.cluster_names(stage.disk) == ()
        notes = documents.leftovers(stage.disk).values()
        assert {(it.cluster, it.agent.hostname) for it in notes} == {("kubernetes", host)}
        [reservation] = [it for it in notes if not it.framework_id]
        assert reservation.pod_instance == "etcd-0"
        [tasks] = [it for it in notes if it.framework_id]
        assert "etcd-0" in tasks.pod_instance
        assert {task.agent.hostname for task in stage.mesos.live.values()} == {host}
        await stage.close()

    play(story)


def test_the_wait_may_be_chosen_and_nothing_is_left_by_who_returns_in_time() -> None:
    async def story() -> None:
        stage, host = await staged_and_lost()
        wish = asyncio.create_task(stage.scheduler.delete(3600))
        await asyncio.sleep(1800)
        assert not wish.done()
        stage.mesos.return_agent(host)
        await asyncio.wait_for(wish, 120)
        assert leftovers(stage).view() == []
        assert stage.mesos.reserved() == []
        await stage.close()

    play(story)


def test_what_was_left_is_collected_when_the_agent_returns_and_nothing_else() -> None:
    async def story() -> None:
        stage, host = await staged_and_lost()
        await asyncio.wait_for(stage.scheduler.delete(60), 300)
        collector = leftovers(stage)
        await collector.collect()
        seen = collector.view()
        assert {it["what"] for it in seen} == {"reservation", "tasks"}
        assert {it["waits_for"] for it in seen} == {f"agent {host} has not returned"}

        stage.mesos.return_agent(host)
        await asyncio.sleep(30)
        theirs = _reserve_for_somebody(stage.mesos, host)
        assert volumes(stage.mesos)
        for _ in range(5):
            await collector.collect()
            await asyncio.sleep(60)
        assert documents.leftovers(stage.disk) == {}
        assert collector.view() == []
        assert stage.disk.clusters() == ()
        left = stage.mesos.reserved()
        assert [part.reservations for part in left] == [part.reservations for part in theirs]
        await stage.close()

    play(story)


@pytest.mark.parametrize("away", [10, 30, 250])
def test_a_release_that_never_reached_its_agent_is_made_again_after_the_deletion(
    away: int,
) -> None:
    """Nobody hears of it when the agent is back before Mesos has given it up."""

    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        host = stage.mesos.live["etcd-0-peer"].agent.hostname
        cut_at = stage.mesos.cut_at_release(host)
        await asyncio.wait_for(stage.scheduler.delete(), 60)
        collector = leftovers(stage)
        assert collector.view() == []
        await asyncio.sleep(max(0.0, await cut_at + away - stage.mesos.now))
        stage.mesos.return_agent(host)
        await asyncio.sleep(5)
        for _ in range(6):
            await collector.collect()
            await asyncio.sleep(60)
        assert stage.mesos.reserved() == []
        assert documents.leftovers(stage.disk) == {}
        await stage.close()

    play(story)


def test_where_masters_are_patient_a_release_is_looked_at_for_as_long() -> None:
    """They take an agent for registered for five minutes, which returns with what it had."""

    async def story() -> None:
        flags = ("--agent_ping_timeout=30secs", "--max_agent_ping_timeouts=9")
        stage = Stage(flags=flags)
        stage.start()
        await stage.until_complete()
        host = stage.mesos.live["etcd-0-peer"].agent.hostname
        cut_at = stage.mesos.cut_at_release(host)
        await asyncio.wait_for(stage.scheduler.delete(), 60)
        pace = daemon.pace(daemon_settings({"agent_lost_seconds": agent_lost_seconds(flags)}))
        collector = leftovers(stage)
        collector.release_arrives = pace.release_arrives
        while stage.mesos.now < await cut_at + 250:
            await collector.collect()
            await asyncio.sleep(LOOK_EVERY)
        stage.mesos.return_agent(host)
        await asyncio.sleep(5)
        assert stage.mesos.reserved() != []
        for _ in range(6):
            await collector.collect()
            await asyncio.sleep(LOOK_EVERY)
        assert stage.mesos.reserved() == []
        assert documents.leftovers(stage.disk) == {}
        await stage.close()

    play(story)


def daemon_settings(mesos: dict[str, Any]) -> DaemonSettings:
    return DaemonSettings.model_validate({"mesos": {"masters": "m1:5050", **mesos}})


def _reserve_for_somebody(mesos: SimulatedMesos, host: str) -> Sequence[wire.Resource]:
    """Somebody else's reservation, for the same role and with the same cluster's label."""
    labels = (wire.Label("kubedcos_cluster", "kubernetes"), wire.Label("kubedcos_reservation", "x"))
    level = wire.ReservationInfo(
        type="DYNAMIC", role="kubernetes", principal="p", labels=wire.Labels(labels)
    )
    [record] = [r for r in mesos.engine.state.agents.values() if r.info.hostname == host]
    part = scalar("cpus", 0.5)
    theirs = wire.Resource(
        name="cpus", type="SCALAR", scalar=wire.Scalar(0.5), reservations=(level,)
    )
    record.total = record.total - [part] + [theirs]
    return (theirs,)


def test_a_new_cluster_of_the_same_name_does_not_lose_what_is_its_own() -> None:
    async def story() -> None:
        stage, host = await staged_and_lost()
        await asyncio.wait_for(stage.scheduler.delete(60), 300)
        stage.mesos.return_agent(host)
        await asyncio.sleep(5)
        stage.start()
        collector = leftovers(stage)
        looking = asyncio.create_task(collector.run())
        await stage.until_complete(600)
        await asyncio.sleep(300)
        assert stage.plan()["status"] == "COMPLETE"
        assert len(volumes(stage.mesos)) == 1
        assert documents.leftovers(stage.disk) == {}
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await stage.close()

    play(story)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_framework_that_a_later_master_takes_back_from_an_agent_is_torn_down_again(
    replaced: bool,
) -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        where = {name: task.agent.hostname for name, task in stage.mesos.live.items()}
        # Nothing else is there, but for this node.
        node = next(n for n in ("kube-node-0", "kube-node-1") if where[f"{n}-dns"][0] == "b")
        host = where[f"{node}-dns"]
        stage.mesos.lose_agent(host)
        if replaced:
            stage.mesos.given_up.add(node)
            await stage.until(lambda: stage.scheduler.world.is_lost(agent_of(stage, host)))
            stage.scheduler.pod_replace(node)
            await stage.until(lambda: stage.mesos.live[f"{node}-dns"].agent.hostname != host)
        await asyncio.wait_for(stage.scheduler.delete(60), 300)
        left = [it for it in stage.mesos.tasks.values() if it.live and it.agent.hostname == host]
        assert {task.info.name.rpartition("-")[0] for task in left} == {node}
        await stage.mesos.cluster.end_master()
        stage.mesos.cluster.elect_another()
        stage.mesos.return_agent(host)
        await asyncio.sleep(60)
        # As Mesos does it: the framework is back with its tasks, and nobody would ever end it.
        assert stage.mesos.engine.state.frameworks
        assert all(task.live for task in left)
        collector = leftovers(stage)
        for _ in range(3):
            await collector.collect()
            await asyncio.sleep(60)
        assert stage.mesos.live == {}
        assert not stage.mesos.engine.state.frameworks
        assert stage.mesos.reserved() == []
        assert collector.view() == []
        await stage.close()

    play(story)


def agent_of(stage: Stage, host: str) -> Agent:
    known = stage.scheduler.world.agents.values()
    return next(it.agent for it in known if it.agent.hostname == host)


def test_an_agent_that_never_returns_is_forgotten_on_request() -> None:
    async def story() -> None:
        stage, _ = await staged_and_lost()
        await asyncio.wait_for(stage.scheduler.delete(60), 300)
        collector = leftovers(stage)
        for seen in collector.view():
            collector.forget(seen["id"])
        assert collector.view() == []
        await stage.close()

    play(story)


def test_killed_at_any_effect_of_a_deletion_with_a_lost_agent_it_continues() -> None:
    async def deleted(limit: int | None) -> int:
        stage, host = await staged_and_lost()
        await stage.kill()
        effects = Effects(limit)
        stage.start(effects)
        wish = asyncio.create_task(stage.scheduler.delete(60))
        if limit is not None:
            with pytest.raises(Crash):
                await asyncio.gather(stage.running, wish)
            wish.cancel()
            await asyncio.gather(wish, return_exceptions=True)
            await stage.mesos.disconnect()
            if documents.cluster_names(stage.disk):
                stage.start()
                await asyncio.wait_for(stage.scheduler.delete(60), 300)
        else:
            await asyncio.wait_for(wish, 300)
        assert documents.cluster_names(stage.disk) == (), f"crash at effect {limit}"
        notes = documents.leftovers(stage.disk).values()
        assert {bool(it.framework_id) for it in notes} == {False, True}, f"crash at effect {limit}"
        stage.mesos.return_agent(host)
        await asyncio.sleep(30)
        collector = leftovers(stage)
        for _ in range(3):
            await collector.collect()
            await asyncio.sleep(60)
        assert stage.mesos.reserved() == [], f"crash at effect {limit}"
        assert documents.leftovers(stage.disk) == {}, f"crash at effect {limit}"
        await stage.close()
        return effects.count

    total = play(lambda: deleted(None))
    assert total > 20
    for limit in crash_points(1, total):
        play(lambda limit=limit: deleted(limit))
