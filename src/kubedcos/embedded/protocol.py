"""What the embedded master and the embedded agent say to each other. Private: Mesos has its own.

HTTP, JSON, ``POST`` both ways, plus one long ``GET``:

===============================  ==================================================================
agent → master `MASTER_PATH`     an `AgentCall`; answered by an `AgentReply` (200) or an error
agent → master `LINK_PATH`       ``GET``, right after (re-)registration; a response without end.
                                 Its break tells either side at once that the other is gone
master → agent `AGENT_PATH`      a `MasterCall`; answered 202 with an empty body or an error
===============================  ==================================================================

**Session.** Each REGISTER and REREGISTER starts a session: a random token that the master puts
into its reply. From then on both sides send it in the header `SESSION_HEADER`; whoever receives
another token answers 409 and does nothing. Credentials (HTTP Basic) go with every `AgentCall` and
with the link when the agent has them; the master demands them under ``--authenticate_agents``.

**Order.** Each side sends its calls one after the other and awaits each answer, so that
CHECKPOINT_RESOURCES is in force before the RUN_TASKS that follows it. What the master could not
deliver is not repeated: the link breaks or a ping fails, the agent re-registers and both compare.

Answers to the agent:

====  =============================================================================
200   done; body is an `AgentReply`
307   not the leader; ``Location`` is protocol-relative: ``//host:port/…``
400   the call cannot be understood; text says why
401   credentials missing or wrong: the agent ends with status 1, its executors go on
403   registration refused; text says why: the agent logs it and tries again later
409   unknown session: the agent re-registers
410   the agent was marked gone, or its machine is in maintenance (text says which): it must kill
      its tasks and end with status 0
503   no leader yet, or the leader is recovering: try again
====  =============================================================================
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from kubedcos.embedded.protojson import encode_json
from kubedcos.mesos.messages import (
    AgentID,
    AgentInfo,
    Capability,
    DurationInfo,
    ExecutorID,
    ExecutorInfo,
    FrameworkID,
    FrameworkInfo,
    KillPolicy,
    Message,
    Resource,
    Task,
    TaskID,
    TaskInfo,
    TaskStatus,
)

MASTER_PATH: Final = "/kubedcos/agent-call"
LINK_PATH: Final = "/kubedcos/agent-link"
AGENT_PATH: Final = "/kubedcos/master-call"
SESSION_HEADER: Final = "Kubedcos-Session"
LINK_INTERVAL: Final = 5.0
"""Seconds between the line feeds that the master writes into the link to keep it alive."""

AGENT_CAPABILITIES: Final = (
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "RESIZE_VOLUME",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
)
"""Capabilities of the embedded agent."""

MESOS_VERSION: Final = "1.12.0"
"""The version of Mesos that the embedded engine was measured against and announces."""


class KnownExecutor(Message, frozen=True):
    """An executor of task groups that runs, and whose."""

    framework_id: FrameworkID
    executor: ExecutorInfo


class Part(Message, frozen=True):
    """Base of the parts of calls."""


class Register(Part, frozen=True):
    """REGISTER: an agent without id; it listens on `agent_info.port`.

    Attributes:
        agent_info: `resources` as configured, without anything dynamic.
        address: IP address at which the master reaches the agent; may differ from `hostname`.
        version: version of the agent.
        checkpointed_resources: dynamic reservations and volumes found in the work directory.
        capabilities: what the agent can do.
    """

    agent_info: AgentInfo
    address: str
    version: str
    checkpointed_resources: tuple[Resource, ...] = ()
    capabilities: tuple[Capability, ...] = ()


class Reregister(Part, frozen=True):
    """REREGISTER: an agent with id, after its restart or after it lost the master.

    Attributes:
        agent_info: with `id`.
        address: as for REGISTER.
        version: as for REGISTER.
        tasks: all tasks that the agent knows and whose end was not acknowledged. `state` is the
            newest, `status_update_state` and `status_update_uuid` are of the update that was sent
            last (or is to be sent next, if none was), `statuses` holds the newest status.
        frameworks: the frameworks of these tasks, so that a new master knows them.
        checkpointed_resources: all dynamic reservations and persistent volumes.
        executors: those of task groups that are still there.
        capabilities: as for REGISTER.
    """

    agent_info: AgentInfo
    address: str
    version: str
    tasks: tuple[Task, ...] = ()
    executors: tuple[KnownExecutor, ...] = ()
    frameworks: tuple[FrameworkInfo, ...] = ()
    checkpointed_resources: tuple[Resource, ...] = ()
    capabilities: tuple[Capability, ...] = ()


class StatusUpdate(Part, frozen=True):
    """STATUS_UPDATE: news of a task, with `uuid`; repeated until ACKNOWLEDGE (10 s, doubling).

    `latest_state` is the newest state that the agent knows, which may be ahead of the update.
    The next update of the task waits for the acknowledgement of this one.
    """

    framework_id: FrameworkID
    status: TaskStatus
    latest_state: str


class ExitedExecutor(Part, frozen=True):
    """EXITED_EXECUTOR: an executor of task groups is gone; `status` as from wait(2).

    Sent once. A master that misses it hears at the next REREGISTER that the executor is no more.
    """

    framework_id: FrameworkID
    executor_id: ExecutorID
    status: int


class AgentCall(Part, frozen=True):
    """A call of an agent; the part named like the type is set, UNREGISTER has none."""

    type: Literal["REGISTER", "REREGISTER", "STATUS_UPDATE", "EXITED_EXECUTOR", "UNREGISTER"]
    agent_id: AgentID | None = None
    register: Register | None = None
    reregister: Reregister | None = None
    status_update: StatusUpdate | None = None
    exited_executor: ExitedExecutor | None = None


class UnknownTasks(Part, frozen=True):
    """Tasks that the master holds for alive and the agent did not list.

    For each one that it really does not know the agent makes an update: TASK_DROPPED (TASK_LOST
    for frameworks without PARTITION_AWARE), SOURCE_AGENT, REASON_RECONCILIATION, message
    ``Reconciliation: task unknown to the agent``.
    """

    framework: FrameworkInfo
    task_ids: tuple[TaskID, ...]


class AgentReply(Part, frozen=True):
    """Answer to an `AgentCall`; the fields are set for REGISTER and REREGISTER only.

    Attributes:
        agent_id: the agent's id, new for REGISTER.
        session: token of the session that begins.
        ping_timeout_seconds: time between two pings of the master.
        max_ping_timeouts: after this many without a ping the agent looks for the master anew.
        unknown_tasks: see `UnknownTasks`.
    """

    agent_id: AgentID | None = None
    session: str = ""
    ping_timeout_seconds: float = 15.0
    max_ping_timeouts: int = 5
    unknown_tasks: tuple[UnknownTasks, ...] = ()


class RunTasks(Part, frozen=True):
    """RUN_TASKS: command tasks to start, each on its own, in order."""

    framework: FrameworkInfo
    tasks: tuple[TaskInfo, ...]


class RunTaskGroup(Part, frozen=True):
    """RUN_TASK_GROUP: tasks to start together under the default executor.

    Each task carries `executor` too, as Mesos has it. `launch_executor` says whether the master
    holds the executor for new: if the agent sees that otherwise, it drops the tasks.
    """

    framework: FrameworkInfo
    executor: ExecutorInfo
    launch_executor: bool
    tasks: tuple[TaskInfo, ...] = ()


class ShutdownExecutor(Part, frozen=True):
    """SHUTDOWN_EXECUTOR: end an executor of task groups; an unknown one is ignored."""

    framework_id: FrameworkID
    executor_id: ExecutorID


class KillTask(Part, frozen=True):
    """KILL_TASK: an unknown or ended task is ignored.

    A task that did not start yet ends as TASK_KILLED, SOURCE_AGENT,
    REASON_TASK_KILLED_DURING_LAUNCH; with it all others of its group.
    """

    framework_id: FrameworkID
    task_id: TaskID
    kill_policy: KillPolicy | None = None


class Acknowledge(Part, frozen=True):
    """ACKNOWLEDGE: the framework took the update with this uuid (base64)."""

    framework_id: FrameworkID
    task_id: TaskID
    uuid: str


class CheckpointResources(Part, frozen=True):
    """CHECKPOINT_RESOURCES: all dynamic reservations and persistent volumes from now on.

    The agent stores them durably before it answers, makes the directories of new volumes and
    removes those of volumes that are no longer listed, with their data.
    """

    resources: tuple[Resource, ...] = ()


class UpdateFramework(Part, frozen=True):
    """UPDATE_FRAMEWORK: the framework (re-)subscribed or changed.

    The agent stores the new information and sends unacknowledged updates again at once.
    """

    framework: FrameworkInfo


class ShutdownFramework(Part, frozen=True):
    """SHUTDOWN_FRAMEWORK: kill all its tasks, forget it, send no updates; volumes stay."""

    framework_id: FrameworkID


class Ping(Part, frozen=True):
    """PING: an agent that the master holds for disconnected re-registers."""

    connected: bool


class DrainConfig(Part, frozen=True):
    """How an agent is drained; in Mesos' own form, as views show it.

    Attributes:
        max_grace_period: the longest time between TERM and KILL, whatever a task's policy says.
        mark_gone: the agent will be marked gone when it is drained.
    """

    max_grace_period: DurationInfo | None = None
    mark_gone: bool = False


class Drain(Part, frozen=True):
    """DRAIN: kill all tasks and take no new ones until they are gone and acknowledged.

    Sent after each (re-)registration of an agent that drains or is drained. The kills and ends of
    tasks carry REASON_AGENT_DRAINING; with `mark_gone` they are told as TASK_GONE_BY_OPERATOR to
    frameworks that are PARTITION_AWARE. A later one replaces the configuration.
    """

    config: DrainConfig


class Shutdown(Part, frozen=True):
    """SHUTDOWN: marked gone, or maintenance begins. Kill all tasks and end with status 1."""

    message: str


class MasterCall(Part, frozen=True):
    """A call of the master; the part named like the type is set."""

    type: Literal[
        "PING",
        "RUN_TASKS",
        "RUN_TASK_GROUP",
        "KILL_TASK",
        "SHUTDOWN_EXECUTOR",
        "ACKNOWLEDGE",
        "CHECKPOINT_RESOURCES",
        "UPDATE_FRAMEWORK",
        "SHUTDOWN_FRAMEWORK",
        "DRAIN",
        "SHUTDOWN",
    ]
    ping: Ping | None = None
    run_tasks: RunTasks | None = None
    run_task_group: RunTaskGroup | None = None
    kill_task: KillTask | None = None
    shutdown_executor: ShutdownExecutor | None = None
    acknowledge: Acknowledge | None = None
    checkpoint_resources: CheckpointResources | None = None
    update_framework: UpdateFramework | None = None
    shutdown_framework: ShutdownFramework | None = None
    drain: Drain | None = None
    shutdown: Shutdown | None = None


def encode(message: AgentCall | AgentReply | MasterCall) -> bytes:
    """JSON of a message; numbers without bound travel as text, as in Mesos' JSON."""
    return encode_json(message)


def decode_agent_call(body: bytes) -> AgentCall:
    """An agent's call.

    Raises:
        msgspec.DecodeError: no such call.
    """
    return msgspec.json.decode(body, type=AgentCall, strict=False)


def decode_agent_reply(body: bytes) -> AgentReply:
    """The master's answer; raises as `decode_agent_call`."""
    return msgspec.json.decode(body, type=AgentReply, strict=False)


def decode_master_call(body: bytes) -> MasterCall:
    """A master's call; raises as `decode_agent_call`."""
    return msgspec.json.decode(body, type=MasterCall, strict=False)
