"""Executors of task groups in the master's accounts: launch, end, loss, return."""

from __future__ import annotations

from typing import Any

import pytest

from kubedcos.embedded.master.frameworks import remove
from kubedcos.embedded.master.prototext import text_format
from kubedcos.embedded.master.removal import unreachable
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord
from kubedcos.embedded.master.task_groups import exited_executor, shutdown_executor
from kubedcos.embedded.protocol import ExitedExecutor, KnownExecutor
from kubedcos.mesos.container_messages import LinuxInfo
from kubedcos.mesos.messages import (
    AgentID,
    CallShutdown,
    CommandInfo,
    ContainerInfo,
    ExecutorID,
    ExecutorInfo,
    FrameworkID,
    Operation,
    OperationID,
    OperationLaunchGroup,
    Scalar,
    TaskGroup,
)

from .world import World, scalar, task


def pod(framework: FrameworkRecord, **changes: Any) -> ExecutorInfo:
    parts: dict[str, Any] = {
        "executor_id": ExecutorID("pod"),
        "type": "DEFAULT",
        "framework_id": FrameworkID(framework.id),
        "resources": (scalar("cpus", 0.5), scalar("mem", 32), scalar("disk", 32)),
    }
    return ExecutorInfo(**(parts | changes))


def group(info: ExecutorInfo, *tasks: Any) -> Operation:
    body = OperationLaunchGroup(info, TaskGroup(tasks))
    return Operation("LAUNCH_GROUP", launch_group=body)


def started(world: World, *names: str) -> tuple[AgentRecord, FrameworkRecord]:
    agent, framework = world.agent(), world.framework()
    offer = world.offers(framework)[0]
    tasks = (task(offer, name) for name in names)
    world.accept(framework, [offer], group(pod(framework), *tasks))
    for name in names:
        world.update(framework, name, "TASK_RUNNING")
    return agent, framework


def used(world: World, agent: AgentRecord) -> float:
    return world.state.used(agent_id=agent.id).scalar("cpus")


def exit_of(framework: FrameworkRecord, status: int = 0) -> ExitedExecutor:
    return ExitedExecutor(FrameworkID(framework.id), ExecutorID("pod"), status)


def test_an_executor_holds_its_resources_until_it_exits_and_its_tasks_until_they_end() -> None:
    world = World()
    agent, framework = started(world, "a", "b")
    call = world.calls[-1][1].run_task_group
    assert call is not None
    assert call.launch_executor
    assert [member.executor for member in call.tasks] == [pod(framework)] * 2
    assert used(world, agent) == pytest.approx(2.5)
    world.update(framework, "a", "TASK_FINISHED")
    world.update(framework, "b", "TASK_FINISHED")
    assert used(world, agent) == pytest.approx(0.5)
    world.perform(exited_executor(world.state, agent, exit_of(framework)))
    assert used(world, agent) == 0
    (failure,) = world.told(framework, "FAILURE")
    assert (failure.executor_id, failure.status) == (ExecutorID("pod"), 0)
    # Told twice it is no news.
    world.perform(exited_executor(world.state, agent, exit_of(framework)))
    assert len(world.told(framework, "FAILURE")) == 1


