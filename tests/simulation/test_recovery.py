"""What is lost is waited for, and then replaced; too much at once is not."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from kubedcos.errors import Refused

from .crash_points import crash_points
from .ensemble import Ensemble, agents, spec
from .simulated_mesos import SimulatedAgent
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


def test_a_lost_quorum_is_told_and_not_made_worse() -> None:
    async def story() -> None:
        stage = Ensemble(spec(restore="kubedcos cluster restore kubernetes"))
        stage.start()
        await stage.until_whole()
        launched = len(stage.mesos.launches)
        hosts = [stage.host(f"etcd-{index}-peer") for index in (0, 1)]
        for host in hosts:
            stage.mesos.lose_agent(host)
        await asyncio.sleep(900)
        names = {name for _, name, _ in stage.mesos.launches[launched:]}
        assert not any(name.startswith("etcd") for name in names)
        reason = stage.recovery()["etcd-0"]["reason"]
        assert "etcd has lost its quorum: 1 of 3 members are left, 2 are needed" in reason
        assert reason.endswith("`kubedcos cluster restore kubernetes` restores it")
        told = stage.scheduler.snapshot()["recovery"]["quorum_lost"]
        assert list(told) == ["etcd"]
        with pytest.raises(Refused, match="needs 2 of 3"):
            stage.scheduler.pod_replace("etcd-0")
        for host in hosts:
            stage.mesos.return_agent(host)
        await stage.until_whole()
        stage.sound()
        await stage.close()

    play(story)


def test_two_members_that_stood_before_the_third_are_the_whole_ensemble() -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=3))
        stage.workload.not_ready["etcd-2-peer"] = "joins"
        stage.start()
        await stage.until(lambda: "etcd-2-peer" in stage.live)
        stage.mesos.say_gone(stage.host("etcd-0-peer"))
        await asyncio.sleep(60)
        (told,) = stage.scheduler.snapshot()["recovery"]["quorum_lost"].values()
        assert told.startswith("etcd has lost its quorum: 1 of 2 members are left, 2 are needed")
        await stage.close()

    play(story)


def test_the_only_member_is_not_founded_anew_when_its_agent_is_gone() -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=1, restore="restore it"))
        stage.start()
        await stage.until_whole()
        host = stage.host("etcd-0-peer")
        stage.mesos.lose_agent(host)
        await asyncio.sleep(5)
        stage.mesos.mark_gone(host)
        await asyncio.sleep(600)
        assert "etcd-0-peer" not in stage.live
        assert "`restore it` restores it" in stage.recovery()["etcd-0"]["reason"]
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


def test_a_drained_agent_is_left() -> None:
    async def story() -> None:
        stage = Ensemble(spec(replace_after=100_000))
        stage.start()
        await stage.until_whole()
        host = stage.host("etcd-1-peer")
        on_it = {name for name, task in stage.live.items() if task.agent.hostname == host}
        stage.drain(host)
        await stage.until(lambda: not on_it & set(stage.live), 60)
        await stage.until_whole()
        assert on_it <= set(stage.live)
        assert all(stage.host(name) != host for name in on_it)
        assert ("prepare", "etcd-1", host) in stage.workload.departures
        stage.sound()
        await stage.close()

    play(story)


def test_a_node_without_another_place_returns_to_an_agent_that_is_drained_no_more() -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=1, nodes=4), agents(2))
        stage.start()
        await stage.until_whole()
        host = stage.host("kube-node-1-kubelet")
        stage.drain(host)
        await stage.until(lambda: ("finish", "kube-node-1", host) in stage.workload.departures, 60)
        await asyncio.sleep(60)
        assert stage.recovery()["kube-node-1"]["status"] == "PENDING"
        assert stage.mesos.reactivate(host)
        await stage.until_whole()
        assert stage.host("kube-node-1-kubelet") == host
        stage.sound()
        await stage.close()

    play(story)


def test_an_agent_is_vacated_before_its_maintenance() -> None:
    async def story() -> None:
        stage = Ensemble(spec(replace_after=100_000, lead=600))
        stage.start()
        await stage.until_whole()
        host = stage.host("kube-node-1-kubelet")
        stage.schedule([host], after=1800)
        await asyncio.sleep(1000)
        assert stage.host("kube-node-1-kubelet") == host
        await asyncio.sleep(500)
        await stage.until_whole()
        assert stage.host("kube-node-1-kubelet") != host
        sides = [side for side, *_ in stage.workload.departures]
        assert sides.count("prepare") == sides.count("finish") > 0
        answers = {call.type for call in stage.mesos.calls if "INVERSE" in str(call.type)}
        assert answers == {"ACCEPT_INVERSE_OFFERS"}
        assert all(task.agent.hostname != host for task in stage.live.values())
        stage.sound()
        await stage.close()

    play(story)


@pytest.mark.parametrize("kept", range(4))
def test_nothing_is_placed_on_an_agent_that_is_about_to_be_maintained(kept: int) -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=1, lead=600))
        stage.start()
        await stage.until_whole()
        here = stage.host("kube-node-1-kubelet")
        others = [place for place in ("b1", "b2", "b3", "b4", "b5") if place != here]
        planned = {here, *others} - {others[kept]}
        stage.schedule(sorted(planned), after=300)
        await asyncio.sleep(120)
        await stage.until_whole()
        assert stage.host("kube-node-1-kubelet") == others[kept]
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert launches["kube-node-1-kubelet"] == 2
        stage.sound()
        await stage.close()

    play(story)


def test_maintenance_that_is_called_off_moves_nothing() -> None:
    async def story() -> None:
        stage = Ensemble(spec(lead=600))
        stage.start()
        await stage.until_whole()
        launched = len(stage.mesos.launches)
        stage.schedule([stage.host("kube-node-1-kubelet")], after=1800)
        await asyncio.sleep(100)
        stage.schedule([], after=0)
        await asyncio.sleep(3000)
        assert len(stage.mesos.launches) == launched
        await stage.close()

    play(story)


def test_maintenance_is_declined_where_there_is_no_other_place() -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=1, nodes=2), agents(1))
        stage.start()
        await stage.until_whole()
        launched = len(stage.mesos.launches)
        host = stage.host("kube-node-1-kubelet")
        stage.schedule([host], after=60)
        await asyncio.sleep(300)
        assert len(stage.mesos.launches) == launched
        kinds = [call.type for call in stage.mesos.calls if "INVERSE" in str(call.type)]
        assert kinds[-1] == "DECLINE_INVERSE_OFFERS"
        assert (
            "there is no other place for kube-node-1" in stage.recovery()["kube-node-1"]["reason"]
        )
        await stage.close()

    play(story)


def test_nodes_are_replaced_one_after_the_other_with_a_gap() -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=1, nodes=6, gap=60), agents(6))
        stage.start()
        await stage.until_whole()
        etcd = stage.host("etcd-0-peer")
        nodes = sorted(
            name for name in stage.live if name.endswith("kubelet") and stage.host(name) != etcd
        )
        launched = len(stage.mesos.launches)
        for name in nodes[:3]:
            stage.mesos.lose_agent(stage.host(name))
        await asyncio.sleep(10)
        await stage.until_whole(1200)
        again = [(at, name) for at, name, _ in stage.mesos.launches[launched:] if "kubelet" in name]
        assert sorted(name for _, name in again) == nodes[:3]
        times = sorted(at for at, _ in again)
        assert all(later - earlier >= 55 for earlier, later in pairwise(times))
        stage.sound()
        await stage.close()

    play(story)


def test_recovery_pauses_when_many_agents_vanish_at_once() -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=1, nodes=6), agents(4))
        stage.start()
        await stage.until_whole()
        launched = len(stage.mesos.launches)
        etcd = stage.host("etcd-0-peer")
        hosts = [f"b{number}" for number in (1, 2, 3)]
        assert etcd not in hosts
        for host in hosts:
            stage.mesos.lose_agent(host)
        await asyncio.sleep(1800)
        assert len(stage.mesos.launches) == launched
        held = stage.scheduler.snapshot()["recovery"]["held"]
        assert held.startswith("3 of 8 agents vanished at once")
        lost = next(pod for pod, step in stage.recovery().items() if held in step["reason"])
        stage.mesos.patience = 0.0
        stage.scheduler.pod_replace(lost)
        await stage.until(lambda: f"{lost}-kubelet" in stage.live, 120)
        for host in hosts:
            stage.mesos.return_agent(host)
        await stage.until_whole()
        assert len(stage.mesos.launches) == launched + 3
        await asyncio.sleep(60)
        assert set(Counter(t.info.name for t in stage.mesos.tasks.values() if t.live).values()) == {
            1
        }
        stage.sound()
        await stage.close()

    play(story)


def test_what_ran_in_a_region_that_is_cut_off_is_not_replaced() -> None:
    async def story() -> None:
        places = [*agents(6)[:6], *(SimulatedAgent(f"b{n}", "dc-b", f"b-{n}") for n in (1, 2))]
        stage = Ensemble(spec(members=1, nodes=2), places)
        stage.start()
        await stage.until_whole()
        launched = len(stage.mesos.launches)
        before = {name: task.agent.hostname for name, task in stage.live.items()}
        for host in ("b1", "b2"):
            stage.mesos.lose_agent(host)
        await asyncio.sleep(1800)
        assert len(stage.mesos.launches) == launched
        assert any("region dc-b is cut off" in s["reason"] for s in stage.recovery().values())
        for host in ("b1", "b2"):
            stage.mesos.return_agent(host)
        await stage.until_whole()
        assert {name: t.agent.hostname for name, t in stage.live.items()} == before
        stage.sound()
        await stage.close()

    play(story)


@pytest.mark.parametrize("last_after", [60, 240])
@pytest.mark.parametrize("others", [2, 6])
def test_agents_of_a_region_that_was_cut_off_may_return_one_by_one(
    others: int, last_after: float
) -> None:
    async def story() -> None:
        places = [*agents(others)[:others], *agents(2)[2:]]
        stage = Ensemble(spec(members=1, nodes=4), places)
        stage.start()
        await stage.until_whole()
        before = {task.info.task_id.value: task.agent.hostname for task in stage.live.values()}
        assert {"b1", "b2"} <= set(before.values())
        for host in ("b1", "b2"):
            stage.mesos.lose_agent(host)
        await asyncio.sleep(1800)
        stage.mesos.return_agent("b1")
        await asyncio.sleep(last_after)
        assert stage.status("recovery") != "COMPLETE"
        stage.mesos.return_agent("b2")
        await stage.until_whole()
        assert before == {t.info.task_id.value: t.agent.hostname for t in stage.live.values()}
        stage.sound()
        await stage.close()

    play(story)


def test_an_agent_that_does_not_come_back_with_its_region_is_replaced() -> None:
    async def story() -> None:
        places = [*agents(6)[:6], *agents(3)[3:]]
        stage = Ensemble(spec(members=1, nodes=6), places)
        stage.start()
        await stage.until_whole()
        assert {"b1", "b2", "b3"} <= {task.agent.hostname for task in stage.live.values()}
        for host in ("b1", "b2", "b3"):
            stage.mesos.lose_agent(host)
        await asyncio.sleep(1800)
        for host in ("b1", "b3"):
            stage.mesos.return_agent(host)
        await asyncio.sleep(120)
        reasons = [step["reason"] for step in stage.recovery().values()]
        assert any("region dc-b was cut off until" in reason for reason in reasons), reasons
        await stage.until_whole()
        assert "b2" not in {task.agent.hostname for task in stage.live.values()}
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
