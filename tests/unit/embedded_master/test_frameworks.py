"""Frameworks: timers, removal, what is kept."""

from __future__ import annotations

from kubedcos.embedded.master import frameworks
from kubedcos.mesos.messages import FrameworkID

from .world import World


def test_a_framework_has_its_failover_timeout_to_return() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework(failover_timeout=60.0)
    world.launch(framework, "t")
    stream = framework.stream_id or ""
    world.perform(frameworks.disconnected(world.state, stream, now=world.now))
    assert world.state.offers == {}
    world.perform(frameworks.expired(world.state, world.rules, now=world.now + 59))
    assert framework.id in world.state.frameworks
    world.perform(frameworks.expired(world.state, world.rules, now=world.now + 60))
    assert framework.id not in world.state.frameworks
    assert [task.state for task in framework.completed_tasks] == ["TASK_KILLED"]
    assert world.calls[-1][0] == agent.id
    assert world.calls[-1][1].type == "SHUTDOWN_FRAMEWORK"
    assert world.state.used(agent_id=agent.id).scalar("cpus") == 0


def test_a_return_in_time_stops_the_timer_and_keeps_the_id() -> None:
    world = World()
    framework = world.framework(failover_timeout=60.0)
    world.perform(frameworks.disconnected(world.state, framework.stream_id or "", now=world.now))
    again = world.framework(failover_timeout=60.0, id=FrameworkID(framework.id))
    assert again.id == framework.id
    world.perform(frameworks.expired(world.state, world.rules, now=world.now + 600))
    assert framework.id in world.state.frameworks


def test_the_break_of_a_replaced_stream_does_not_disconnect_the_new_one() -> None:
    world = World()
    framework = world.framework()
    old = framework.stream_id or ""
    again = world.framework(id=FrameworkID(framework.id))
    world.perform(frameworks.disconnected(world.state, old, now=world.now))
    assert again.connected


def test_user_and_checkpoint_stay_as_first_subscribed() -> None:
    world = World()
    framework = world.framework(user="first", checkpoint=True)
    again = world.framework(id=FrameworkID(framework.id), user="second", checkpoint=False)
    assert (again.info.user, again.info.checkpoint) == ("first", True)


def test_completed_frameworks_are_limited_and_their_ids_refused_while_known() -> None:
    world = World()
    world.rules = frameworks.FrameworkRules(max_completed_frameworks=1)
    first, second = world.framework(), world.framework()
    for framework in (first, second):
        world.perform(frameworks.remove(world.state, world.rules, framework, now=world.now))
    assert list(world.state.completed) == [second.id]


def test_ids_are_numbered_under_the_masters() -> None:
    world = World()
    assert [world.framework().id, world.framework().id] == ["m-0000", "m-0001"]
    assert world.agent().id == "m-S0"
