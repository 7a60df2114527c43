"""A replacement that an operator asked for: there may be no elsewhere, and it can be taken back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from kubedcos.errors import Refused
from kubedcos.plan.interruption import Verb
from kubedcos.scheduler.steering import Operator

from .ensemble import Ensemble, agents, spec
from .stage import Effects, play

_ANN = Operator("ann", "a story")
API = "kube-apiserver-0"
NODE = "kube-node-0"


async def whole() -> Ensemble:
    """A cluster that is complete on few agents, whose nodes are emptied before they restart."""
    found = spec(members=1)
    pods = tuple(replace(pod, emptied=pod.name == "kube-node") for pod in found.pods)
    stage = Ensemble(replace(found, pods=pods), agents(2))
    stage.start()
    await stage.until_whole()
    return stage


def steer(stage: Ensemble, verb: Verb) -> None:
    """An operator pauses or resumes plan ``recovery``."""
    stage.scheduler.plan_steer(verb, "recovery", operator=_ANN)


def others(stage: Ensemble, host: str, region: str = "") -> list[str]:
    """Hosts but one, of a region or of all."""
    places = stage.mesos.agents.values()
    return [it.hostname for it in places if it.hostname != host and region in ("", it.region)]


def why(stage: Ensemble, instance: str) -> str:
    """What plan ``recovery`` says of a pod instance."""
    return str(stage.recovery()[instance]["reason"])


async def has_left_and_waits(stage: Ensemble) -> str:
    """The API server has left its agent, and finds no room; the agent's host."""
    host = stage.host(f"{API}-instance")
    for other in others(stage, host):
        stage.mesos.shrink(other, "cpus")
    stage.scheduler.pod_replace(API)
    await stage.until(lambda: "needs 0.5 cpus" in stage.recovery().get(API, {}).get("reason", ""))
    return host


def test_what_has_left_and_finds_no_place_says_so_and_goes_back_when_it_may() -> None:
    async def story() -> None:
        stage = await whole()
        host = await has_left_and_waits(stage)
        await asyncio.sleep(1800)
        assert f"{API}-instance" not in stage.live
        assert why(stage, API).startswith(f"moves from {host} (an operator asked for it): needs")
        assert why(stage, API).endswith(
            f"; `kubedcos pod replace {API} --cancel` lets it go back to {host}, too"
        )
        stage.scheduler.pod_cancel_replace(API)
        await stage.until_whole()
        assert stage.host(f"{API}-instance") == host
        stage.sound()
        await stage.close()

    play(story)


def test_what_was_taken_back_is_so_for_the_next_scheduler_too() -> None:
    async def story() -> None:
        stage = await whole()
        host = await has_left_and_waits(stage)
        stage.scheduler.pod_cancel_replace(API)
        await stage.kill()
        stage.start(Effects())
        await stage.until_whole()
        assert stage.host(f"{API}-instance") == host
        stage.sound()
        await stage.close()

    play(story)


def test_what_waits_its_turn_runs_on_when_its_last_other_place_vanishes() -> None:
    async def story() -> None:
        stage = await whole()
        host, before = stage.host(f"{API}-instance"), stage.live[f"{API}-instance"]
        steer(stage, Verb.PAUSE)
        stage.scheduler.pod_replace(API)
        [other] = others(stage, host, "dc-a")
        stage.mesos.lose_agent(other)
        await asyncio.sleep(10)
        steer(stage, Verb.RESUME)
        await asyncio.sleep(600)
        assert stage.live[f"{API}-instance"] is before
        assert why(stage, API) == (
            "an operator asked for it; of 2 other agents placement forbids 2 (b1 is in region dc-b;"
            f" b2 is in region dc-b); `kubedcos pod replace {API} --cancel` has it stay on {host}"
        )
        stage.mesos.return_agent(other)
        await stage.until_whole()
        assert stage.host(f"{API}-instance") == other
        stage.sound()
        await stage.close()

    play(story)


