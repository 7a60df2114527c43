"""What the agent shows of executors of task groups, beside those of command tasks."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.group_executor import GroupExecutor
from kubedcos.embedded.agent.group_launching import group_limits
from kubedcos.embedded.agent.isolators.disk import MB
from kubedcos.embedded.agent.statistics import container_statistics, network_statistics
from kubedcos.embedded.agent.taskrun import TaskRun
from kubedcos.embedded.master.views import amounts, task_view
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import TERMINAL_STATES
from kubedcos.mesos.resources import Resources

Json = dict[str, Any]


def running(agent: Agent) -> list[GroupExecutor]:
    """Executors that have a container now."""
    executors = agent.groups.executors.values()
    return [e for e in executors if e.executor_pid is not None and not e.ended]


def executor_view(agent: Agent, executor: GroupExecutor) -> Json:
    """One executor as `/state` lists it, with its tasks."""
    info = executor.info
    resources = Resources(info.resources)
    shown: dict[str, list[Json]] = {"tasks": [], "queued_tasks": [], "completed_tasks": []}
    for member in executor.members.values():
        queued = member.executor_pid is None
        kind = "queued_tasks" if queued else "tasks"
        kind = "completed_tasks" if member.state in TERMINAL_STATES else kind
        shown[kind].append(_task_view(member))
        if not member.ended:
            resources += member.task.resources
    shown["completed_tasks"] += [_task_view(member) for member in executor.settled]
    allocation = info.resources[0].allocation_info if info.resources else None
    view: Json = {
        "id": executor.run.executor_id,
        "name": info.name or "",
        "source": info.source or "",
        "container": executor.run.container_id,
        "directory": str(agent.store.layout.sandbox(executor.agent_id, executor.run)),
        "resources": amounts(resources),
        "role": (allocation.role if allocation else None) or "*",
    }
    if info.labels is not None:
        view["labels"] = to_json(info.labels).get("labels", [])
    if info.type is not None:
        view["type"] = info.type
    return view | shown


def _task_view(member: TaskRun) -> Json:
    return task_view(replace(member.view(), statuses=member.newest_by_state()))


def container_view(agent: Agent, executor: GroupExecutor, now: float) -> Json:
    """One executor's container as `/containers` lists it."""
    return {
        "container_id": executor.run.container_id,
        "executor_id": executor.run.executor_id,
        "executor_name": executor.info.name or "",
        "framework_id": executor.run.framework_id,
        "source": executor.info.source or "",
        "statistics": _statistics(agent, executor, now),
        "status": _status(executor),
    }


def _status(executor: GroupExecutor) -> Json:
    container_id = {"value": executor.run.container_id}
    status: Json = {"container_id": container_id, "executor_pid": executor.executor_pid}
    if executor.networks:
        status["network_infos"] = to_json(executor.networks)
    return status


def _statistics(agent: Agent, executor: GroupExecutor, now: float) -> Json:
    cgroups = agent.containers.cgroups
    values = container_statistics(
        now,
        cgroups.plan,
        cgroups.root,
        executor.run.container_id,
        executor.executor_pid,
        group_limits(executor.info, [member.task for member in executor.alive()]),
    )
    if agent.settings.flags.boolean("network_cni_metrics"):
        values |= network_statistics(executor.executor_pid, len(executor.networks))
    if agent.disk is not None:
        values |= agent.disk.statistics(agent.groups.watched_of(executor))
    return values


def get_containers(agent: Agent, now: float, *, nested: bool) -> list[Json]:
    """The containers of GET_CONTAINERS; those of single tasks when `nested` is wanted."""
    listed: list[Json] = [
        {
            "framework_id": {"value": executor.run.framework_id},
            "executor_id": {"value": executor.run.executor_id},
            "executor_name": executor.info.name or "",
            "container_id": {"value": executor.run.container_id},
            "container_status": _status(executor),
            "resource_statistics": _statistics(agent, executor, now),
        }
        for executor in running(agent)
    ]
    if nested:
        for executor in running(agent):
            listed += [_nested(member, now) for member in executor.alive() if member.executor_pid]
    return listed


def _nested(member: TaskRun, now: float) -> Json:
    # Mesos names the parent inside `container_status` only.
    status: Json = to_json(member.container_status())
    status.pop("network_infos", None)
    held = Resources(member.task.resources)
    memory = round(held.scalar("mem") * MB)
    return {
        "container_id": {"value": member.nested_id},
        "container_status": status,
        "resource_statistics": {
            "timestamp": now,
            "cpus_soft_limit": held.scalar("cpus"),
            "mem_limit_bytes": memory,
            "mem_soft_limit_bytes": memory,
        },
    }


def executor_infos(agent: Agent) -> tuple[list[Json], list[Json]]:
    """Running and completed executors of GET_EXECUTORS."""
    listed = [executor for executor in agent.groups.executors.values() if not executor.ended]
    return (
        [{"executor_info": to_json(executor.info)} for executor in listed],
        [{"executor_info": to_json(executor.info)} for executor in agent.groups.completed],
    )


def resources(agent: Agent) -> Resources:
    """What the executors themselves hold, without their tasks."""
    executors = agent.groups.executors.values()
    return Resources(r for e in executors if not e.ended for r in e.info.resources)
