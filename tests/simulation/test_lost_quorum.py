"""A quorum that is lost is told and left to a person: nothing is founded a second time."""

from __future__ import annotations

import asyncio

import pytest

from kubedcos.errors import Refused

from .ensemble import Ensemble, spec
from .stage import play


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
