"""Every state that a task can have: how a framework comes to hear of it, with which source and
reason, with and without PARTITION_AWARE. What executors and agents say is passed on as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from kubedcos.embedded.master import agents
from kubedcos.embedded.master.reconcile import reconcile
from kubedcos.embedded.master.removal import mark_gone, unreachable, unregister
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord
from kubedcos.embedded.protocol import StatusUpdate
from kubedcos.mesos.messages import (
    LIVE_STATES,
    TERMINAL_STATES,
    AgentID,
    CallReconcile,
    FrameworkID,
    Operation,
    OperationLaunch,
    ReconcileTask,
    TaskID,
    TaskStatus,
)

from .world import MODERN, OLD, World, task

Story = Callable[[World, AgentRecord, FrameworkRecord], None]


def told_by(source: str, state: str, reason: str | None = None) -> Story:
    """An executor or an agent says it; the master passes it on."""

    def story(world: World, _agent: AgentRecord, framework: FrameworkRecord) -> None:
        world.launch(framework, "t")
        status = TaskStatus(TaskID("t"), state, source=source, reason=reason, uuid="x")
        call = StatusUpdate(FrameworkID(framework.id), status, state)
        world.perform(agents.status_update(world.state, call))

    return story


def staging(world: World, _agent: AgentRecord, framework: FrameworkRecord) -> None:
    offer = world.offers(framework)[0]
    launch = Operation("LAUNCH", launch=OperationLaunch((task(offer, "t"),)))
    world.accept(framework, [offer], launch)
    ask(world, framework)


def invalid(world: World, _agent: AgentRecord, framework: FrameworkRecord) -> None:
    offer = world.offers(framework)[0]
    launch = Operation("LAUNCH", launch=OperationLaunch((task(offer, "t", resources=()),)))
    world.accept(framework, [offer], launch)


def stale_offer(world: World, _agent: AgentRecord, framework: FrameworkRecord) -> None:
    offer = world.offers(framework)[0]
    del world.state.offers[offer.id]
    launch = Operation("LAUNCH", launch=OperationLaunch((task(offer, "t"),)))
    world.accept(framework, [offer], launch)


def agent_away(world: World, agent: AgentRecord, framework: FrameworkRecord) -> None:
    offer = world.offers(framework)[0]
    agent.connected = False
    launch = Operation("LAUNCH", launch=OperationLaunch((task(offer, "t"),)))
    world.accept(framework, [offer], launch)


def silence(world: World, agent: AgentRecord, framework: FrameworkRecord) -> None:
    world.launch(framework, "t")
    world.perform(unreachable(world.state, world.rules, agent, now=world.now))


def marked_gone(world: World, agent: AgentRecord, framework: FrameworkRecord) -> None:
    world.launch(framework, "t")
    world.perform(mark_gone(world.state, world.rules, agent.id, now=world.now) or [])


def replaced(world: World, agent: AgentRecord, framework: FrameworkRecord) -> None:
    world.launch(framework, "t")
    world.agent(port=agent.info.port)


def removed(world: World, agent: AgentRecord, framework: FrameworkRecord) -> None:
    world.launch(framework, "t")
    world.perform(unregister(world.state, world.rules, agent, now=world.now))


def ask(world: World, framework: FrameworkRecord, agent_id: str | None = None) -> None:
    place = AgentID(agent_id) if agent_id is not None else None
    call = CallReconcile((ReconcileTask(TaskID("t"), place),))
    world.perform(reconcile(world.state, framework, call, now=world.now))


def never_heard_of(world: World, _agent: AgentRecord, framework: FrameworkRecord) -> None:
    ask(world, framework)


def unknown_to_the_agent(world: World, agent: AgentRecord, framework: FrameworkRecord) -> None:
    ask(world, framework, agent.id)


class Way(NamedTuple):
    """How a state is reached; `old` is what a framework without PARTITION_AWARE hears."""

    state: str
    story: Story
    source: str
    reason: str | None
    message: str | None
    old: str | None = None


EXECUTOR, AGENT, MASTER = "SOURCE_EXECUTOR", "SOURCE_AGENT", "SOURCE_MASTER"
KILLED_EARLY = "REASON_TASK_KILLED_DURING_LAUNCH"
WAYS: Final = (
    Way(
        "TASK_STAGING",
        staging,
        MASTER,
        "REASON_RECONCILIATION",
        "Reconciliation: Latest task state",
    ),
    *(
        Way(state, told_by(EXECUTOR, state), EXECUTOR, None, None)
        for state in ("TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_FINISHED")
    ),
    Way("TASK_FAILED", told_by(EXECUTOR, "TASK_FAILED"), EXECUTOR, None, None),
    Way(
        "TASK_FAILED",
        told_by(AGENT, "TASK_FAILED", "REASON_EXECUTOR_TERMINATED"),
        AGENT,
        "REASON_EXECUTOR_TERMINATED",
        None,
    ),
    Way("TASK_KILLED", told_by(EXECUTOR, "TASK_KILLED"), EXECUTOR, None, None),
    Way("TASK_KILLED", told_by(AGENT, "TASK_KILLED", KILLED_EARLY), AGENT, KILLED_EARLY, None),
    Way("TASK_ERROR", invalid, MASTER, "REASON_TASK_INVALID", "Task uses no resources"),
    Way("TASK_DROPPED", stale_offer, MASTER, "REASON_INVALID_OFFERS", None, old="TASK_LOST"),
    Way(
        "TASK_DROPPED",
        agent_away,
        MASTER,
        "REASON_AGENT_DISCONNECTED",
        "Agent disconnected",
        old="TASK_LOST",
    ),
    Way(
        "TASK_UNREACHABLE",
        silence,
        MASTER,
        "REASON_AGENT_REMOVED",
        "health check timed out",
        old="TASK_LOST",
    ),
    Way(
        "TASK_GONE_BY_OPERATOR",
        marked_gone,
        MASTER,
        "REASON_AGENT_REMOVED_BY_OPERATOR",
        "Agent has been marked gone",
        old="TASK_LOST",
    ),
    Way(
        "TASK_LOST",
        replaced,
        MASTER,
        "REASON_AGENT_REMOVED",
        "Agent h removed: a new agent registered at the same address",
    ),
    Way(
        "TASK_LOST",
        removed,
        MASTER,
        "REASON_AGENT_REMOVED",
        "Agent h removed: the agent unregistered",
    ),
    Way(
        "TASK_UNKNOWN",
        never_heard_of,
        MASTER,
        "REASON_RECONCILIATION",
        "Reconciliation: Task is unknown",
        old="TASK_LOST",
    ),
    Way(
        "TASK_GONE",
        unknown_to_the_agent,
        MASTER,
        "REASON_RECONCILIATION",
        "Reconciliation: Task is unknown to the agent",
        old="TASK_LOST",
    ),
)


def ids(way: Way) -> str:
    return f"{way.state}-{way.reason or way.source}"


@pytest.mark.parametrize("way", WAYS, ids=ids)
@pytest.mark.parametrize("capabilities", [MODERN, OLD], ids=["aware", "old"])
def test_how_a_state_is_reached(way: Way, capabilities: tuple[str, ...]) -> None:
    world = World()
    agent = world.agent()
    framework = world.framework(capabilities=capabilities)
    way.story(world, agent, framework)
    status = world.statuses(framework, "t")[-1]
    aware = "PARTITION_AWARE" in capabilities
    assert status.state == (way.state if aware else way.old or way.state)
    assert status.source == way.source
    reason = way.reason
    if way.story is marked_gone and not aware:
        reason = "REASON_AGENT_REMOVED"
    assert status.reason == reason
    if way.message is not None:
        assert status.message == way.message
    # Only what executors and agents say is to be acknowledged.
    assert (status.uuid is None) == (way.source == MASTER)


def test_no_state_is_left_out() -> None:
    named = {way.state for way in WAYS}
    assert named == {*LIVE_STATES, *TERMINAL_STATES, "TASK_UNREACHABLE", "TASK_UNKNOWN"}
