"""An executor of task groups: what its tasks share, and how its records are made."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from kubedcos.embedded.agent import group_store
from kubedcos.embedded.agent.executor.journal import JournalReader
from kubedcos.embedded.agent.isolators.disk import Exceeded
from kubedcos.embedded.agent.paths import Run
from kubedcos.embedded.agent.taskrun import TaskRun
from kubedcos.embedded.agent.updates import UpdateStream
from kubedcos.mesos.messages import ExecutorInfo, FrameworkInfo, NetworkInfo, TaskInfo

if TYPE_CHECKING:
    from kubedcos.embedded.agent.agent import Agent

KILLED = 9
"""Wait status of an executor that did not end by itself."""

Key = tuple[str, str]


@dataclass(slots=True, eq=False)
class GroupExecutor:
    """An executor of task groups from its first group to the last acknowledgement.

    Attributes:
        run: framework, executor and container.
        members: tasks whose end is not acknowledged yet, by id.
        settled: tasks that are over for everybody.
        launching: group launches under way, by the ids of their tasks.
        delivered: ids of tasks that the executor has taken on.
        disk: the quota that the container exceeded.
        networks: CNI networks that the tasks share, with addresses.
        exit_status: as from wait(2).
        ended: the container is gone.
        recovered: an earlier agent process started it, and it has not said yet what it knows.
    """

    run: Run
    agent_id: str
    info: ExecutorInfo
    framework: FrameworkInfo
    journal: JournalReader
    members: dict[str, TaskRun] = field(default_factory=dict)
    settled: list[TaskRun] = field(default_factory=list)
    launching: dict[tuple[str, ...], asyncio.Task[None]] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    groups: int = 0
    networks: tuple[NetworkInfo, ...] = ()
    executor_pid: int | None = None
    watching: asyncio.Task[None] | None = None
    channel: asyncio.StreamWriter | None = None
    memory: dict[str, Any] | None = None
    disk: Exceeded | None = None
    last_uuid: str | None = None
    exit_status: int = KILLED
    started: bool = False
    ended: bool = False
    silent: bool = False
    recovered: bool = False
    unsent: list[bytes] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Framework and executor id."""
        return self.run.framework_id, self.run.executor_id

    def alive(self) -> list[TaskRun]:
        """Tasks that have not ended."""
        return [member for member in self.members.values() if not member.ended]

    def send(self, message: dict[str, Any]) -> None:
        """Tell the executor something, now or as soon as it is connected."""
        line = json.dumps(message).encode() + b"\n"
        if self.channel is None:
            self.unsent.append(line)
        else:
            self.channel.write(line)


def executor_of(
    agent: Agent, run: Run, info: ExecutorInfo, framework: FrameworkInfo
) -> GroupExecutor:
    """An executor of which nothing is known but what it is."""
    journal = JournalReader(agent.store.journal(agent.agent_id, run))
    return GroupExecutor(run, agent.agent_id, info, framework, journal)


def add_member(
    agent: Agent, executor: GroupExecutor, task: TaskInfo, containers: dict[str, str]
) -> TaskRun:
    """Make a task one of the executor's; `containers` has the container id of each task."""
    task_id = task.task_id.value
    append = group_store.updates(agent.store, agent.agent_id, executor.run, task_id)
    member = TaskRun(
        run=executor.run,
        task=task,
        framework=executor.framework,
        stream=UpdateStream(append),
        journal=executor.journal,
        agent_id=agent.agent_id,
        address=agent.settings.advertise_ip,
        group=executor,
        nested_id=containers[task_id],
        networks=executor.networks,
    )
    member.told = agent.draining.tell_of(member)
    executor.members[task_id] = member
    return member


def without_executor(task: TaskInfo) -> TaskInfo:
    """The task as the framework gave it, before the master put the executor into it."""
    return replace(task, executor=None)
