"""Many agents that are lost at once, and regions that are cut off: less is replaced, later."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from .ensemble import Ensemble, agents, spec
from .machines import SimulatedAgent
from .stage import play


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
