"""Nodes are emptied before an update restarts them, and are used again after it, come what may."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from kubedcos.model.service import ServiceSpec

from .crash_points import crash_points
from .stage import Crash, Effects, Stage, play, service
from .test_changes import down, launches, numbered, settled, staged, target

KUBELETS = "kube-node/kubelet"


def emptied(spec: ServiceSpec) -> ServiceSpec:
    """The service with nodes that are emptied before they restart."""
    pods = tuple(replace(pod, emptied=pod.name == "kube-node") for pod in spec.pods)
    return replace(spec, pods=pods)


def updated(number: int, *outdated: str, nodes: int = 3, at_once: int = 1) -> ServiceSpec:
    return emptied(target(number, *outdated, base=service(nodes), at_once=at_once))


def reason(stage: Stage, instance: str) -> str:
    found = [step for name, step in stage.steps().items() if name.startswith(f"{instance}:")]
    return " ".join(str(step["reason"]) for step in found)


async def being_emptied() -> tuple[Stage, int]:
    """An update waits for pods of the first node to end; with the number of launches before it."""
    stage = await staged(updated(1))
    before = len(stage.mesos.launches)
    stage.workload.stays["kube-node-0"] = "2 pods end"
    await stage.change(updated(2, KUBELETS))
    await stage.until(lambda: "2 pods end" in reason(stage, "kube-node-0"), 60)
    return stage, before


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_node_ends_that_is_not_emptied_and_no_more_are_out_of_use_than_allowed(
    at_once: int,
) -> None:
    async def story() -> None:
        stage = await staged(updated(1))
        before = len(stage.mesos.launches)
        await stage.change(updated(2, KUBELETS, at_once=at_once))
        most = 0
        async with asyncio.timeout(600):
            while not (settled(stage) and most):
                await asyncio.sleep(0.05)
                ended = down(stage)
                assert ended <= stage.workload.cordoned
                most = max(most, len(ended | stage.workload.cordoned))
        assert most == at_once
        assert stage.workload.cordoned == set()
        sides = [(side, instance) for side, instance, _ in stage.workload.departures]
        assert set(sides) == {
            (side, f"kube-node-{index}") for side in ("empty", "take back") for index in range(3)
        }
        assert Counter(launches(stage, before)) == {
            f"kube-node-{index}-kubelet": 1 for index in range(3)
        }
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_an_update_waits_for_a_node_to_be_emptied_and_says_for_what() -> None:
    async def story() -> None:
        stage = await staged(updated(1))
        before = len(stage.mesos.launches)
        stage.workload.stays["kube-node-0"] = "d/web may not be evicted"
        await stage.change(updated(2, KUBELETS))
        await asyncio.sleep(120)
        assert launches(stage, before) == []
        assert "d/web may not be evicted" in reason(stage, "kube-node-0")
        assert "waits for kube-node-0" in reason(stage, "kube-node-1")
        stage.workload.stays.clear()
        await stage.until(lambda: settled(stage), 300)
        assert launches(stage, before)[0] == "kube-node-0-kubelet"
        await stage.close()

    play(story)


def test_a_node_that_is_not_in_use_again_holds_the_update_up() -> None:
    async def story() -> None:
        stage = await staged(updated(1))
        before = len(stage.mesos.launches)
        await stage.change(updated(2, KUBELETS))
        await stage.until(lambda: "kube-node-0" in down(stage), 60, every=0.05)
        stage.workload.stays["kube-node-0"] = "kube-apiserver does not run"
        await asyncio.sleep(120)
        assert launches(stage, before) == ["kube-node-0-kubelet"]
        assert "kube-apiserver does not run" in reason(stage, "kube-node-0")
        stage.workload.stays.clear()
        await stage.until(lambda: settled(stage), 300)
        assert stage.workload.cordoned == set()
        await stage.close()

    play(story)


def test_an_update_that_is_taken_back_gives_the_node_back_that_was_being_emptied() -> None:
    async def story() -> None:
        stage, before = await being_emptied()
        stage.workload.stays.clear()
        await stage.change(updated(3))
        await stage.until(lambda: settled(stage) and not stage.workload.cordoned, 60)
        assert launches(stage, before) == []
        assert {found.emptying for found in stage.scheduler.world.recovery.values()} <= {None}
        await stage.close()

    play(story)


def test_a_node_is_given_back_when_another_one_fails_meanwhile() -> None:
    async def story() -> None:
        stage, before = await being_emptied()
        host = stage.mesos.live["kube-node-2-kubelet"].agent.hostname
        stage.mesos.lose_agent(host)
        stage.workload.stays.clear()
        await stage.until(lambda: not stage.workload.cordoned, 60)
        await asyncio.sleep(60)
        assert launches(stage, before) == []
        assert "waits for kube-node-2" in reason(stage, "kube-node-0")
        stage.mesos.return_agent(host)
        await stage.until(lambda: settled(stage) and not stage.workload.cordoned, 600)
        assert set(launches(stage, before)) == {f"kube-node-{i}-kubelet" for i in range(3)}
        await stage.close()

    play(story)


def test_a_scale_down_that_is_taken_back_gives_the_node_back() -> None:
    async def story() -> None:
        stage = await staged(emptied(numbered(range(3), 1)))
        before = len(stage.mesos.launches)
        stage.workload.stays["kube-node-2"] = "2 pods end"
        await stage.change(emptied(numbered(range(2))))
        await stage.until(lambda: stage.workload.cordoned == {"kube-node-2"}, 60)
        first = began(stage)
        await stage.change(emptied(numbered(range(3), 3)))
        await asyncio.sleep(10)
        assert "2 pods end" in reason(stage, "kube-node-2")
        stage.workload.stays.clear()
        await stage.until(lambda: settled(stage) and not stage.workload.cordoned, 60)
        assert "kube-node-2-kubelet" in stage.mesos.live
        assert launches(stage, before) == []
        # The next time it is given all the time there is.
        stage.workload.stays["kube-node-2"] = "2 pods end"
        await stage.change(emptied(numbered(range(2), 4)))
        await stage.until(lambda: stage.workload.cordoned == {"kube-node-2"}, 60)
        assert began(stage) > first
        await stage.close()

    play(story)


def test_an_update_and_a_scale_down_together_have_no_more_nodes_out_of_use_than_one() -> None:
    async def story() -> None:
        stage = await staged(emptied(numbered(range(4), 1)))
        both = replace(
            emptied(numbered(range(2))), outdated={(1, "kube-node", "kubelet"): "other options"}
        )
        stage.workload.stays = {f"kube-node-{index}": "2 pods end" for index in range(4)}
        await stage.change(both)
        await asyncio.sleep(20)
        assert len(stage.workload.cordoned) == 1
        stage.workload.stays.clear()
        seen: set[str] = set()
        async with asyncio.timeout(900):
            while not (settled(stage) and len(seen) == 4):
                await asyncio.sleep(0.05)
                here = {name for name in stage.workload.cordoned if alive(stage, name)}
                seen |= here
                assert len(here | down(stage)) <= 1
        await stage.close()

    play(story)


def alive(stage: Stage, instance: str) -> bool:
    """Whether the scheduler has any record of it."""
    return any(task.pod_instance == instance for task in stage.scheduler.world.tasks.values())


def began(stage: Stage) -> float:
    [record] = [s for s in stage.scheduler.world.steps.values() if s.plan == "decommission"]
    assert record.started_at is not None
    return record.started_at


def test_killed_at_effects_of_an_update_that_empties_nodes_it_continues() -> None:
    names = Counter(["kube-node-0-kubelet", "kube-node-1-kubelet"])

    async def story(limit: int | None) -> int:
        stage = await staged(updated(1, nodes=2))
        before = len(stage.mesos.launches)
        effects = Effects(limit)
        await stage.change(updated(2, KUBELETS, nodes=2), effects)
        if limit is not None:
            with pytest.raises(Crash):
                async with asyncio.timeout(600):
                    await stage.running
            await stage.mesos.disconnect()
            await asyncio.sleep(3)
            stage.start()
        await stage.until(lambda: settled(stage) and len(stage.mesos.launches) > before, 600)
        assert Counter(launches(stage, before)) == names, f"crash at effect {limit}"
        assert stage.workload.cordoned == set(), f"crash at effect {limit}"
        assert stage.mesos.violations == [], f"crash at effect {limit}"
        await stage.close()
        return effects.count

    total = play(lambda: story(None))
    assert total > 30
    for limit in crash_points(1, total - 6):
        play(lambda limit=limit: story(limit))
