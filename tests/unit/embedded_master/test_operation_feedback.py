"""Operations with an id: told until acknowledged, and what is said of them meanwhile."""

from __future__ import annotations

import base64

import pytest

from kubedcos.embedded.master import operation_feedback, removal
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, OperationRecord
from kubedcos.mesos.messages import (
    AgentID,
    CallAcknowledgeOperation,
    CallReconcileOperations,
    Capability,
    Operation,
    OperationID,
    OperationReserve,
    OperationStatus,
    ReconcileOperation,
    ReservationInfo,
)

from .world import World, scalar

RESERVED = scalar("cpus", 2, reservations=(ReservationInfo("DYNAMIC", "lab"),))


def asked(world: World) -> tuple[AgentRecord, FrameworkRecord]:
    """An agent, and a framework that wants to hear of a reservation."""
    agent = world.agent()
    agent.capabilities = (Capability("AGENT_OPERATION_FEEDBACK"),)
    framework = world.framework()
    reserve = OperationReserve(resources=(RESERVED,))
    operation = Operation("RESERVE", id=OperationID("op"), reserve=reserve)
    world.accept(framework, world.offers(framework), operation)
    return agent, framework


def only(world: World) -> OperationRecord:
    [record] = world.state.operations.values()
    return record


def delivered(world: World) -> None:
    effects = operation_feedback.carried_out(world.state, only(world).uuid, now=world.now)
    world.perform(effects)


def told(world: World, framework: FrameworkRecord) -> list[OperationStatus]:
    return [update.status for update in world.told(framework, "UPDATE_OPERATION_STATUS")]


def reconciled(
    world: World, framework: FrameworkRecord, *asked_for: ReconcileOperation
) -> list[OperationStatus]:
    before = len(told(world, framework))
    call = CallReconcileOperations(asked_for)
    world.perform(operation_feedback.reconciled(world.state, framework, call))
    return told(world, framework)[before:]


def test_the_end_is_told_when_the_agent_has_it_and_again_until_acknowledged() -> None:
    world = World()
    agent, framework = asked(world)
    assert told(world, framework) == []
    delivered(world)
    [status] = told(world, framework)
    assert (status.state, status.operation_id) == ("OPERATION_FINISHED", OperationID("op"))
    assert status.agent_id == AgentID(agent.id)
    times = []
    for _ in range(100):
        world.now += 1
        effects = operation_feedback.repeated(world.state, now=world.now)
        times += [world.now - 1000] * len(effects)
        world.perform(effects)
    assert times == [10, 30, 70]
    assert set(told(world, framework)) == {status}
    assert status.uuid is not None
    wrong = CallAcknowledgeOperation("AAAA", OperationID("op"), AgentID(agent.id))
    operation_feedback.acknowledged(world.state, framework, wrong)
    assert only(world)
    right = CallAcknowledgeOperation(status.uuid.value, OperationID("op"), AgentID(agent.id))
    operation_feedback.acknowledged(world.state, framework, right)
    assert world.state.operations == {}
    assert len(base64.b64decode(status.uuid.value)) == 16


def test_reconciling_tells_the_state_without_a_uuid() -> None:
    world = World()
    agent, framework = asked(world)
    [pending] = reconciled(world, framework)
    assert (pending.state, pending.uuid) == ("OPERATION_PENDING", None)
    delivered(world)
    for call in ((), (ReconcileOperation(OperationID("op")),)):
        [known] = reconciled(world, framework, *call)
        assert (known.state, known.uuid) == ("OPERATION_FINISHED", None)
    ghost = ReconcileOperation(OperationID("ghost"), AgentID(agent.id))
    [unknown] = reconciled(world, framework, ghost)
    assert unknown.message == "Reconciliation: Operation is unknown"
    world.perform(removal.unreachable(world.state, world.rules, agent, now=world.now))
    [lost] = reconciled(world, framework, ghost)
    assert lost.state == "OPERATION_UNREACHABLE"
    assert world.state.operations == {}


@pytest.mark.parametrize(
    ("kept", "state"), [(True, "OPERATION_FINISHED"), (False, "OPERATION_DROPPED")]
)
def test_an_agent_that_comes_back_settles_what_was_on_its_way(kept: bool, state: str) -> None:
    world = World()
    agent, framework = asked(world)
    reserved = tuple(agent.total.reserved()) if kept else ()
    world.back(agent, checkpointed_resources=reserved)
    [status] = told(world, framework)
    assert status.state == state
    assert world.state.agents[agent.id].total.reserved().scalar("cpus") == (2 if kept else 0)