def test_a_second_group_needs_no_second_executor() -> None:
    world = World()
    agent, framework = started(world, "a")
    world.allocate()
    offer = world.offers(framework)[0]
    assert offer.offer.executor_ids == (ExecutorID("pod"),)
    world.accept(framework, [offer], group(pod(framework), task(offer, "b")))
    call = world.calls[-1][1].run_task_group
    assert call is not None
    assert not call.launch_executor
    assert used(world, agent) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("changes", "member", "text"),
    [
        ({"type": "CUSTOM", "command": CommandInfo(value="x")}, {}, "does not support"),
        ({"framework_id": None}, {}, "'ExecutorInfo.framework_id' must be set"),
        ({"framework_id": FrameworkID("x")}, {}, "(Actual: x vs Expected: "),
        (
            {"resources": (scalar("mem", 32), scalar("disk", 1))},
            {},
            "Executor 'pod' uses less CPUs (None) than the minimum required (0.01)",
        ),
        (
            {"resources": (scalar("cpus", 1), scalar("mem", 16), scalar("disk", 1))},
            {},
            "Executor 'pod' uses less memory (16MB) than the minimum required (32MB)",
        ),
        ({"executor_id": ExecutorID("a/b")}, {}, "'a/b' contains invalid characters"),
        ({}, {"limits": {"mem": Scalar(64.0)}}, "Resource limits may only be set for tasks"),
        (
            {"container": ContainerInfo(type="MESOS", linux_info=LinuxInfo())},
            {},
            "The 'share_cgroups' field cannot be set to 'true' on executor containers",
        ),
        (
            {},
            {"container": ContainerInfo("MESOS", linux_info=LinuxInfo(share_cgroups=False))},
            "does not support 'share_cgroups'",
        ),
    ],
)
def test_a_wrong_group_changes_nothing(
    changes: dict[str, Any], member: dict[str, Any], text: str
) -> None:
    world = World()
    world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    tasks = (task(offer, "a", **member), task(offer, "b", **member))
    world.accept(framework, [offer], group(pod(framework, **changes), *tasks))
    messages = {s.message for name in ("a", "b") for s in world.statuses(framework, name)}
    assert len(messages) == 1
    assert text in (messages.pop() or "")
    assert (len(world.state.executors), len(world.state.tasks), world.calls) == (0, 0, [])


def test_an_id_on_the_operation_is_refused() -> None:
    world = World()
    world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    body = OperationLaunchGroup(pod(framework), TaskGroup((task(offer, "a"),)))
    operation = Operation("LAUNCH_GROUP", id=OperationID("x"), launch_group=body)
    world.accept(framework, [offer], operation)
    (status,) = world.statuses(framework, "a")
    assert status.message == "The `id` field cannot be set on LAUNCH_GROUP operations"


def test_the_same_task_id_twice_in_a_group() -> None:
    world = World()
    world.agent()
    framework = world.framework()
    offer = world.offers(framework)[0]
    world.accept(framework, [offer], group(pod(framework), task(offer, "a"), task(offer, "a")))
    assert world.statuses(framework, "a")[0].message == (
        "Task 'a' is invalid: Task has duplicate ID: a"
    )


def test_the_return_of_an_agent_says_which_executors_there_are() -> None:
    world = World()
    agent, framework = started(world, "a")
    key = KnownExecutor(FrameworkID(framework.id), pod(framework))
    world.back(agent, "a", executors=(key,), frameworks=(framework.info,))
    assert used(world, world.state.agents[agent.id]) == pytest.approx(1.5)
    world.back(agent, "a", frameworks=(framework.info,))
    assert used(world, world.state.agents[agent.id]) == pytest.approx(1.0)


def test_nothing_is_left_of_an_executor_whose_framework_or_agent_is_gone() -> None:
    world = World()
    agent, framework = started(world, "a")
    world.perform(remove(world.state, world.rules, framework, now=world.now))
    assert used(world, agent) == 0
    agent, framework = started(world, "a")
    world.perform(unreachable(world.state, world.rules, agent, now=world.now))
    assert list(world.state.executors_of(framework_id=framework.id)) == []


def test_shutdown_goes_to_the_agent_and_to_no_other() -> None:
    world = World()
    agent, framework = started(world, "a")
    for agent_id in ("other", agent.id):
        call = CallShutdown(ExecutorID("pod"), AgentID(agent_id))
        world.perform(shutdown_executor(world.state, framework, call))
    orders = [call.shutdown_executor for _, call in world.calls if call.shutdown_executor]
    assert [order.executor_id.value for order in orders] == ["pod"]


def test_text_format_quotes_texts_but_not_names_of_enumerations() -> None:
    command = CommandInfo(value='a "quoted" word', shell=False)
    info = ExecutorInfo(ExecutorID("x"), type="CUSTOM", command=command, name="n")
    assert text_format(info) == (
        'executor_id {\n  value: "x"\n}\n'
        'command {\n  shell: false\n  value: "a \\"quoted\\" word"\n}\n'
        'name: "n"\ntype: CUSTOM\n'
    )
