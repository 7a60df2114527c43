"""Agents that are drained or about to be maintained are left, and used again afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from .ensemble import Ensemble, agents, spec
from .stage import play


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
