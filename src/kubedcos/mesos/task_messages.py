"""Wire types of tasks: what is launched, and what is heard of it afterwards."""

from __future__ import annotations

from typing import Annotated, Final

from kubedcos.mesos.base_messages import (
    AgentID,
    Bytes,
    ContainerID,
    DurationInfo,
    Empty,
    ExecutorID,
    FrameworkID,
    Labels,
    Message,
    Resource,
    Scalar,
    TaskID,
    TimeInfo,
    enum_of,
)
from kubedcos.mesos.container_messages import ContainerInfo, NetworkInfo

LIVE_STATES: Final = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"})
TERMINAL_STATES: Final = frozenset(
    {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_DROPPED", "TASK_GONE"}
    | {"TASK_LOST", "TASK_GONE_BY_OPERATOR"}
)
"""States after which a task does not run; TASK_LOST may still be revoked by a returning agent."""

TaskState = Annotated[
    str, enum_of(*LIVE_STATES, *TERMINAL_STATES, "TASK_UNREACHABLE", "TASK_UNKNOWN")
]


class Uri(Message, frozen=True):
    """A file for the fetcher. `extract` unpacks archives by suffix."""

    value: str
    executable: bool | None = None
    extract: bool = True
    cache: bool | None = None
    output_file: str | None = None


class Variable(Message, frozen=True):
    """An environment variable; only the type VALUE is supported by the embedded agent."""

    name: str
    type: Annotated[str, enum_of("UNKNOWN", "VALUE", "SECRET")] = "VALUE"
    value: str | None = None
    secret: Empty | None = None


class Environment(Message, frozen=True):
    """Environment variables of a command."""

    variables: tuple[Variable, ...] = ()


class CommandInfo(Message, frozen=True):
    """A command: shell text by default, or program and complete argv with ``shell=False``."""

    uris: tuple[Uri, ...] = ()
    environment: Environment | None = None
    shell: bool = True
    value: str | None = None
    arguments: tuple[str, ...] = ()
    user: str | None = None


class HTTPCheck(Message, frozen=True):
    """An HTTP request to 127.0.0.1; 200 to 399 is well."""

    port: int
    protocol: str | None = None
    scheme: str | None = None
    path: str | None = None
    statuses: tuple[int, ...] = ()


class TCPCheck(Message, frozen=True):
    """A TCP connection to 127.0.0.1."""

    port: int
    protocol: str | None = None


CheckType = Annotated[str, enum_of("UNKNOWN", "COMMAND", "HTTP", "TCP")]


class HealthCheck(Message, frozen=True):
    """A check that kills the task after `consecutive_failures`; times in seconds."""

    delay_seconds: float = 15.0
    interval_seconds: float = 10.0
    timeout_seconds: float = 20.0
    consecutive_failures: int = 3
    grace_period_seconds: float = 10.0
    type: CheckType | None = None
    command: CommandInfo | None = None
    http: HTTPCheck | None = None
    tcp: TCPCheck | None = None


class CheckCommand(Message, frozen=True):
    """The command of a check."""

    command: CommandInfo


class CheckInfo(Message, frozen=True):
    """A check that only reports; times in seconds."""

    type: CheckType | None = None
    command: CheckCommand | None = None
    http: HTTPCheck | None = None
    tcp: TCPCheck | None = None
    delay_seconds: float = 15.0
    interval_seconds: float = 10.0
    timeout_seconds: float = 20.0


class KillPolicy(Message, frozen=True):
    """How long a task may take between TERM and KILL."""

    grace_period: DurationInfo | None = None


Visibility = Annotated[str, enum_of("FRAMEWORK", "CLUSTER", "EXTERNAL")]


class Port(Message, frozen=True):
    """A port under which a task can be found."""

    number: int
    name: str | None = None
    protocol: str | None = None
    visibility: Visibility | None = None
    labels: Labels | None = None


class Ports(Message, frozen=True):
    """Ports of a task."""

    ports: tuple[Port, ...] = ()


class DiscoveryInfo(Message, frozen=True):
    """How a task is to be found; read by Mesos-DNS."""

    visibility: Visibility
    name: str | None = None
    environment: str | None = None
    location: str | None = None
    version: str | None = None
    ports: Ports | None = None
    labels: Labels | None = None


class ExecutorInfo(Message, frozen=True):
    """An executor; `type` DEFAULT is Mesos' own for task groups."""

    executor_id: ExecutorID
    type: Annotated[str, enum_of("UNKNOWN", "DEFAULT", "CUSTOM")] | None = None
    framework_id: FrameworkID | None = None
    command: CommandInfo | None = None
    container: ContainerInfo | None = None
    resources: tuple[Resource, ...] = ()
    name: str | None = None
    source: str | None = None
    data: Bytes | None = None
    discovery: DiscoveryInfo | None = None
    shutdown_grace_period: DurationInfo | None = None
    labels: Labels | None = None


class TaskInfo(Message, frozen=True):
    """A task to launch: exactly one of `command` and `executor`."""

    name: str
    task_id: TaskID
    agent_id: AgentID
    resources: tuple[Resource, ...] = ()
    executor: ExecutorInfo | None = None
    command: CommandInfo | None = None
    container: ContainerInfo | None = None
    health_check: HealthCheck | None = None
    check: CheckInfo | None = None
    kill_policy: KillPolicy | None = None
    data: Bytes | None = None
    labels: Labels | None = None
    discovery: DiscoveryInfo | None = None
    max_completion_time: DurationInfo | None = None
    limits: dict[str, Scalar] | None = None


class TaskGroup(Message, frozen=True):
    """Tasks that start together under the default executor."""

    tasks: tuple[TaskInfo, ...] = ()


class ContainerStatus(Message, frozen=True):
    """What the agent knows of a task's container."""

    container_id: ContainerID | None = None
    network_infos: tuple[NetworkInfo, ...] = ()
    executor_pid: int | None = None


class CheckStatusCommand(Message, frozen=True):
    """Exit code of a command check."""

    exit_code: int | None = None


class CheckStatusHTTP(Message, frozen=True):
    """Status code of an HTTP check."""

    status_code: int | None = None


class CheckStatusTCP(Message, frozen=True):
    """Whether the connection of a TCP check came about."""

    succeeded: bool | None = None


class CheckStatus(Message, frozen=True):
    """The last result of a check; its part is empty before the first."""

    type: CheckType | None = None
    command: CheckStatusCommand | None = None
    http: CheckStatusHTTP | None = None
    tcp: CheckStatusTCP | None = None


class Limitation(Message, frozen=True):
    """The resources that a task exceeded."""

    resources: tuple[Resource, ...] = ()


class TaskStatus(Message, frozen=True):
    """What became of a task. Acknowledge exactly those that carry a `uuid`."""

    task_id: TaskID
    state: TaskState
    message: str | None = None
    source: Annotated[str, enum_of("SOURCE_MASTER", "SOURCE_AGENT", "SOURCE_EXECUTOR")] | None = (
        None
    )
    reason: str | None = None
    data: Bytes | None = None
    agent_id: AgentID | None = None
    executor_id: ExecutorID | None = None
    timestamp: float | None = None
    uuid: Bytes | None = None
    healthy: bool | None = None
    check_status: CheckStatus | None = None
    labels: Labels | None = None
    container_status: ContainerStatus | None = None
    unreachable_time: TimeInfo | None = None
    limitation: Limitation | None = None


class Task(Message, frozen=True):
    """A task as the master lists it."""

    name: str
    task_id: TaskID
    framework_id: FrameworkID
    agent_id: AgentID
    state: TaskState
    executor_id: ExecutorID | None = None
    resources: tuple[Resource, ...] = ()
    statuses: tuple[TaskStatus, ...] = ()
    status_update_state: TaskState | None = None
    status_update_uuid: Bytes | None = None
    labels: Labels | None = None
    discovery: DiscoveryInfo | None = None
    container: ContainerInfo | None = None
    health_check: HealthCheck | None = None
    kill_policy: KillPolicy | None = None
    user: str | None = None
    limits: dict[str, Scalar] | None = None
