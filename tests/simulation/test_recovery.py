"""What is lost is waited for, and then replaced in another place."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from .crash_points import crash_points
from .ensemble import Ensemble, spec
from .stage import Crash, Effects, play


def test_a_dead_component_is_the_affair_of_plan_recovery() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        assert stage.recovery() == {}
        host = stage.host("kube-apiserver-0-instance")
        stage.mesos.fail("kube-apiserver-0-instance")
        await stage.until(lambda: stage.status("recovery") != "COMPLETE", 20, every=0.05)
        step = stage.recovery()["kube-apiserver-0"]
        assert (step["name"], step["status"]) == ("kube-apiserver-0:[instance]", "DELAYED")
        assert "next attempt in 5 s" in step["reason"]
        assert stage.status("deploy") == "COMPLETE"
        await stage.until_whole()
        assert stage.host("kube-apiserver-0-instance") == host
        step = stage.recovery()["kube-apiserver-0"]
        assert (step["status"], step["reason"]) == ("COMPLETE", "")
        assert step["started_at"] < step["finished_at"]
        await asyncio.sleep(3700)
        assert stage.recovery() == {}
        stage.sound()
        await stage.close()

    play(story)


def test_back_off_and_waits_survive_a_restart_of_the_scheduler() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        for _ in range(5):
            stage.mesos.fail("kube-apiserver-0-instance")
            await stage.until(lambda: "kube-apiserver-0-instance" in stage.live, 400, 0.1)
            await asyncio.sleep(2)
        stage.mesos.fail("kube-apiserver-0-instance")
        lost = stage.host("kube-node-1-kubelet")
        stage.mesos.lose_agent(lost)
        await asyncio.sleep(5)
        before = stage.recovery()["kube-node-1"]["reason"]
        failed_at = stage.mesos.now
        await stage.kill()
        stage.start()
        await asyncio.sleep(20)
        assert stage.recovery()["kube-node-1"]["reason"] == before
        await stage.until(lambda: "kube-apiserver-0-instance" in stage.live, 400, 0.1)
        assert 100 < stage.mesos.now - failed_at < 200
        stage.sound()
        await stage.close()

    play(story)


def test_an_agent_that_returns_in_time_has_nothing_replaced() -> None:
    async def story() -> None:
        stage = Ensemble(spec(replace_after=1200))
        stage.start()
        await stage.until_whole()
        launched = len(stage.mesos.launches)
        host = stage.host("kube-node-1-kubelet")
        stage.mesos.lose_agent(host)
        await asyncio.sleep(1100)
        step = stage.recovery()["kube-node-1"]
        assert step["status"] == "PENDING"
        assert step["reason"].startswith(f"{host} is out of reach since 20")
        assert "waits for it until" in step["reason"]
        assert step["reason"].endswith("then kube-node-1 is replaced")
        assert stage.status("deploy") == "COMPLETE"
        stage.mesos.return_agent(host)
        await stage.until_whole()
        await asyncio.sleep(2000)
        assert len(stage.mesos.launches) == launched
        assert stage.workload.departures == []
        stage.sound()
        await stage.close()

    play(story)


def test_a_node_that_stays_lost_is_replaced_and_ended_when_it_returns() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        host = stage.host("kube-node-1-kubelet")
        old = {name: task for name, task in stage.live.items() if "node-1" in name}
        stage.mesos.lose_agent(host)
        await stage.until(lambda: stage.workload.departures != [], 200)
        assert stage.mesos.now >= 120
        await stage.until_whole()
        assert [side for side, *_ in stage.workload.departures] == ["prepare", "finish"]
        assert {at for *_, at in stage.workload.departures} == {host}
        new = {name: task.agent.hostname for name, task in stage.live.items()}
        assert {new[name] for name in old} != {host}
        stage.mesos.return_agent(host)
        await stage.until(lambda: all(not task.live for task in old.values()), 120)
        await stage.until_whole()
        assert {name: task.agent.hostname for name, task in stage.live.items()} == new
        stage.sound()
        await stage.close()

    play(story)


def test_a_member_that_stays_lost_is_replaced_and_its_volume_collected() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        reserved = len(stage.mesos.reserved())
        host, old = stage.host("etcd-1-peer"), stage.live["etcd-1-peer"]
        stage.mesos.lose_agent(host)
        await asyncio.sleep(100)
        assert stage.workload.departures == []
        await asyncio.sleep(60)
        await stage.until_whole()
        assert stage.host("etcd-1-peer") != host
        assert ("prepare", "etcd-1", host) in stage.workload.departures
        stage.mesos.return_agent(host)
        await stage.until(lambda: not old.live, 120)
        await stage.until(lambda: len(stage.mesos.reserved()) == reserved, 1200)
        stage.sound()
        await stage.close()

    play(story)


def test_a_member_that_was_down_when_its_agent_vanished_is_replaced_too() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        host = stage.host("etcd-1-peer")
        stage.scheduler.pod_pause("etcd-1")
        await stage.until(lambda: "etcd-1-peer" not in stage.live, 60)
        await stage.kill()
        stage.mesos.lose_agent(host)
        await asyncio.sleep(5)
        stage.start()
        stage.scheduler.pod_resume("etcd-1")
        await asyncio.sleep(30)
        assert "etcd-1-peer" not in stage.live
        await stage.until(lambda: "etcd-1-peer" in stage.live, 600)
        assert stage.host("etcd-1-peer") != host
        await stage.until_whole()
        stage.sound()
        await stage.close()

    play(story)


def test_nothing_is_launched_elsewhere_before_the_old_place_is_settled() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        stage.workload.stays["etcd-1"] = "etcd-2 must answer first"
        stage.mesos.lose_agent(stage.host("etcd-1-peer"))
        await asyncio.sleep(600)
        assert "etcd-1-peer" not in stage.live
        step = stage.recovery()["etcd-1"]
        assert step["status"] == "IN_PROGRESS"
        assert step["reason"].endswith("etcd-2 must answer first")
        stage.workload.stays.clear()
        await stage.until_whole()
        stage.sound()
        await stage.close()

    play(story)


def test_a_member_whose_agent_is_gone_is_replaced_at_once() -> None:
    async def story() -> None:
        stage = Ensemble(spec(replace_after=100_000))
        stage.start()
        await stage.until_whole()
        host = stage.host("etcd-1-peer")
        stage.mesos.lose_agent(host)
        await asyncio.sleep(5)
        stage.mesos.mark_gone(host)
        await stage.until(lambda: "etcd-1-peer" in stage.live, 120)
        await stage.until_whole()
        assert stage.host("etcd-1-peer") != host
        assert ("prepare", "etcd-1", host) in stage.workload.departures
        stage.sound()
        await stage.close()

    play(story)


def test_a_replacement_survives_a_scheduler_that_is_killed_in_the_middle() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        stage.mesos.lose_agent(stage.host("etcd-1-peer"))
        for _ in range(60):
            await asyncio.sleep(4)
            await stage.kill()
            stage.start()
        await stage.until_whole(1200)
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert launches["etcd-1-peer"] == 2
        assert {n for name, n in launches.items() if name != "etcd-1-peer"} == {1}
        stage.sound()
        await stage.close()

    play(story)


def test_what_is_left_on_a_lost_agent_is_collected_without_asking_for_offers_all_the_time() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        reserved = len(stage.mesos.reserved())
        host = stage.host("etcd-1-peer")
        stage.mesos.lose_agent(host)
        await asyncio.sleep(180)
        await stage.until_whole()
        await asyncio.sleep(60)
        before = len(stage.mesos.calls)
        await asyncio.sleep(7200)
        asked = [call.type for call in stage.mesos.calls[before:]]
        assert "REVIVE" not in asked
        assert "SUPPRESS" not in asked
        stage.mesos.return_agent(host)
        await stage.until(lambda: len(stage.mesos.reserved()) == reserved, 120)
        stage.sound()
        await stage.close()

    play(story)


def test_killed_at_any_effect_a_replacement_goes_on() -> None:
    async def lived(limit: int | None) -> int:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        await stage.kill()
        stage.mesos.lose_agent(stage.host("etcd-1-peer"))
        effects = Effects(limit)
        stage.start(effects)
        if limit is not None:
            with pytest.raises(Crash):
                await asyncio.wait_for(stage.running, 900)
            await stage.kill()
            stage.start()
        await asyncio.sleep(150)
        await stage.until_whole(900)
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert launches["etcd-1-peer"] == 2
        stage.sound()
        count = effects.count
        await stage.close()
        return count

    total = play(lambda: lived(None))
    assert total > 20
    for limit in crash_points(1, total):
        play(lambda limit=limit: lived(limit))
