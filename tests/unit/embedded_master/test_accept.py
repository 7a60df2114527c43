"""ACCEPT beyond what the contract tests show: what is left, what is refused, what operators do."""

from __future__ import annotations

import pytest

from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.operating import operate
from kubedcos.embedded.master.state import AgentRecord
from kubedcos.mesos.container_messages import DockerInfo, Image, MesosInfo
from kubedcos.mesos.messages import (
    ContainerInfo,
    DiskInfo,
    ExecutorID,
    ExecutorInfo,
    Operation,
    OperationID,
    OperationLaunch,
    OperationLaunchGroup,
    OperationReserve,
    OperationResources,
    OperationVolumes,
    Persistence,
    ReservationInfo,
    Resource,
    TaskGroup,
)
from kubedcos.mesos.operations import NotApplicable

from .world import World, scalar, task

RESERVED = scalar("cpus", 2, reservations=(ReservationInfo("DYNAMIC", "lab"),))
RESERVE = Operation("RESERVE", reserve=OperationReserve(resources=(RESERVED,)))


def unreserve(resources: tuple[Resource, ...]) -> Operation:
    return Operation("UNRESERVE", unreserve=OperationResources(resources))


def operated(world: World, agent: AgentRecord, operation: Operation) -> Effects:
    now = world.now
    return operate(world.state, agent, operation, principal=None, now=now, allocation_interval=1.0)


def test_the_rest_of_an_accept_is_filtered_and_the_used_part_is_not() -> None:
    world = World()
    world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    infos = (task(offer, "t"),)
    launch = Operation("LAUNCH", launch=OperationLaunch(infos))
    world.accept(framework, [offer], launch, refuse=100)
    world.allocate()
    assert world.offers(framework) == []
    world.update(framework, "t", "TASK_FINISHED")
    world.allocate()
    assert world.offers(framework)[0].resources.scalar("cpus") == 4


def test_checkpoint_goes_to_the_agent_before_the_task_that_relies_on_it() -> None:
    world = World()
    world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    infos = (task(offer, "t", resources=(RESERVED, scalar("mem", 32))),)
    launch = Operation("LAUNCH", launch=OperationLaunch(infos))
    world.accept(framework, [offer], RESERVE, launch)
    assert [call.type for _, call in world.calls] == ["CHECKPOINT_RESOURCES", "RUN_TASKS"]


def test_feedback_is_refused_in_mesos_words() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    asking = Operation("RESERVE", id=OperationID("op"), reserve=RESERVE.reserve)
    world.accept(framework, [offer], asking)
    [update] = world.told(framework, "UPDATE_OPERATION_STATUS")
    assert update.status.state == "OPERATION_ERROR"
    assert "AGENT_OPERATION_FEEDBACK" in update.status.message
    assert len(agent.total.reserved()) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": None, "executor": ExecutorInfo(ExecutorID("e"))}, "Task.executor"),
        ({"container": ContainerInfo("DOCKER", docker=DockerInfo("i"))}, "Docker"),
        ({"container": ContainerInfo("MESOS", mesos=MesosInfo(Image("DOCKER")))}, "images"),
    ],
)
def test_what_the_engine_cannot_run_is_refused_by_name(
    changes: dict[str, object], words: str
) -> None:
    world = World()
    world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    infos = (task(offer, "t", **changes),)
    world.accept(framework, [offer], Operation("LAUNCH", launch=OperationLaunch(infos)))
    [status] = world.statuses(framework, "t")
    assert (status.state, status.reason) == ("TASK_ERROR", "REASON_TASK_INVALID")
    assert status.message
    assert status.message.startswith("The embedded engine does not support")
    assert words in status.message
    assert world.calls == []


def test_task_groups_are_refused_task_by_task() -> None:
    world = World()
    world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    group = TaskGroup((task(offer, "a"), task(offer, "b")))
    body = OperationLaunchGroup(ExecutorInfo(ExecutorID("e")), group)
    world.accept(framework, [offer], Operation("LAUNCH_GROUP", launch_group=body))
    for name in ("a", "b"):
        [status] = world.statuses(framework, name)
        assert (status.state, status.reason) == ("TASK_ERROR", "REASON_TASK_GROUP_INVALID")


def test_an_operator_takes_back_offers_that_stand_in_the_way() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    world.accept(framework, world.offers(framework), RESERVE)
    world.allocate()
    [offer] = world.offers(framework)
    unallocated = tuple(agent.total.reserved())
    world.perform(operated(world, agent, unreserve(unallocated)))
    assert [rescind.offer_id.value for rescind in world.told(framework, "RESCIND")] == [offer.id]
    assert len(agent.total.reserved()) == 0


def test_an_operator_cannot_take_what_a_task_uses() -> None:
    world = World()
    agent = world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    infos = (task(offer, "t", resources=(RESERVED, scalar("mem", 32))),)
    launch = Operation("LAUNCH", launch=OperationLaunch(infos))
    world.accept(framework, [offer], RESERVE, launch)
    with pytest.raises(NotApplicable, match="does not contain cpus"):
        operated(world, agent, unreserve(tuple(agent.total.reserved())))
    volume = scalar(
        "disk",
        1,
        reservations=(ReservationInfo("DYNAMIC", "lab"),),
        disk=DiskInfo(persistence=Persistence("v")),
    )
    with pytest.raises(ValueError, match="Expecting 'volume' to be set"):
        operated(world, agent, Operation("DESTROY", destroy=OperationVolumes((volume,))))
