"""Agents that are no more and frameworks that nobody owns: nobody waits for them or keeps them."""

from __future__ import annotations

import asyncio

import pytest

from .ensemble import Ensemble
from .stage import Crash, Effects, Stage, play

WEEK = 7 * 24 * 3600.0


def hosts(stage: Stage) -> set[str]:
    """Of agents that placement counts on."""
    known = stage.scheduler.world.surroundings().agents
    return {found.agent.hostname for found in known}


def spare(stage: Ensemble) -> str:
    """An agent that nothing runs on."""
    used = {task.agent.hostname for task in stage.live.values()}
    return min(set(stage.mesos.agents) - used)


async def whole() -> tuple[Ensemble, str]:
    """A cluster that is complete, and a host that has nothing of it."""
    stage = Ensemble()
    stage.start()
    await stage.until_whole()
    return stage, spare(stage)


def test_an_agent_that_was_marked_gone_while_no_scheduler_looked_is_forgotten() -> None:
    async def story() -> None:
        stage, gone = await whole()
        await stage.kill()
        stage.mesos.mark_gone(gone)
        stage.start()
        assert gone in hosts(stage)
        await stage.until(lambda: gone not in hosts(stage), 30)
        assert gone not in {it.agent.hostname for it in stage.scheduler.world.agents.values()}
        await stage.until_whole()
        stage.sound()
        await stage.close()

    play(story)


def test_an_agent_that_was_lost_while_no_scheduler_looked_counts_as_lost_until_it_is_back() -> None:
    async def story() -> None:
        stage, lost = await whole()
        await stage.kill()
        stage.mesos.lose_agent(lost)
        stage.start()
        await stage.until(lambda: lost not in hosts(stage), 30)
        await stage.kill()
        stage.mesos.return_agent(lost)
        await asyncio.sleep(120)
        stage.start()
        assert lost not in hosts(stage)
        await stage.until(lambda: lost in hosts(stage), 30)
        assert hosts(stage) == set(stage.mesos.agents)
        stage.sound()
        await stage.close()

    play(story)


def test_agents_are_asked_for_again_while_a_new_master_waits_for_them() -> None:
    async def story() -> None:
        stage, lost = await whole()
        stage.mesos.cut(lost)
        await stage.mesos.cluster.end_master()
        await stage.mesos.disconnect()
        stage.mesos.cluster.elect_another()
        await asyncio.sleep(60)
        # Of an agent that may still come back Mesos says nothing, also when it is marked gone.
        assert lost in hosts(stage)
        assert stage.mesos.say_gone(lost)
        await stage.until(lambda: lost not in hosts(stage), 60)
        stage.sound()
        await stage.close()

    play(story)


@pytest.mark.parametrize("effect", [1, 2])
def test_a_framework_whose_id_was_never_stored_does_not_stay(effect: int) -> None:
    async def story() -> None:
        stage = Stage()
        stage.start(Effects(effect))
        with pytest.raises(Crash):
            await stage.running
        await stage.mesos.disconnect()
        assert stage.scheduler.world.cluster.framework_id == ""
        [orphan] = stage.mesos.engine.state.frameworks
        await asyncio.sleep(301)
        assert not stage.mesos.engine.state.frameworks
        stage.start()
        await stage.until_complete()
        [(id_, owned)] = stage.mesos.engine.state.frameworks.items()
        assert id_ == stage.scheduler.world.cluster.framework_id != orphan
        assert owned.info.failover_timeout == WEEK
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


@pytest.mark.parametrize("down", [10, 400])
@pytest.mark.parametrize("effect", [3, 4, 5])
def test_a_framework_whose_id_was_just_stored_is_kept_or_made_anew(effect: int, down: int) -> None:
    async def story() -> None:
        stage = Stage()
        stage.start(Effects(effect))
        with pytest.raises(Crash):
            await stage.running
        await stage.mesos.disconnect()
        await asyncio.sleep(down)
        stage.start()
        await stage.until_complete()
        [(id_, owned)] = stage.mesos.engine.state.frameworks.items()
        assert id_ == stage.scheduler.world.cluster.framework_id
        assert owned.info.failover_timeout == WEEK
        assert stage.mesos.violations == []
        await stage.close()

    play(story)
