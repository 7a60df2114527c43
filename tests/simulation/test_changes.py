"""Changes of a cluster that runs: in a safe order, and to the end whenever the scheduler dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import pytest

from kubedcos.model.service import ServiceSpec
from kubedcos.scheduler.workload import Departure, Readiness

from .crash_points import crash_points
from .machines import SimulatedAgent
from .stage import Crash, Effects, Stage, lab, play, service

NODES = 3
EVERYTHING = ("etcd/peer", "kube-apiserver/instance", "kube-node/kubelet", "addons/web")


def target(
    number: int, *outdated: str, base: ServiceSpec | None = None, at_once: int = 1
) -> ServiceSpec:
    """A service of which tasks launched with configuration 1 are outdated, given as POD/TASK."""
    spec = base or service(NODES)
    [plan] = spec.plans
    phases = tuple(
        replace(phase, at_once=at_once) if phase.name == "node" else phase for phase in plan.phases
    )
    reasons = {(1, *name.split("/")): f"{name} has other options" for name in outdated}
    return replace(
        spec,
        target=number,
        plans=(replace(plan, phases=phases),),
        outdated=reasons,  # type: ignore[arg-type]
    )


def numbered(indices: Iterable[int], number: int = 2) -> ServiceSpec:
    """A service with these nodes."""
    wanted = tuple(indices)
    spec = service(max(wanted) + 1)
    pods = tuple(
        replace(pod, count=len(wanted), numbers=wanted) if pod.name == "kube-node" else pod
        for pod in spec.pods
    )
    [plan] = spec.plans
    phases = tuple(
        replace(phase, steps=tuple(s for s in phase.steps if s.index in wanted))
        if phase.name == "node"
        else phase
        for phase in plan.phases
    )
    return replace(spec, target=number, pods=pods, plans=(replace(plan, phases=phases),))


def agents() -> list[SimulatedAgent]:
    return [*lab(), SimulatedAgent("a3", "dc-a", "a-1"), SimulatedAgent("b3", "dc-b", "b-1")]


async def staged(spec: ServiceSpec | None = None) -> Stage:
    stage = Stage(spec or target(1), agents())
    stage.start()
    await stage.until_complete()
    return stage


def launches(stage: Stage, since: int = 0) -> list[str]:
    return [name for _, name, _ in stage.mesos.launches[since:]]


def down(stage: Stage) -> set[str]:
    """Nodes and members of which a task does not run."""
    wanted = {
        f"{pod.instance(index)}-{task.name}": pod.instance(index)
        for pod in stage.spec.pods
        for index in pod.indices
        for task in pod.tasks
        if pod.name in {"etcd", "kube-apiserver", "kube-node"}
    }
    up = {name for name, task in stage.mesos.live.items() if task.state == "TASK_RUNNING"}
    return {instance for name, instance in wanted.items() if name not in up}


def settled(stage: Stage) -> bool:
    plans = {plan["name"]: plan["status"] for plan in stage.scheduler.plan_list()}
    return "decommission" not in plans and set(plans.values()) == {"COMPLETE"}


def test_an_update_restarts_what_is_outdated_in_the_order_of_the_plan_and_nothing_else() -> None:
    async def story() -> None:
        stage = await staged()
        before = len(stage.mesos.launches)
        await stage.change(target(2, *EVERYTHING))
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE", 30, every=0.05)
        await stage.until(lambda: settled(stage), 600)
        assert launches(stage, before) == [
            "etcd-0-peer",
            "kube-apiserver-0-instance",
            "kube-node-0-kubelet",
            "kube-node-1-kubelet",
            "kube-node-2-kubelet",
            "addons-0-web",
        ]
        assert {task.configuration for task in stage.scheduler.world.tasks.values()} == {1, 2}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_change_that_restarts_nothing_starts_nothing() -> None:
    async def story() -> None:
        stage = await staged()
        before = len(stage.mesos.launches)
        await stage.change(target(2))
        await asyncio.sleep(60)
        assert settled(stage)
        assert launches(stage, before) == []
        await stage.close()

    play(story)


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_nodes_are_down_than_allowed(at_once: int) -> None:
    async def story() -> None:
        stage = await staged()
        await stage.change(target(2, "kube-node/kubelet", at_once=at_once))
        most = 0
        async with asyncio.timeout(600):
            while not (settled(stage) and most):
                await asyncio.sleep(0.1)
                most = max(most, len(down(stage)))
        assert most == at_once
        await stage.close()

    play(story)


def test_with_a_node_down_by_itself_no_other_is_restarted() -> None:
    async def story() -> None:
        stage = await staged()
        host = stage.mesos.live["kube-node-2-kubelet"].agent.hostname
        stage.mesos.lose_agent(host)
        await stage.until(lambda: not settled(stage), 60)
        before = len(stage.mesos.launches)
        await stage.change(target(2, "kube-node/kubelet"))
        await asyncio.sleep(120)
        assert launches(stage, before) == []
        reasons = {str(step["reason"]) for step in stage.steps().values()}
        assert any("waits for kube-node-2" in reason for reason in reasons)
        stage.mesos.return_agent(host)
        await stage.until(lambda: settled(stage), 600)
        assert Counter(launches(stage, before)) == {
            f"kube-node-{index}-kubelet": 1 for index in range(NODES)
        }
        await stage.close()

    play(story)


def test_a_node_that_is_not_ready_with_its_options_is_the_first_to_get_others() -> None:
    async def story() -> None:
        stage = await staged()
        stage.workload.not_ready["kube-node-1-kubelet"] = "bad options"
        stage.mesos.fail("kube-node-1-kubelet")
        await stage.until(lambda: "kube-node-1-kubelet" in launches(stage)[-1:], 60)
        await asyncio.sleep(5)
        before = len(stage.mesos.launches)
        del stage.workload.not_ready["kube-node-1-kubelet"]
        await stage.change(target(2, "kube-node/kubelet"))
        await stage.until(lambda: settled(stage), 600)
        assert launches(stage, before)[0] == "kube-node-1-kubelet"
        await stage.close()

    play(story)


def test_the_way_back_restarts_only_what_has_changed_meanwhile() -> None:
    async def story() -> None:
        stage = await staged()
        await stage.change(target(2, "kube-node/kubelet"))
        await stage.until(lambda: "kube-node-1-kubelet" in launches(stage)[-1:], 120, every=0.05)
        before = len(stage.mesos.launches)
        # Back to the options of configuration 1: what runs with 2 is what is outdated now.
        back = replace(target(3), outdated={(2, "kube-node", "kubelet"): "back to 1"})
        await stage.change(back)
        await stage.until(lambda: settled(stage), 600)
        again = Counter(launches(stage, before))
        assert again == {"kube-node-0-kubelet": 1, "kube-node-1-kubelet": 1}
        await stage.close()

    play(story)


def test_killed_at_any_effect_of_an_update_it_continues_and_restarts_nothing_twice() -> None:
    few = service(2)
    names = Counter(["etcd-0-peer", "kube-node-0-kubelet", "kube-node-1-kubelet", "addons-0-web"])

    async def updated(limit: int | None) -> int:
        stage = await staged(target(1, base=few))
        before = len(stage.mesos.launches)
        effects = Effects(limit)
        some = ("etcd/peer", "kube-node/kubelet", "addons/web")
        await stage.change(target(2, *some, base=few), effects)
        if limit is not None:
            with pytest.raises(Crash):
                async with asyncio.timeout(600):
                    await stage.running
            await stage.mesos.disconnect()
            await asyncio.sleep(3)
            stage.start()
        await stage.until(lambda: settled(stage) and len(stage.mesos.launches) > before, 600)
        assert Counter(launches(stage, before)) == names, f"crash at effect {limit}"
        assert stage.mesos.violations == [], f"crash at effect {limit}"
        await stage.close()
        return effects.count

    total = play(lambda: updated(None))
    assert total > 40
    for limit in crash_points(1, total - 6):
        play(lambda limit=limit: updated(limit))


def test_more_nodes_start_side_by_side() -> None:
    async def story() -> None:
        stage = await staged(target(1, base=service(2)))
        await stage.change(numbered(range(5)))
        await stage.until(lambda: len(down(stage)) == 0 and settled(stage), 120)
        times = [at for at, name, _ in stage.mesos.launches if name == "kube-node-4-kubelet"]
        others = [at for at, name, _ in stage.mesos.launches if name == "kube-node-2-kubelet"]
        assert abs(times[0] - others[0]) < 3.0
        await stage.close()

    play(story)


def test_fewer_nodes_leave_one_by_one_the_highest_first() -> None:
    async def story() -> None:
        stage = await staged(numbered(range(5), 1))
        gone: list[str] = []
        await stage.change(numbered(range(2)))

        def left() -> bool:
            here = {name.removesuffix("-kubelet") for name in stage.mesos.live}
            for index in range(5):
                name = f"kube-node-{index}"
                if name not in here and name not in gone:
                    gone.append(name)
            return settled(stage) and len(gone) >= 3

        await stage.until(left, 600, every=0.1)
        assert gone == ["kube-node-4", "kube-node-3", "kube-node-2"]
        known = {task.pod_instance for task in stage.scheduler.world.tasks.values()}
        assert not known & set(gone)
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_node_ends_only_when_it_is_drained_and_is_forgotten_only_when_that_is_finished() -> None:
    async def story() -> None:
        stage = await staged(numbered(range(3), 1))
        asked: list[str] = []
        drained = False

        async def prepare(departure: Departure, _: object) -> Readiness:
            asked.append(f"prepare {departure.pod_instance}")
            return Readiness(ready=drained, reason="2 pods end")

        async def finish(departure: Departure, _: object) -> Readiness:
            asked.append(f"finish {departure.pod_instance}")
            return Readiness(ready=True)

        stage.workload.prepare_departure = prepare  # type: ignore[method-assign]
        stage.workload.finish_departure = finish  # type: ignore[method-assign]
        await stage.change(numbered(range(2)))
        await asyncio.sleep(60)
        assert "kube-node-2-kubelet" in stage.mesos.live
        [phase] = stage.scheduler.plan_show("decommission")["phases"]
        assert phase["steps"][0]["reason"] == "2 pods end"
        drained = True
        await stage.until(lambda: settled(stage), 120)
        assert "kube-node-2-kubelet" not in stage.mesos.live
        assert set(asked) == {"prepare kube-node-2", "finish kube-node-2"}
        await stage.close()

    play(story)


def test_a_node_that_is_named_leaves_and_nobody_is_renumbered() -> None:
    async def story() -> None:
        stage = await staged(numbered(range(4), 1))
        before = len(stage.mesos.launches)
        await stage.change(numbered((0, 2, 3)))
        plan = stage.scheduler.plan_show("decommission")
        assert [step["pod"] for phase in plan["phases"] for step in phase["steps"]] == [
            "kube-node-1"
        ]
        await stage.until(lambda: settled(stage), 300)
        kubelets = sorted(name for name in stage.mesos.live if name.endswith("kubelet"))
        assert kubelets == ["kube-node-0-kubelet", "kube-node-2-kubelet", "kube-node-3-kubelet"]
        assert launches(stage, before) == []
        await stage.close()

    play(story)


def test_a_node_that_is_to_go_and_is_out_of_reach_holds_nobody_up() -> None:
    async def story() -> None:
        stage = await staged(numbered(range(5), 1))
        host = stage.mesos.live["kube-node-4-kubelet"].agent.hostname
        stage.mesos.lose_agent(host)
        await stage.until(lambda: not settled(stage), 60)
        await stage.change(numbered(range(3)))
        await stage.until(lambda: "kube-node-3-kubelet" not in stage.mesos.live, 120)
        await stage.until(lambda: settled(stage), 900)
        stage.mesos.return_agent(host)
        await stage.until(lambda: "kube-node-4-kubelet" not in stage.mesos.live, 1200)
        assert settled(stage)
        await stage.close()

    play(story)


def test_killed_at_any_effect_of_a_scale_down_it_continues() -> None:
    async def scaled(limit: int | None) -> int:
        stage = await staged(numbered(range(3), 1))
        before = len(stage.mesos.launches)
        effects = Effects(limit)
        await stage.change(numbered((0, 2)), effects)
        if limit is not None:
            with pytest.raises(Crash):
                async with asyncio.timeout(600):
                    await stage.running
            await stage.mesos.disconnect()
            await asyncio.sleep(3)
            stage.start()
        await stage.until(lambda: settled(stage), 600)
        kubelets = sorted(name for name in stage.mesos.live if name.endswith("kubelet"))
        assert kubelets == ["kube-node-0-kubelet", "kube-node-2-kubelet"], f"crash at {limit}"
        assert launches(stage, before) == [], f"crash at {limit}"
        assert stage.mesos.violations == [], f"crash at {limit}"
        await stage.close()
        return effects.count

    total = play(lambda: scaled(None))
    assert total > 12
    for limit in crash_points(1, total - 4):
        play(lambda limit=limit: scaled(limit))
