"""Agents that come, go and come back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kubedcos.embedded.master import agents, removal
from kubedcos.embedded.master.frameworks import acknowledge, remove
from kubedcos.embedded.master.reconcile import kill, reconcile
from kubedcos.embedded.protocol import Register
from kubedcos.mesos.messages import (
    AgentID,
    AgentInfo,
    CallAcknowledge,
    CallKill,
    CallReconcile,
    FrameworkID,
    ReconcileTask,
    TaskID,
)

from .world import OLD, World, domain, scalar


def asked(world: World, framework: object, name: str, agent_id: str | None = None) -> str | None:
    """The state that a reconciliation tells, if it says anything."""
    seen = len(world.events)
    one = ReconcileTask(TaskID(name), AgentID(agent_id) if agent_id else None)
    world.perform(
        reconcile(world.state, framework, CallReconcile((one,)), now=world.now)  # type: ignore[arg-type]
    )
    news = world.events[seen:]
    assert len(news) <= 1
    return news[0][1].update.status.state if news and news[0][1].update else None


@pytest.mark.parametrize(
    ("capabilities", "gone", "lost", "removed", "unknown"),
    [
        (
            ("MULTI_ROLE", "PARTITION_AWARE"),
            "TASK_GONE",
            "TASK_UNREACHABLE",
            "TASK_GONE_BY_OPERATOR",
            "TASK_UNKNOWN",
        ),
        (OLD, "TASK_LOST", "TASK_LOST", "TASK_LOST", "TASK_LOST"),
    ],
)
def test_the_table_of_reconciliation(
    capabilities: tuple[str, ...], gone: str, lost: str, removed: str, unknown: str
) -> None:
    world = World()
    here, away, never = world.agent(), world.agent(), world.agent()
    framework = world.framework(capabilities=capabilities)
    world.perform(removal.unreachable(world.state, world.rules, away, now=world.now))
    effects = removal.mark_gone(world.state, world.rules, never.id, now=world.now)
    assert effects
    world.perform(effects)
    assert asked(world, framework, "x", here.id) == gone
    assert asked(world, framework, "x", away.id) == lost
    assert asked(world, framework, "x", never.id) == removed
    assert asked(world, framework, "x", "no-such") == unknown
    assert asked(world, framework, "x") == unknown


def test_nothing_is_said_while_agents_recover() -> None:
    world = World()
    framework = world.framework()
    world.state.recovered = {"m0-S1": AgentInfo("h", id=AgentID("m0-S1"))}
    assert asked(world, framework, "x") is None
    assert asked(world, framework, "x", "m0-S1") is None
    assert asked(world, framework, "x", "other") == "TASK_UNKNOWN"
    world.perform(removal.not_recovered(world.state, now=world.now))
    assert [event.agent_id for event in world.told(framework, "FAILURE")] == [AgentID("m0-S1")]
    assert asked(world, framework, "x", "m0-S1") == "TASK_UNREACHABLE"


def test_an_end_frees_resources_and_stays_listed_until_acknowledged() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    assert world.state.used(agent_id=agent.id).scalar("cpus") == 1
    status = world.update(framework, "t", "TASK_FINISHED")
    assert len(world.state.used(agent_id=agent.id)) == 0
    assert (framework.id, "t") in world.state.tasks
    wrong = CallAcknowledge(AgentID(agent.id), TaskID("t"), "other")
    world.perform(acknowledge(world.state, world.rules, framework, wrong))
    assert (framework.id, "t") in world.state.tasks
    right = replace(wrong, uuid=status.uuid or "")
    world.perform(acknowledge(world.state, world.rules, framework, right))
    assert (framework.id, "t") not in world.state.tasks
    assert [task.state for task in framework.completed_tasks] == ["TASK_FINISHED"]
    assert [call.type for _, call in world.calls][-2:] == ["ACKNOWLEDGE", "ACKNOWLEDGE"]


def test_an_unreachable_agents_tasks_are_told_and_taken_up_again() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    world.perform(removal.unreachable(world.state, world.rules, agent, now=world.now))
    last = world.statuses(framework, "t")[-1]
    assert (last.state, last.reason) == ("TASK_UNREACHABLE", "REASON_AGENT_REMOVED")
    assert last.unreachable_time is not None
    assert world.told(framework, "FAILURE")
    lost = framework.unreachable_tasks["t"]
    running = replace(lost, state="TASK_RUNNING", status_update_state="TASK_RUNNING")
    world.back(agent, tasks=(running,))
    last = world.statuses(framework, "t")[-1]
    assert (last.state, last.reason) == ("TASK_RUNNING", "REASON_AGENT_REREGISTERED")
    assert framework.unreachable_tasks == {}
    assert world.state.unreachable == {}


def test_an_unreachable_agent_that_returns_without_a_task_makes_it_unknown() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "never-arrived")
    world.perform(removal.unreachable(world.state, world.rules, agent, now=world.now))
    assert list(framework.unreachable_tasks) == ["never-arrived"]
    world.back(agent)
    assert framework.unreachable_tasks == {}
    assert asked(world, framework, "never-arrived", agent.id) == "TASK_GONE"


def test_an_agent_that_no_registry_knows_has_its_tasks_told() -> None:
    """As by a master with `--registry=in_memory` after its restart."""
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    reported = replace(world.state.tasks[(framework.id, "t")], state="TASK_RUNNING")
    forgetful = World()
    known = forgetful.framework()
    reported = replace(reported, framework_id=FrameworkID(known.id))
    forgetful.back(agent, tasks=(reported,))
    [told] = forgetful.statuses(known, "t")
    assert (told.state, told.reason) == ("TASK_RUNNING", "REASON_AGENT_REREGISTERED")
    assert told.message == "Unknown agent reregistered"
    expecting = World()
    expecting.state.recovered = {agent.id: agent.info}
    known = expecting.framework()
    expecting.back(agent, tasks=(replace(reported, framework_id=FrameworkID(known.id)),))
    assert expecting.statuses(known, "t") == []


def test_an_end_that_waits_for_its_acknowledgement_outlasts_the_loss_of_the_agent() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    world.update(framework, "t", "TASK_KILLED")
    world.perform(removal.unreachable(world.state, world.rules, agent, now=world.now))
    assert framework.unreachable_tasks["t"].state == "TASK_KILLED"
    ended = framework.unreachable_tasks["t"]
    framework.completed_tasks.append(ended)
    world.back(agent, tasks=(replace(ended, status_update_state="TASK_STARTING"),))
    last = world.statuses(framework, "t")[-1]
    assert (last.state, last.reason) == ("TASK_KILLED", "REASON_AGENT_REREGISTERED")
    assert list(framework.completed_tasks) == []


def test_an_acknowledged_end_is_listed_once_when_the_agent_missed_the_acknowledgement() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    status = world.update(framework, "t", "TASK_FINISHED")
    reported = world.state.tasks[(framework.id, "t")]
    call = CallAcknowledge(AgentID(agent.id), TaskID("t"), status.uuid or "")
    world.perform(acknowledge(world.state, world.rules, framework, call))
    world.perform(agents.disconnected(world.state, world.rules, agent, now=world.now))
    world.back(agent, tasks=(reported,))
    assert (framework.id, "t") not in world.state.tasks
    assert [task.state for task in framework.completed_tasks] == ["TASK_FINISHED"]
    # The agent sends it again, and what the framework answers reaches it.
    world.update(framework, "t", "TASK_FINISHED")
    before = len(world.calls)
    world.perform(acknowledge(world.state, world.rules, framework, call))
    agent = world.state.agents[agent.id]
    assert [call.type for _, call in world.calls][before:] == ["ACKNOWLEDGE"]
    assert [task.state for task in framework.completed_tasks] == ["TASK_FINISHED"]


def test_tasks_that_a_returning_agent_does_not_know_are_named_to_it() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "kept", "lost", "ended")
    world.update(framework, "ended", "TASK_FINISHED")
    world.perform(agents.disconnected(world.state, world.rules, agent, now=world.now))
    reply = world.back(agent, "kept")
    [unknown] = reply.unknown_tasks
    assert unknown.framework.id is not None
    assert unknown.framework.id.value == framework.id
    assert [task_id.value for task_id in unknown.task_ids] == ["lost"]
    assert (framework.id, "ended") not in world.state.tasks


def test_a_kill_that_was_lost_is_sent_again_at_the_return() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    world.perform(agents.disconnected(world.state, world.rules, agent, now=world.now))
    world.perform(kill(world.state, framework, CallKill(TaskID("t")), now=world.now))
    assert "KILL_TASK" not in [call.type for _, call in world.calls]
    world.back(agent, "t")
    assert "KILL_TASK" in [call.type for _, call in world.calls]


def test_disconnection_rescinds_offers_and_loses_only_what_was_not_checkpointed() -> None:
    world = World()
    agent = world.agent()
    careful = world.framework("lab")
    world.launch(careful, "kept")
    careless = world.framework("other", checkpoint=False)
    world.allocate()
    held = world.offers(careless)
    assert held
    world.perform(agents.disconnected(world.state, world.rules, agent, now=world.now))
    assert len(world.told(careless, "RESCIND")) == len(held)
    assert (careful.id, "kept") in world.state.tasks
    world.allocate()
    assert world.state.offers == {}


def test_a_new_agent_at_the_same_address_ends_the_old_one() -> None:
    world = World()
    old = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    new = world.agent(port=old.info.port)
    assert list(world.state.agents) == [new.id]
    last = world.statuses(framework, "t")[-1]
    assert (last.state, last.reason) == ("TASK_LOST", "REASON_AGENT_REMOVED")
    assert last.message == "Agent h removed: a new agent registered at the same address"


def test_frameworks_of_a_returning_agent_are_recovered_or_shut_down() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    info = framework.info
    other = World()
    reply = other.back(agent, tasks=tuple(world.state.tasks.values()), frameworks=(info,))
    assert reply.agent_id == AgentID(agent.id)
    recovered = other.state.frameworks[framework.id]
    assert recovered.recovered
    assert not recovered.connected
    assert recovered.failover_deadline is None
    assert (framework.id, "t") in other.state.tasks
    third = World()
    third.state.completed[framework.id] = framework
    third.back(agent, frameworks=(info,))
    assert [call.type for _, call in third.calls] == ["SHUTDOWN_FRAMEWORK"]


def refusal(world: World, info: AgentInfo, *checkpointed: object) -> str:
    call = Register(info, "10.0.0.1", "1", checkpointed_resources=checkpointed)  # type: ignore[arg-type]
    with pytest.raises(agents.RegistrationRefused) as caught:
        agents.register(world.state, world.agent_rules, world.rules, call, session="s", now=0.0)
    assert world.state.agents == {}
    return str(caught.value)


def test_registrations_that_cannot_be_are_refused() -> None:
    assert "domain" in refusal(World(region=None), AgentInfo("h", domain=domain("dc-b")))
    strict = World()
    strict.agent_rules = agents.AgentRules(15.0, 5, require_domain=True)
    assert "--require_agent_domain" in refusal(strict, AgentInfo("h"))
    reserved = scalar("cpus", 9, role="lab")
    assert "do not add up" in refusal(World(), AgentInfo("h"), reserved)


def test_an_agent_marked_gone_may_not_return() -> None:
    world = World()
    agent = world.agent()
    assert removal.mark_gone(world.state, world.rules, "no-such", now=0.0) is None
    effects = removal.mark_gone(world.state, world.rules, agent.id, now=0.0)
    assert effects
    world.perform(effects)
    assert [call.type for _, call in world.calls] == ["SHUTDOWN"]
    with pytest.raises(agents.RegistrationRefused) as caught:
        world.back(agent)
    assert caught.value.final


def test_what_is_out_of_reach_counts_as_killed_when_its_framework_goes() -> None:
    """`Master::removeFramework`: unreachable tasks are completed like the others."""
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    world.perform(removal.unreachable(world.state, world.rules, agent, now=world.now))
    world.perform(remove(world.state, world.rules, framework, now=world.now))
    assert framework.unreachable_tasks == {}
    [ended] = framework.completed_tasks
    assert (ended.state, ended.statuses[-1].reason) == ("TASK_KILLED", "REASON_FRAMEWORK_REMOVED")


def test_an_old_client_hears_of_an_unreachable_agent_as_lost() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework(capabilities=OLD)
    world.launch(framework, "t")
    world.perform(removal.unreachable(world.state, world.rules, agent, now=world.now))
    last = world.statuses(framework, "t")[-1]
    assert last.state == "TASK_LOST"
    # `Master::__removeSlave` says since when, whatever it calls the state.
    assert last.unreachable_time is not None


def test_a_status_of_the_same_state_replaces_the_one_before() -> None:
    world = World()
    world.agent()
    framework = world.framework()
    world.launch(framework, "t")
    world.update(framework, "t", "TASK_RUNNING")
    world.update(framework, "t", "TASK_KILLED")
    listed = world.state.tasks[(framework.id, "t")].statuses
    assert [status.state for status in listed] == ["TASK_RUNNING", "TASK_KILLED"]
    assert len(world.statuses(framework, "t")) == 3
