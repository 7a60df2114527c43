"""What operators ask of a pod instance is stored, carried out, and refused where it does harm."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from kubedcos.errors import InvalidInput, Refused
from kubedcos.scheduler import invariants

from .ensemble import Ensemble, agents, spec
from .machines import SimulatedAgent
from .stage import Effects, Stage, play


def _sound(stage: Stage) -> None:
    assert stage.mesos.violations == []
    assert invariants.broken(stage.spec, stage.scheduler.world) == ()


def test_a_restart_is_in_place() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        before = dict(stage.live)
        reserved = stage.mesos.reserved()
        answer = stage.scheduler.pod_restart("etcd-1")
        assert answer == {"pod": "etcd-1", "tasks": ["etcd-1-peer"]}
        await stage.until(
            lambda: stage.live.get("etcd-1-peer") not in (None, before["etcd-1-peer"]), 60
        )
        await stage.until_complete()
        assert stage.host("etcd-1-peer") == before["etcd-1-peer"].agent.hostname
        assert stage.mesos.reserved() == reserved
        changed = {name for name, task in stage.live.items() if task is not before[name]}
        assert changed == {"etcd-1-peer"}
        _sound(stage)
        await stage.close()

    play(story)


def test_a_restart_runs_an_addon_once_more() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        stage.scheduler.pod_restart("bindings-0")
        await stage.until(
            lambda: [n for _, n, _ in stage.mesos.launches].count("bindings-0-apply") == 2, 60
        )
        await stage.until_complete()
        launches = Counter(name for _, name, _ in stage.mesos.launches)
        assert {name for name, times in launches.items() if times > 1} == {"bindings-0-apply"}
        _sound(stage)
        await stage.close()

    play(story)


def test_a_member_is_restarted_only_when_the_others_say_that_they_are_there() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        before = stage.live["etcd-1-peer"]
        # Mesos does not notice for more than a minute.
        stage.mesos.cut(stage.host("etcd-0-peer"))
        stage.scheduler.pod_restart("etcd-1")
        await asyncio.sleep(40)
        assert before.live
        assert stage.scheduler.refusals["quorum"] == 1
        stage.mesos.return_agent(stage.host("etcd-0-peer"))
        await stage.until(lambda: stage.live.get("etcd-1-peer") not in (None, before), 60)
        await stage.until_complete()
        _sound(stage)
        await stage.close()

    play(story)


def test_a_replaced_pod_lives_elsewhere_and_leaves_nothing_behind() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        reserved = len(stage.mesos.reserved())
        old = {name: stage.host(name) for name in ("etcd-2-peer", "kube-node-0-kubelet")}
        stage.scheduler.pod_replace("etcd-2")
        stage.scheduler.pod_replace("kube-node-0")
        await stage.until(lambda: not stage.scheduler.world.recovery_of("etcd", 2).replacement)
        await stage.until(lambda: not stage.scheduler.world.recovery_of("kube-node", 0).replacement)
        await stage.until_complete()
        for name, host in old.items():
            assert stage.host(name) != host
        await stage.until(lambda: len(stage.mesos.reserved()) == reserved, 60)
        await stage.until(lambda: len(stage.scheduler.world.reservations) == 3, 200)
        _sound(stage)
        await stage.close()

    play(story)


@pytest.mark.parametrize("away", [30, 250])
def test_a_release_that_never_reached_its_agent_is_made_again_when_it_is_back(away: int) -> None:
    """Mesos notices after more than a minute, or not at all, that the agent was away."""

    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        reserved, old = len(stage.mesos.reserved()), stage.host("etcd-2-peer")
        cut_at = stage.mesos.cut_at_release(old)
        stage.scheduler.pod_replace("etcd-2")
        await stage.until(cut_at.done, 60)
        await stage.until_whole()
        await asyncio.sleep(await cut_at + away - stage.mesos.now)
        stage.mesos.return_agent(old)
        # Its reservation is there again, and known to nobody but us.
        await stage.until(lambda: len(stage.mesos.reserved()) > reserved, 30)
        await stage.until(lambda: len(stage.scheduler.world.reservations) == 3, 600)
        assert len(stage.mesos.reserved()) == reserved
        _sound(stage)
        await stage.close()

    play(story)


def test_after_a_release_a_complete_cluster_is_left_alone_but_for_one_more_look() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        stage.scheduler.pod_replace("etcd-2")
        await stage.until_whole()
        await stage.until(lambda: stage.mesos.calls[-1].type == "SUPPRESS", 30)
        calls = len(stage.mesos.calls)
        assert len(stage.scheduler.world.reservations) == 4
        await stage.until(lambda: len(stage.scheduler.world.reservations) == 3, 200)
        await stage.until(lambda: stage.mesos.calls[-1].type == "SUPPRESS", 30)
        said = [call.type for call in stage.mesos.calls[calls:] if call.type != "RECONCILE"]
        assert said == ["REVIVE", "DECLINE", "SUPPRESS"]
        _sound(stage)
        await stage.close()

    play(story)


def test_two_members_are_replaced_one_after_the_other() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        stage.scheduler.pod_replace("etcd-0")
        stage.scheduler.pod_replace("etcd-1")
        fewest = 3
        for _ in range(600):
            fewest = min(fewest, sum(name.startswith("etcd") for name in stage.live))
            _sound(stage)
            await asyncio.sleep(0.2)
        assert fewest == 2
        assert not any(record.replacement for record in stage.scheduler.world.recovery.values())
        _sound(stage)
        await stage.close()

    play(story)


def test_a_paused_pod_does_not_run_until_it_is_resumed_in_place() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        host, reserved = stage.host("etcd-0-peer"), stage.mesos.reserved()
        stage.scheduler.pod_pause("etcd-0")
        await stage.until(lambda: "etcd-0-peer" not in stage.live, 60)
        await stage.kill()
        stage.start(Effects())
        await asyncio.sleep(300)
        assert "etcd-0-peer" not in stage.live
        assert stage.mesos.reserved() == reserved
        with pytest.raises(Refused, match="etcd needs 2 of 3 healthy members"):
            stage.scheduler.pod_pause("etcd-1")
        stage.scheduler.pod_resume("etcd-0")
        await stage.until(lambda: "etcd-0-peer" in stage.live, 60)
        assert stage.host("etcd-0-peer") == host
        await stage.until_complete()
        assert stage.scheduler.world.recovery == {}
        _sound(stage)
        await stage.close()

    play(story)


def test_single_tasks_are_paused_and_resumed() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        answer = stage.scheduler.pod_pause("kube-node-1", ["kube-node-1-dns", "proxy"])
        assert answer["tasks"] == ["kube-node-1-proxy", "kube-node-1-dns"]
        await stage.until(lambda: "kube-node-1-dns" not in stage.live, 60)
        assert "kube-node-1-kubelet" in stage.live
        assert stage.scheduler.pod_resume("kube-node-1", ["dns"])["tasks"] == ["kube-node-1-dns"]
        await stage.until(lambda: "kube-node-1-dns" in stage.live, 60)
        await asyncio.sleep(60)
        assert "kube-node-1-proxy" not in stage.live
        await stage.close()

    play(story)


def test_what_breaks_a_quorum_is_refused_and_changes_nothing() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        stage.mesos.lose_agent(stage.host("etcd-0-peer"))
        await stage.until(lambda: "etcd-0-peer" not in stage.live, 60)
        await asyncio.sleep(5)
        before = dict(stage.scheduler.world.tasks), dict(stage.scheduler.world.recovery)
        for ask in (
            lambda: stage.scheduler.pod_restart("etcd-1"),
            lambda: stage.scheduler.pod_replace("etcd-1"),
            lambda: stage.scheduler.pod_pause("etcd-1"),
        ):
            with pytest.raises(Refused, match=r"without etcd-1 there would be 1 \(etcd-2\)"):
                ask()
        assert before == (stage.scheduler.world.tasks, stage.scheduler.world.recovery)
        _sound(stage)
        await stage.close()

    play(story)


def test_the_only_member_is_restarted_by_force_and_never_replaced() -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=1))
        stage.start()
        await stage.until_complete()
        with pytest.raises(Refused, match="needs 1 of 1"):
            stage.scheduler.pod_restart("etcd-0")
        with pytest.raises(Refused, match="needs 1 of 1"):
            stage.scheduler.pod_replace("etcd-0")
        first = stage.live["etcd-0-peer"]
        stage.scheduler.pod_restart("etcd-0", force=True)
        await stage.until(lambda: stage.live.get("etcd-0-peer") not in (None, first), 60)
        assert stage.host("etcd-0-peer") == first.agent.hostname
        _sound(stage)
        await stage.close()

    play(story)


def test_a_replacement_without_another_place_is_refused() -> None:
    async def story() -> None:
        few = [*agents(1), SimulatedAgent("a2", "dc-a", "a-2", cpus=0.25)]
        stage = Ensemble(spec(members=1), few)
        stage.start()
        await stage.until_complete()
        with pytest.raises(Refused) as refused:
            stage.scheduler.pod_replace("kube-apiserver-0")
        assert str(refused.value) == (
            "kube-apiserver-0 is not replaced: its placement and size allow no known agent but a1,"
            " where it is: of 2 other agents placement forbids 1 (b1 is in region dc-b), and 1 is"
            " too small (a2 has 0.25 of 0.5 cpus)"
        )
        await stage.close()

    play(story)


def test_unknown_instances_and_tasks_are_named() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_complete()
        for name in ("etcd-3", "etcd-01", "etcd", "nobody-0"):
            with pytest.raises(KeyError):
                stage.scheduler.pod_restart(name)
        with pytest.raises(InvalidInput, match="found nothing-such; wanted kubelet, proxy, dns"):
            stage.scheduler.pod_pause("kube-node-0", ["nothing-such"])
        await stage.close()

    play(story)
