"""Operators pause, resume, restart, stop and complete plans, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from kubedcos.errors import InvalidInput, Refused
from kubedcos.plan.interruption import Verb
from kubedcos.scheduler.steering import NoSuchElement, Operator
from kubedcos.state.records import MOST_ACTIONS

from .ensemble import Ensemble, spec
from .simulated_mesos import Behaviour
from .stage import Stage, play

ANN = Operator("ann", "a test")


def launched(stage: Stage) -> Counter[str]:
    return Counter(name for _, name, _ in stage.mesos.launches)


def test_a_pause_outlives_the_scheduler_and_is_lifted() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        stage.scheduler.plan_steer(Verb.PAUSE, "deploy", "node", operator=ANN)
        await stage.until(lambda: stage.plan()["status"] == "WAITING")
        await stage.kill()

        stage.start()
        await asyncio.sleep(30)
        assert "kube-node-0-kubelet" not in launched(stage)
        assert "paused by ann (a test)" in str(stage.steps()["kube-node-0:[kubelet, proxy, dns]"])

        done = stage.scheduler.plan_steer(Verb.RESUME, "deploy", "node", operator=ANN)
        assert not done.already
        await stage.until_complete()
        assert [action["what"] for action in stage.scheduler.action_list()] == [
            "plan resume deploy/node",
            "plan pause deploy/node",
        ]
        await stage.close()

    play(story)


def test_a_restarted_plan_is_done_again_in_order_and_keeps_its_volumes() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        home = stage.scheduler.pod_show("etcd-0")["reservation"]
        stage.workload.ready_after = 20.0
        before = len(stage.mesos.launches)
        stage.scheduler.plan_steer(Verb.RESTART, "deploy", operator=ANN)
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE")
        await stage.until_complete(600)
        again = [name for _, name, _ in stage.mesos.launches[before:]]
        assert again[:3] == ["etcd-0-peer", "kube-apiserver-0-instance", "bindings-0-apply"]
        times = [at for at, _, _ in stage.mesos.launches[before:]]
        assert times[1] - times[0] >= 20, "the next one waits until the first is ready"
        assert set(launched(stage).values()) == {2}
        assert stage.scheduler.pod_show("etcd-0")["reservation"] == home
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_restarted_step_is_done_once_more_although_the_scheduler_dies() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        step = "kube-node-1:[kubelet, proxy, dns]"
        stage.scheduler.plan_steer(Verb.RESTART, "deploy", "node", step, operator=ANN)
        await stage.kill()
        stage.start()
        await stage.until(lambda: launched(stage)["kube-node-1-kubelet"] == 2)
        await stage.until_complete()
        assert launched(stage)["kube-node-0-kubelet"] == 1
        assert stage.scheduler.world.interruptions == {}
        await stage.close()

    play(story)


def test_a_step_taken_for_complete_lets_the_plan_go_on_until_it_is_true() -> None:
    async def story() -> None:
        stage = Stage()
        stage.mesos.behaviours["bindings-0-apply"] = Behaviour(
            ends_after=1.0, ends_as="TASK_FAILED"
        )
        stage.start()
        step = "bindings-0:[apply]"
        await stage.until(lambda: stage.steps()[step]["status"] == "DELAYED")
        stage.scheduler.plan_steer(Verb.COMPLETE, "deploy", "mandatory-addons", step, operator=ANN)
        await stage.until_complete()
        assert "taken for complete by ann" in str(stage.steps()[step]["reason"])

        stage.mesos.behaviours["bindings-0-apply"] = Behaviour(ends_after=1.0)
        stage.scheduler.plan_steer(Verb.RESTART, "deploy", "mandatory-addons", step, operator=ANN)
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE")
        await stage.until_complete()
        assert stage.steps()[step]["reason"] == ""
        assert stage.scheduler.world.interruptions == {}
        await stage.close()

    play(story)


@pytest.mark.parametrize("ended", ["etcd-0", "etcd-1", "etcd-2"])
def test_a_plan_is_restarted_although_a_member_has_just_ended(ended: str) -> None:
    async def story() -> None:
        stage = Ensemble(spec(members=3))
        stage.start()
        await stage.until_whole()
        stage.mesos.fail(f"{ended}-peer")
        await asyncio.sleep(1)
        stage.scheduler.plan_steer(Verb.RESTART, "deploy", "etcd", operator=ANN)
        fewest = 3
        for _ in range(1200):
            fewest = min(fewest, sum(name.startswith("etcd") for name in stage.live))
            stage.sound()
            await asyncio.sleep(0.2)
        assert fewest == 2
        assert stage.scheduler.world.interruptions == {}
        assert stage.plan()["status"] == "COMPLETE"
        assert min(launched(stage)[f"etcd-{index}-peer"] for index in range(3)) == 2
        await stage.close()

    play(story)


def test_a_stopped_plan_does_nothing_until_it_is_started() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until(lambda: stage.steps()["etcd-0:[peer]"]["status"] == "COMPLETE")
        stage.scheduler.plan_steer(Verb.STOP, "deploy", operator=ANN)
        await asyncio.sleep(30)
        assert stage.plan()["status"] == "WAITING"
        assert launched(stage)["etcd-0-peer"] == 1
        stage.scheduler.plan_steer(Verb.START, "deploy", operator=ANN)
        await stage.until_complete()
        assert launched(stage)["etcd-0-peer"] == 2
        await stage.close()

    play(story)


def test_what_makes_no_sense_is_refused_and_changes_nothing() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        steer = stage.scheduler.plan_steer
        with pytest.raises(NoSuchElement, match="one of: deploy"):
            steer(Verb.PAUSE, "depoy", operator=ANN)
        with pytest.raises(NoSuchElement, match="one of: etcd, "):
            steer(Verb.PAUSE, "deploy", "etdc", operator=ANN)
        with pytest.raises(NoSuchElement, match="phase: found ''"):
            steer(Verb.PAUSE, "deploy", "", "etcd-0:[peer]", operator=ANN)
        with pytest.raises(InvalidInput, match="the plan alone"):
            steer(Verb.STOP, "deploy", "etcd", operator=ANN)
        assert stage.scheduler.world.interruptions == {}
        assert stage.scheduler.action_list() == []

        deleting = asyncio.create_task(stage.scheduler.delete())
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="is being deleted"):
            steer(Verb.PAUSE, "deploy", operator=ANN)
        assert "refused: " in stage.scheduler.action_list()[0]["outcome"]
        await deleting
        await stage.close()

    play(story)


def test_the_oldest_actions_are_forgotten() -> None:
    async def story() -> None:
        stage = Stage()
        for number in range(MOST_ACTIONS + 5):
            stage.scheduler.note_action(ANN, f"action {number}", "done")
        found = stage.scheduler.action_list()
        assert len(found) == MOST_ACTIONS
        assert found[0]["what"] == f"action {MOST_ACTIONS + 4}"
        stage.start()
        assert stage.scheduler.action_list() == found
        await stage.close()

    play(story)


def test_a_paused_recovery_begins_nothing_until_it_is_resumed() -> None:
    async def story() -> None:
        stage = Ensemble(spec(replace_after=60))
        stage.start()
        await stage.until_whole()
        # It is complete, and may be paused beforehand nevertheless.
        assert not stage.scheduler.plan_steer(Verb.PAUSE, "recovery", operator=ANN).already
        lost = stage.host("kube-node-1-kubelet")
        stage.mesos.lose_agent(lost)
        stage.mesos.fail("kube-apiserver-0-instance")
        await asyncio.sleep(300)
        assert "kube-apiserver-0-instance" not in stage.live
        steps = stage.recovery()
        assert steps["kube-apiserver-0"]["status"] == "WAITING"
        assert "recovery paused by ann (a test)" in steps["kube-apiserver-0"]["reason"]
        assert "paused by ann (a test)" in steps["kube-node-1"]["reason"]
        assert stage.status("recovery") == "WAITING"
        await stage.kill()

        stage.start()
        stage.scheduler.plan_steer(Verb.RESUME, "recovery", operator=ANN)
        await stage.until_whole()
        assert stage.host("kube-node-1-kubelet") != lost
        stage.sound()
        with pytest.raises(InvalidInput, match="pause or resume"):
            stage.scheduler.plan_steer(Verb.RESTART, "recovery", operator=ANN)
        await stage.close()

    play(story)
