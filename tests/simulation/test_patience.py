"""Nobody is replaced too early: whatever the clock says, and while a quorum is coming back."""

from __future__ import annotations

import asyncio
from collections import Counter

from .ensemble import Ensemble
from .stage import play


def test_a_scheduler_that_begins_after_the_clock_was_set_waits_by_the_masters_clocks() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        lost_at = stage.mesos.now
        stage.mesos.lose_agent(stage.host("etcd-1-peer"))
        await asyncio.sleep(30)
        stage.clock.ahead += 5000.0
        await stage.kill()
        stage.start()
        await asyncio.sleep(10)
        assert "the clock was set: waits for" in stage.recovery()["etcd-1"]["reason"]
        await stage.until(lambda: "etcd-1-peer" in stage.live, 300)
        assert 120 <= stage.mesos.now - lost_at < 180
        await stage.until_whole()
        stage.sound()
        await stage.close()

    play(story)


def test_nothing_is_replaced_before_mesos_has_said_how_it_is_by_now() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        host = stage.host("etcd-1-peer")
        stage.mesos.lose_agent(host)
        await asyncio.sleep(30)
        await stage.kill()
        stage.mesos.return_agent(host)
        await asyncio.sleep(600)
        stage.start()
        await stage.until_whole()
        assert stage.workload.departures == []
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(launches.values()) == {1}
        stage.sound()
        await stage.close()

    play(story)


def test_a_member_whose_move_would_break_the_quorum_by_now_gives_way_to_the_one_that_is_lost() -> (
    None
):
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        stage.workload.stays["etcd-2"] = "etcd is busy"
        stage.scheduler.pod_replace("etcd-2")
        await stage.until(lambda: bool(stage.workload.departures), 30)
        before = {name: stage.host(f"{name}-peer") for name in ("etcd-0", "etcd-2")}
        stage.mesos.lose_agent(before["etcd-0"])
        await asyncio.sleep(10)
        stage.workload.stays.clear()
        await stage.until_whole(1200)
        for name, host in before.items():
            assert stage.host(f"{name}-peer") != host
        stage.sound()
        await stage.close()

    play(story)


async def without_quorum() -> tuple[Ensemble, list[str]]:
    """Two of three members have been away for a quarter of an hour; with their hosts."""
    stage = Ensemble()
    stage.start()
    await stage.until_whole()
    lost = [stage.host(f"etcd-{index}-peer") for index in (0, 1)]
    for host in lost:
        stage.mesos.lose_agent(host)
    await asyncio.sleep(900)
    return stage, lost


def test_members_of_a_quorum_that_comes_back_are_waited_for() -> None:
    async def story() -> None:
        stage, lost = await without_quorum()
        assert "etcd" in stage.scheduler.quorums_lost
        stage.mesos.return_agent(lost[0])
        await asyncio.sleep(60)
        assert stage.scheduler.quorums_lost == {}
        assert "etcd had lost its quorum until" in stage.recovery()["etcd-1"]["reason"]
        stage.mesos.return_agent(lost[1])
        await stage.until_whole()
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert launches["etcd-1-peer"] == 1
        stage.sound()
        await stage.close()

    play(story)


def test_a_member_that_stays_away_when_the_quorum_is_back_is_replaced_after_all() -> None:
    async def story() -> None:
        stage, lost = await without_quorum()
        stage.mesos.return_agent(lost[0])
        await stage.until(lambda: "etcd-1-peer" in stage.live, 600)
        assert stage.host("etcd-1-peer") != lost[1]
        await stage.until_whole()
        stage.sound()
        await stage.close()

    play(story)