def test_a_node_whose_last_other_place_vanishes_while_it_is_drained_is_used_again() -> None:
    async def story() -> None:
        stage = await whole()
        host, before = stage.host(f"{NODE}-kubelet"), stage.live[f"{NODE}-kubelet"]
        stage.workload.stays[NODE] = "2 pods end"
        stage.scheduler.pod_replace(NODE)
        await stage.until(lambda: "2 pods end" in why(stage, NODE), 60)
        assert stage.workload.cordoned == {NODE}
        for other in others(stage, host):
            stage.mesos.lose_agent(other)
        await stage.until(
            lambda: ("take back", NODE, host) in stage.workload.departures, 60, every=0.1
        )
        del stage.workload.stays[NODE]
        await stage.until(lambda: "no other agent is in reach" in why(stage, NODE), 60)
        assert stage.workload.cordoned == set()
        assert stage.live[f"{NODE}-kubelet"] is before
        for other in others(stage, host):
            stage.mesos.return_agent(other)
        await stage.until_whole(1200)
        assert stage.host(f"{NODE}-kubelet") != host
        stage.sound()
        await stage.close()

    play(story)


def test_a_wish_that_is_taken_back_before_its_turn_leaves_no_trace() -> None:
    async def story() -> None:
        stage = await whole()
        before, launched = stage.live[f"{API}-instance"], len(stage.mesos.launches)
        steer(stage, Verb.PAUSE)
        stage.scheduler.pod_replace(API)
        assert stage.scheduler.pod_cancel_replace(API)["tasks"] == [f"{API}-instance"]
        assert stage.scheduler.world.recovery == {}
        steer(stage, Verb.RESUME)
        assert stage.scheduler.pod_cancel_replace(API)["tasks"] == []
        await asyncio.sleep(120)
        assert stage.live[f"{API}-instance"] is before
        assert len(stage.mesos.launches) == launched
        await stage.close()

    play(story)


def test_a_node_that_was_about_to_leave_stays_and_is_used_again() -> None:
    async def story() -> None:
        stage = await whole()
        before = stage.live[f"{NODE}-kubelet"]
        stage.workload.stays[NODE] = "2 pods end"
        stage.scheduler.pod_replace(NODE)
        await stage.until(lambda: stage.workload.cordoned == {NODE}, 60)
        stage.scheduler.pod_cancel_replace(NODE)
        del stage.workload.stays[NODE]
        await stage.until_whole()
        assert stage.workload.cordoned == set()
        assert stage.live[f"{NODE}-kubelet"] is before
        assert all(found.emptying is None for found in stage.scheduler.world.recovery.values())
        stage.sound()
        await stage.close()

    play(story)


def test_a_member_whose_turn_has_come_leaves_and_may_come_back() -> None:
    async def story() -> None:
        stage = Ensemble()
        stage.start()
        await stage.until_whole()
        before = stage.live["etcd-1-peer"]
        stage.workload.stays["etcd-1"] = "etcd reads"
        stage.scheduler.pod_replace("etcd-1")
        await stage.until(lambda: "etcd reads" in why(stage, "etcd-1"), 60)
        stage.scheduler.pod_cancel_replace("etcd-1")
        await stage.until(lambda: "took it back" in why(stage, "etcd-1"), 60)
        assert stage.live["etcd-1-peer"] is before
        del stage.workload.stays["etcd-1"]
        await stage.until_whole()
        assert stage.live["etcd-1-peer"] is not before
        stage.sound()
        await stage.close()

    play(story)


def test_only_what_an_operator_asked_for_is_taken_back() -> None:
    async def story() -> None:
        stage = await whole()
        host = stage.host(f"{API}-instance")
        [other] = others(stage, host, "dc-a")
        stage.mesos.shrink(other, "cpus")
        stage.drain(host)
        await stage.until(lambda: f"{API}-instance" not in stage.live, 60)
        world = stage.scheduler.world
        await stage.until(lambda: world.recovery_of("kube-apiserver", 0).replacement is not None)
        with pytest.raises(Refused, match=f"{host} is drained; what an operator asked for can be"):
            stage.scheduler.pod_cancel_replace(API)
        stage.scheduler.pod_replace(API)
        stage.scheduler.pod_cancel_replace(API)
        move = world.recovery_of("kube-apiserver", 0).replacement
        assert move is not None
        assert (move.by_operator, move.reason) == (False, f"{host} is drained")
        await stage.close()

    play(story)
