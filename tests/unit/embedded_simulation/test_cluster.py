"""Simulated agents and a framework around the real master, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from kubedcos.embedded.master import removal
from kubedcos.embedded.protocol import Drain, DrainConfig, MasterCall, RunTasks
from kubedcos.embedded.simulation.behaviour import Behaviour
from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import CallRefused, SubscriptionEnded, SubscriptionLost

from .story import Framework, cluster_of, play, started


def test_a_task_goes_through_its_states_and_frees_what_it_used() -> None:
    async def story() -> None:
        cluster, framework, _ = await started()
        await framework.launch("t", "sleep 30")
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        before = asyncio.get_running_loop().time()
        await framework.until(lambda: "TASK_FINISHED" in framework.states("t"))
        assert asyncio.get_running_loop().time() - before == pytest.approx(30, abs=0.1)
        assert framework.states("t") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
        await framework.until(lambda: not cluster.agents[0].tasks)
        assert not cluster.engine.state.tasks
        assert not cluster.engine.state.used().names()
        await cluster.engine.close()

    play(story)


def test_a_killed_task_says_so_and_stops() -> None:
    async def story() -> None:
        cluster, framework, agents = await started()
        await framework.launch("t", "serve")
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        await framework.call(wire.Call("KILL", kill=wire.CallKill(wire.TaskID("t"))))
        await framework.until(lambda: "TASK_KILLED" in framework.states("t"))
        assert framework.states("t")[2:] == ["TASK_KILLING", "TASK_KILLED"]
        last = framework.events[-1].update
        assert last is not None
        assert last.status.message == "Command terminated with signal Terminated"
        assert agents[0].tasks == {} or not next(iter(agents[0].tasks.values())).live
        await cluster.engine.close()

    play(story)


def test_a_task_that_takes_too_long_is_ended() -> None:
    async def story() -> None:
        cluster, framework, _ = await started()
        limit = wire.DurationInfo(int(5e9))
        await framework.launch("t", "sleep 60", max_completion_time=limit)
        await framework.until(lambda: "TASK_FAILED" in framework.states("t"))
        last = framework.events[-1].update
        assert last is not None
        assert last.status.reason == "REASON_MAX_COMPLETION_TIME_REACHED"
        await cluster.engine.close()

    play(story)


def test_an_update_comes_again_until_it_is_acknowledged_and_the_next_waits() -> None:
    async def story() -> None:
        cluster, framework, _ = await started()
        framework.acknowledges = False
        await framework.launch("t", "sleep 1")
        await framework.until(lambda: len(framework.states("t")) == 3)
        assert framework.states("t") == ["TASK_STARTING"] * 3
        assert asyncio.get_running_loop().time() > 30
        framework.acknowledges = True
        await framework.until(lambda: "TASK_FINISHED" in framework.states("t"), 200)
        await cluster.engine.close()

    play(story)


def test_an_agent_out_of_reach_is_unreachable_and_returns_with_its_tasks() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        await framework.launch("t", "serve")
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        cluster.cut(agent)
        await framework.until(lambda: "TASK_UNREACHABLE" in framework.states("t"), 200)
        assert asyncio.get_running_loop().time() > 60
        known = agent.id
        cluster.heal(agent)
        await framework.until(lambda: framework.states("t")[-1] == "TASK_RUNNING")
        assert agent.id == known
        assert len(cluster.engine.state.agents) == 1
        assert cluster.engine.state.used().scalar("cpus") == 1
        await cluster.engine.close()

    play(story)


def test_an_agent_whose_process_ended_is_disconnected_at_once() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        known = agent.id
        cluster.stop(agent)
        await framework.until(lambda: framework.events[-1].type == "RESCIND", 1)
        cluster.heal(agent)
        await framework.until(lambda: framework.events[-1].type == "OFFERS", 5)
        assert agent.id == known
        assert len(cluster.engine.state.agents) == 1
        await cluster.engine.close()

    play(story)


def test_tasks_that_an_agent_lost_are_dropped() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        await framework.launch("t", "serve")
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        agent.lose_tasks()
        cluster.stop(agent)
        cluster.heal(agent)
        await framework.until(lambda: "TASK_DROPPED" in framework.states("t"))
        assert framework.states("t")[-1] == "TASK_DROPPED"
        assert cluster.engine.state.used().scalar("cpus") == 0
        await cluster.engine.close()

    play(story)


def test_an_agent_marked_gone_does_not_come_back() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        await framework.launch("t", "serve")
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        cluster.cut(agent)
        await framework.until(lambda: "TASK_UNREACHABLE" in framework.states("t"), 200)
        assert agent.id is not None
        engine, now = cluster.engine, cluster.clock.time()
        effects = removal.mark_gone(engine.state, engine.framework_rules, agent.id.value, now=now)
        engine.perform(effects or [])
        cluster.heal(agent)
        await asyncio.sleep(10)
        assert not agent.reachable
        assert not cluster.engine.state.agents
        await cluster.engine.close()

    play(story)


def test_a_second_subscription_ends_the_first_as_mesos_does() -> None:
    async def story() -> None:
        cluster, framework, _ = await started()
        old = framework.connection
        assert old is not None
        await framework.subscribe()
        with pytest.raises(SubscriptionEnded, match="failed over"):
            await old.next_event()
        with pytest.raises(SubscriptionLost, match="stream ID"):
            await old.call(wire.Call("REVIVE"))
        with pytest.raises(CallRefused, match="Expecting 'kill' to be present"):
            await framework.call(wire.Call("KILL"))
        await cluster.engine.close()

    play(story)


async def _log(seed: int) -> list[bytes]:
    cluster = cluster_of(20, seed=seed, usual=Behaviour(runs_for=5.0))
    await cluster.register()
    framework = Framework(cluster)
    await framework.subscribe()
    await framework.until(lambda: len(framework.offers) >= 20)
    for number in range(5):
        await framework.launch(f"t{number}", "serve")
        await framework.until(lambda number=number: framework.states(f"t{number}"))
    cluster.cut(cluster.chance.choice(cluster.agents))
    await framework.until(lambda: any(event.failure for event in framework.events), 300)
    await cluster.engine.close()
    return [wire.encode(event) for event in framework.events]


def test_everything_follows_from_the_seed() -> None:
    first, again, other = (play(lambda seed=seed: _log(seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def _group(offer: wire.Offer, commands: dict[str, str]) -> wire.Call:
    """A task group under the default executor, a task per command."""
    allocated = wire.AllocationInfo("lab")

    def resources(cpus: float) -> tuple[wire.Resource, ...]:
        return tuple(
            wire.Resource(name, "SCALAR", wire.Scalar(value), allocation_info=allocated)
            for name, value in (("cpus", cpus), ("mem", 32.0), ("disk", 16.0))
        )

    executor = wire.ExecutorInfo(
        executor_id=wire.ExecutorID("pod"),
        type="DEFAULT",
        framework_id=offer.framework_id,
        resources=resources(0.1),
    )
    tasks = tuple(
        wire.TaskInfo(
            name,
            wire.TaskID(name),
            offer.agent_id,
            resources=resources(0.5),
            command=wire.CommandInfo(value=command),
        )
        for name, command in commands.items()
    )
    body = wire.OperationLaunchGroup(executor, wire.TaskGroup(tasks))
    operation = wire.Operation("LAUNCH_GROUP", launch_group=body)
    return wire.Call("ACCEPT", accept=wire.CallAccept((offer.id,), (operation,)))


def test_tasks_of_a_group_die_together_and_take_their_executor_along() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        commands = {"web": "serve", "job": "sleep 5; exit 1"}
        await framework.call(_group(framework.offers[-1], commands))
        await framework.until(lambda: "TASK_RUNNING" in framework.states("web"))
        assert cluster.engine.state.used().scalar("cpus") == pytest.approx(1.1)
        await framework.until(lambda: "TASK_KILLED" in framework.states("web"))
        assert framework.states("job")[-1] == "TASK_FAILED"
        await framework.until(lambda: not agent.executors and not agent.tasks)
        assert not cluster.engine.state.executors
        assert not cluster.engine.state.used().names()
        await cluster.engine.close()

    play(story)


def test_a_returning_agent_lists_its_executors() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        await framework.call(_group(framework.offers[-1], {"web": "serve"}))
        await framework.until(lambda: "TASK_RUNNING" in framework.states("web"))
        cluster.stop(agent)
        cluster.heal(agent)
        await asyncio.sleep(2)
        assert len(cluster.engine.state.executors) == 1
        assert cluster.engine.state.used().scalar("cpus") == pytest.approx(0.6)
        await cluster.engine.close()

    play(story)


def test_a_drained_agent_kills_its_tasks_and_says_why() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        await framework.launch("t", "serve")
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        agent.take(MasterCall("DRAIN", drain=Drain(DrainConfig(mark_gone=True))))
        await framework.until(lambda: not agent.tasks)
        last = next(e.update.status for e in reversed(framework.events) if e.update is not None)
        assert (last.state, last.reason) == ("TASK_GONE_BY_OPERATOR", "REASON_AGENT_DRAINING")
        assert agent.draining is None
        await cluster.engine.close()

    play(story)


def test_a_task_that_comes_during_a_drain_is_dropped_with_the_reason() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        await framework.launch("t", "serve", kill_policy=_patience(30.0))
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        [task] = agent.tasks.values()
        agent.take(MasterCall("DRAIN", drain=Drain(DrainConfig())))
        late = wire.TaskInfo("late", wire.TaskID("late"), agent.id or wire.AgentID(""))
        agent.take(MasterCall("RUN_TASKS", run_tasks=RunTasks(task.framework, (late,))))
        await framework.until(lambda: "TASK_DROPPED" in framework.states("late"))
        [told] = [
            event.update.status
            for event in framework.events
            if event.update is not None and event.update.status.task_id.value == "late"
        ]
        assert told.reason == "REASON_AGENT_DRAINING"
        assert told.message == "Task was received while agent was already draining"
        await framework.until(lambda: not agent.tasks)
        assert agent.draining is None
        await cluster.engine.close()

    play(story)


def test_a_drain_grants_no_more_time_than_it_says() -> None:
    async def story() -> None:
        cluster = cluster_of(1, usual=Behaviour(stops_after=20.0))
        await cluster.register()
        framework = Framework(cluster)
        await framework.subscribe()
        await framework.until(lambda: bool(framework.offers))
        await framework.launch("t", "serve", kill_policy=_patience(60.0))
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        before = asyncio.get_running_loop().time()
        config = DrainConfig(max_grace_period=wire.DurationInfo(int(2e9)))
        cluster.agents[0].take(MasterCall("DRAIN", drain=Drain(config)))
        await framework.until(lambda: "TASK_KILLED" in framework.states("t"))
        assert asyncio.get_running_loop().time() - before == pytest.approx(2.0, abs=0.2)
        await cluster.engine.close()

    play(story)


def test_another_master_leads_and_finds_agents_and_tasks() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        await framework.launch("t", "serve")
        await framework.until(lambda: "TASK_RUNNING" in framework.states("t"))
        known = agent.id
        assert framework.connection is not None
        await cluster.end_master()
        with pytest.raises(SubscriptionLost):
            await framework.until(lambda: False)
        await asyncio.sleep(5)
        cluster.elect_another()
        await asyncio.sleep(3)
        assert list(cluster.engine.state.agents) == [known.value if known else ""]
        assert [task.state for task in cluster.engine.state.tasks.values()] == ["TASK_RUNNING"]
        await cluster.engine.close()

    play(story)


def test_what_is_slow_comes_late_and_in_order() -> None:
    async def story() -> None:
        cluster, framework, [agent] = await started()
        cluster.slow(agent, 2.0)
        before = asyncio.get_running_loop().time()
        await framework.launch("t", "sleep 1")
        await framework.until(lambda: "TASK_FINISHED" in framework.states("t"), 60)
        assert framework.states("t") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
        # There and back for the launch and for each of two acknowledgements.
        assert asyncio.get_running_loop().time() - before > 11
        await cluster.engine.close()

    play(story)


def _patience(seconds: float) -> wire.KillPolicy:
    return wire.KillPolicy(wire.DurationInfo(int(seconds * 1e9)))
