"""What a task's container gets, and which wishes are refused. Pure.

A wish that the embedded agent cannot fulfil fails the launch with a sentence about it; nothing is
left out silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kubedcos.embedded.agent.cgroup_layout import Limits
from kubedcos.embedded.agent.executor.command import environment_of
from kubedcos.embedded.agent.executor.lifecycle import DEFAULT_KILL_GRACE
from kubedcos.embedded.agent.settings import PATH
from kubedcos.mesos.messages import CommandInfo, ContainerInfo, FrameworkInfo, TaskInfo
from kubedcos.mesos.resources import Resources

_HERE = "the embedded agent does not support "
EXECUTOR_MARGIN = 2.0
"""Seconds between the last KILL of a command task and the end of its executor's container."""


def refusal(task: TaskInfo, isolation: frozenset[str]) -> tuple[str, str, str] | None:
    """Why a task is not launched: (state, reason, message), or None.

    Args:
        task: what is to be launched.
        isolation: the agent's isolators.
    """
    limits = task.limits or {}
    kinds = (("cpus", "CPU", "cgroups/cpu"), ("mem", "Memory", "cgroups/mem"))
    for name, word, isolator in kinds:
        if name in limits and not isolation & {isolator, "cgroups/all"}:
            text = (
                f"{word} limits can only be set on tasks launched in Mesos containers when the "
                f"agent has loaded the '{isolator}' isolator"
            )
            return "TASK_DROPPED", "REASON_GC_ERROR", text
    if wish := unsupported(task):
        text = f"Failed to launch container: {_HERE}{wish}"
        return "TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", text
    return None


def unsupported(task: TaskInfo) -> str | None:
    """The first wish of a task, beside its container's, that cannot be fulfilled, or None."""
    if task.executor is not None:
        return "custom executors, only command tasks"
    if task.command is None:
        return "tasks without a command"
    commands: list[CommandInfo | None] = [task.command]
    if task.health_check is not None:
        commands.append(task.health_check.command)
    if task.check is not None and task.check.command is not None:
        commands.append(task.check.command.command)
    for command in filter(None, commands):
        variables = command.environment.variables if command.environment else ()
        if any(variable.type == "SECRET" for variable in variables):
            return "environment variables of type SECRET"
    return None


def container_of(task: TaskInfo, default: ContainerInfo | None) -> ContainerInfo | None:
    """The container that a command task's executor runs in; `default_container_info` as a last."""
    return default if task.container is None else task.container


def limits_of(task: TaskInfo) -> Limits:
    """The limits of a command task's container."""
    resources = Resources(task.resources)
    wanted = {name: value.value for name, value in (task.limits or {}).items()}
    return Limits.of_task(resources.scalar("cpus"), resources.scalar("mem"), wanted)


