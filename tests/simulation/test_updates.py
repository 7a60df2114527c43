"""Updates that are lost, repeated or about tasks that nobody knows."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from kubedcos.mesos import messages as wire

from .simulated_mesos import SimulatedTask
from .stage import Stage, play


def test_repeated_updates_change_nothing() -> None:
    async def story() -> None:
        stage = Stage()
        stage.mesos.duplicate_updates = True
        stage.start()
        await stage.until_complete()
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_lost_updates_only_take_time() -> None:
    async def story(seed: int) -> None:
        chance = random.Random(seed)
        stage = Stage()
        stage.mesos.lose_update = lambda _: chance.random() < 0.5
        stage.start()
        await stage.until_complete(3600)
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    for seed in range(10):
        play(lambda seed=seed: story(seed))


def test_every_update_is_acknowledged() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        await asyncio.sleep(5)
        assert [task.unsent for task in stage.mesos.tasks.values() if task.unsent] == []
        await stage.close()

    play(story)


def test_a_dropped_launch_is_repeated() -> None:
    async def story() -> None:
        stage = Stage()
        dropped = []
        real = stage.mesos.take

        def take(call: wire.Call) -> None:
            if call.type == "ACCEPT" and not dropped:
                dropped.append(call)
                assert call.accept is not None
                for offer_id in call.accept.offer_ids:
                    stage.mesos.take(
                        wire.Call(type="DECLINE", decline=wire.CallDecline((offer_id,)))
                    )
            real(call)

        stage.mesos.take = take  # type: ignore[method-assign]
        stage.start()
        await stage.until_complete()
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert len(stage.workload.ended) >= 1
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_task_that_nobody_knows_is_killed() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        agent = stage.mesos.agents["S-b2"]
        stranger = wire.TaskInfo("stranger", wire.TaskID("stranger__1"), wire.AgentID("S-b2"))
        stage.mesos._launch(agent, stranger, agent.total)
        await stage.until(lambda: "stranger" not in stage.mesos.live, 60)
        assert stage.mesos.tasks["stranger__1"].state == "TASK_KILLED"
        await stage.close()

    play(story)


def test_even_a_silent_task_that_nobody_knows_is_found_and_killed() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        stranger = wire.TaskInfo("stranger", wire.TaskID("stranger__1"), wire.AgentID("S-b2"))
        silent = SimulatedTask(stranger, stage.mesos.agents["S-b2"], stage.mesos.now)
        silent.state = "TASK_RUNNING"
        stage.mesos.tasks["stranger__1"] = silent
        await stage.until(lambda: "stranger" not in stage.mesos.live, 1000)
        await stage.close()

    play(story)


def test_a_lost_connection_is_made_anew() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        for _ in range(6):
            await asyncio.sleep(2)
            stage.mesos.disconnect()
        await stage.until_complete()
        started = Counter(name for _, name, _ in stage.mesos.launches)
        assert set(started.values()) == {1}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_an_operator_who_marks_an_agent_gone_lets_the_pod_move() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        host = stage.mesos.live["etcd-0-peer"].agent.hostname
        stage.mesos.lose_agent(host)
        await asyncio.sleep(30)
        agent = stage.mesos.agents.pop(f"S-{host}")
        for task in stage.mesos.tasks.values():
            if task.agent is agent and task.live:
                task.state = "TASK_GONE_BY_OPERATOR"
                stage.mesos._answer(task.info.task_id, None, "")
                status = wire.TaskStatus(
                    task.info.task_id, "TASK_GONE_BY_OPERATOR", agent_id=task.info.agent_id
                )
                stage.mesos._event(wire.Event(type="UPDATE", update=wire.Update(status)))
        await stage.until_complete()
        assert stage.mesos.live["etcd-0-peer"].agent.hostname != host
        assert stage.mesos.violations == []
        await stage.close()

    play(story)