def executor_grace(task: TaskInfo, usual: float) -> float:
    """Seconds that a command task's executor has to end, as in `Slave::getExecutorInfo`.

    Args:
        task: the task, whose kill policy counts.
        usual: `executor_shutdown_grace_period`, for tasks without one.
    """
    grace = task.kill_policy.grace_period if task.kill_policy else None
    return usual if grace is None else grace.nanoseconds / 1e9 + EXECUTOR_MARGIN


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container lives; all texts as the task sees them.

    Attributes:
        agent_ip: at which the agent is reached.
        agent_port: of the agent.
        container_ip: of a container with networks of its own; empty for one in the host's.
        user: of the task: name, uid, gid; None to stay who the agent is.
    """

    agent_id: str
    agent_ip: str
    agent_port: int
    container_id: str
    sandbox: str
    container_ip: str = ""
    user: Mapping[str, Any] | None = None


def task_environment(
    task: TaskInfo,
    framework: FrameworkInfo,
    place: Place,
    inherited: Mapping[str, str],
    *,
    recovery_timeout: str,
    shutdown_grace: float,
    http_command_executor: bool,
) -> dict[str, str]:
    """The environment of a command task, as Mesos' command executor passes it on.

    Args:
        task: the task.
        framework: its framework.
        place: where it runs.
        inherited: see `Settings.executor_environment`.
        recovery_timeout: the flag's text.
        shutdown_grace: see `executor_grace`.
        http_command_executor: the flag.
    """
    assert task.command is not None
    role = next((r.allocation_info.role for r in task.resources if r.allocation_info), None)
    environment = {
        "PATH": PATH,
        **inherited,
        "LIBPROCESS_IP": "0.0.0.0" if place.container_ip else place.agent_ip,  # noqa: S104  as Mesos
        "LIBPROCESS_PORT": "0",
        "MESOS_AGENT_ENDPOINT": f"{place.agent_ip}:{place.agent_port}",
        "MESOS_CHECKPOINT": "1" if framework.checkpoint else "0",
        "MESOS_CONTAINER_IP": place.container_ip or place.agent_ip,
        "MESOS_DIRECTORY": place.sandbox,
        "MESOS_EXECUTOR_ID": task.task_id.value,
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": f"{shutdown_grace:g}secs",
        "MESOS_FRAMEWORK_ID": framework.id.value if framework.id else "",
        "MESOS_HTTP_COMMAND_EXECUTOR": "1" if http_command_executor else "0",
        "MESOS_SANDBOX": place.sandbox,
        "MESOS_SLAVE_ID": place.agent_id,
        "MESOS_SLAVE_PID": f"slave(1)@{place.agent_ip}:{place.agent_port}",
        "MESOS_TASK_ID": task.task_id.value,
    }
    if framework.checkpoint:
        environment["MESOS_RECOVERY_TIMEOUT"] = recovery_timeout
        environment["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = "2secs"
    if role:
        environment["MESOS_ALLOCATION_ROLE"] = role
    return environment | environment_of(msgspec.to_builtins(task.command))


def launch_description(
    task: TaskInfo,
    framework: FrameworkInfo,
    place: Place,
    environment: Mapping[str, str],
    journal: str,
    *,
    recovery_timeout: float,
    shutdown_grace: float,
    kill_policy_of_call_counts: bool,
) -> dict[str, Any]:
    """What the executor needs, but for the cgroups; see `executor.supervisor`. Times in seconds."""
    capabilities = {capability.type for capability in framework.capabilities}
    grace = task.kill_policy.grace_period if task.kill_policy else None
    longest = task.max_completion_time
    description: dict[str, Any] = {
        "task_id": task.task_id.value,
        "container_id": place.container_id,
        "journal": journal,
        "sandbox": place.sandbox,
        "environment": dict(environment),
        "command": msgspec.to_builtins(task.command),
        "checkpoint": framework.checkpoint,
        "recovery_timeout": recovery_timeout,
        "shutdown_grace": shutdown_grace - EXECUTOR_MARGIN,
        "reports_killing": "TASK_KILLING_STATE" in capabilities,
        "kill_policy_of_call_counts": kill_policy_of_call_counts,
        "kill_grace": DEFAULT_KILL_GRACE if grace is None else grace.nanoseconds / 1e9,
        "max_completion_time": None if longest is None else longest.nanoseconds / 1e9,
    }
    if place.user is not None:
        description["user"] = dict(place.user)
    if task.check is not None:
        description["check"] = msgspec.to_builtins(task.check)
    if task.health_check is not None:
        description["health_check"] = msgspec.to_builtins(task.health_check)
    return description


def executor_name(task: TaskInfo) -> str:
    """Name of a command task's executor, as Mesos makes it up: it shows a bit of the command."""
    command = task.command
    value = (command.value or "") if command else ""
    if command is not None and not command.shell:
        shown = f"[{_shortened(', '.join((value, *command.arguments)))}]" if value else ""
    else:
        shown = f"sh -c '{_shortened(value)}'"
    return f"Command Executor (Task: {task.task_id.value}) (Command: {shown})"


def _shortened(text: str) -> str:
    return text if len(text) <= 15 else text[:12] + "..."
