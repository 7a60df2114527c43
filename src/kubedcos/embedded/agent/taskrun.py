"""One task on this agent: what is known of it, and how its statuses are made."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from kubedcos.embedded.agent.executor.journal import JournalReader
from kubedcos.embedded.agent.isolators.disk import MB, Exceeded, bytes_text
from kubedcos.embedded.agent.paths import Run
from kubedcos.embedded.agent.updates import UpdateStream
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    AgentID,
    ContainerID,
    ContainerStatus,
    ExecutorID,
    FrameworkInfo,
    IPAddress,
    Limitation,
    NetworkInfo,
    Resource,
    Scalar,
    Task,
    TaskInfo,
    TaskStatus,
)

if TYPE_CHECKING:
    from kubedcos.embedded.agent.group_executor import GroupExecutor


@dataclass(slots=True)
class TaskRun:
    """A task from its arrival to the acknowledgement of its end.

    Attributes:
        run: framework, executor and container.
        task: as the framework launched it.
        framework: as of now.
        stream: its updates.
        journal: the executor's record.
        agent_id: of this agent.
        address: the agent's IP address, which a container without networks of its own has.
        networks: CNI networks with the container's addresses.
        executor_pid: once the executor runs.
        launching: the launch under way.
        watching: follows the executor.
        channel: to the executor.
        silent: no updates any more: the framework is gone, or does not checkpoint.
        held: the terminal status, until the container is gone.
        memory: the executor's report when the memory limit was exceeded.
        ended: the container is gone.
        recovered: an earlier agent process launched it.
        group: the executor of task groups that the task runs under, None for a command task.
        nested_id: the task's own container in that of its group's executor.
        told: changes a status into what the framework is to hear.
    """

    run: Run
    task: TaskInfo
    framework: FrameworkInfo
    stream: UpdateStream
    journal: JournalReader
    agent_id: str
    address: str
    networks: tuple[NetworkInfo, ...] = ()
    executor_pid: int | None = None
    launching: asyncio.Task[None] | None = None
    watching: asyncio.Task[None] | None = None
    channel: asyncio.StreamWriter | None = None
    silent: bool = False
    held: TaskStatus | None = None
    memory: dict[str, Any] | None = None
    ended: bool = False
    recovered: bool = False
    group: GroupExecutor | None = None
    nested_id: str | None = None
    unsent: list[bytes] = field(default_factory=list)
    told: Callable[[TaskStatus], TaskStatus] = lambda status: status

    @property
    def key(self) -> tuple[str, str]:
        """Framework and task id."""
        return self.run.framework_id, self.task.task_id.value

    @property
    def state(self) -> str:
        """The newest state, which may not have been sent yet."""
        if self.held is not None:
            return self.held.state
        return self.stream.statuses[-1].state if self.stream.statuses else "TASK_STAGING"

    @property
    def done(self) -> bool:
        """The container is gone and nobody waits for a status any more."""
        return self.ended and (self.silent or self.stream.acknowledged_terminal)

    def send(self, message: dict[str, Any]) -> None:
        """Tell the executor something, now or as soon as it is connected."""
        line = json.dumps(message).encode() + b"\n"
        if self.channel is None:
            self.unsent.append(line)
        else:
            self.channel.write(line)

    def container_status(self, state: str = "TASK_RUNNING") -> ContainerStatus:
        """What the agent adds to the executor's statuses.

        A nested container is there between its start and its end only, which is what Mesos shows.
        """
        container_id = ContainerID(self.run.container_id)
        if self.nested_id is not None:
            container_id = ContainerID(self.nested_id, container_id)
            if state == "TASK_STARTING" or state in TERMINAL_STATES:
                return ContainerStatus(container_id)
        own = (NetworkInfo(ip_addresses=(IPAddress("IPv4", self.address),)),)
        return ContainerStatus(container_id, self.networks or own, self.executor_pid)

    @property
    def container_ip(self) -> str:
        """The first address of the container."""
        addresses = (address for network in self.networks for address in network.ip_addresses)
        return next((a.ip_address for a in addresses if a.ip_address), self.address)

    def from_executor(self, status: dict[str, Any]) -> TaskStatus:
        """A journal's status, completed."""
        return msgspec.structs.replace(
            msgspec.convert(status, TaskStatus),
            agent_id=AgentID(self.agent_id),
            executor_id=ExecutorID(self.run.executor_id),
            container_status=self.container_status(status["state"]),
        )

    def from_agent(
        self,
        now: float,
        state: str,
        reason: str,
        message: str,
        limitation: Limitation | None = None,
    ) -> TaskStatus:
        """A status that the agent itself has to tell."""
        nameless = state == "TASK_DROPPED" and reason != "REASON_AGENT_RESTARTED"
        executor = None if nameless else ExecutorID(self.run.executor_id)
        return TaskStatus(
            task_id=self.task.task_id,
            state=state,
            message=message,
            source="SOURCE_AGENT",
            reason=reason,
            agent_id=AgentID(self.agent_id),
            executor_id=executor,
            timestamp=now,
            uuid=base64.b64encode(uuid.uuid4().bytes).decode(),
            limitation=limitation,
        )

    def memory_exceeded(self, now: float, report: dict[str, Any]) -> TaskStatus:
        """The kernel found the container's memory limit exceeded."""
        limit, peak = int(report.get("limit") or 0), int(report.get("peak") or 0)
        if report.get("version") == 2:
            # Mesos tells the limit under cgroup v2, as not every kernel knows the peak.
            parts = "".join(f"{name}: {bytes_text(n)}\n" for name, n in report["parts"].items())
            message, amount = (
                f"Memory limit exceeded: \nMEMORY STATISTICS post-OOM: \n{parts}",
                limit,
            )
        else:
            message, amount = (
                (
                    f"Memory limit exceeded: Requested: {bytes_text(limit)} "
                    f"Maximum Used: {bytes_text(peak)}\n\n"
                    f"MEMORY STATISTICS: \n{report.get('statistics') or ''}\n"
                ),
                peak,
            )
        resource = Resource(name="mem", type="SCALAR", scalar=Scalar(amount / MB))
        reason = "REASON_CONTAINER_LIMITATION_MEMORY"
        return self.from_agent(now, "TASK_FAILED", reason, message, Limitation((resource,)))

    def disk_exceeded(self, now: float, exceeded: Exceeded) -> TaskStatus:
        """The container uses more disk than its quota."""
        limitation = Limitation(exceeded.resources)
        reason = "REASON_CONTAINER_LIMITATION_DISK"
        return self.from_agent(now, "TASK_FAILED", reason, exceeded.message, limitation)

    def read_journal(self) -> None:
        """Take in what the executor wrote; a terminal status is held back until the end."""
        for record in self.journal.read():
            if "start" in record:
                self.executor_pid = int(record["start"]["pid"])
            elif "memory" in record:
                self.memory = record["memory"]
            elif "status" in record:
                status = self.from_executor(record["status"])
                if status.state in TERMINAL_STATES:
                    self.held = self.held or status
                elif not self.silent:
                    self.stream.add(self.told(status))

    def newest_by_state(self) -> tuple[TaskStatus, ...]:
        """Its statuses as Mesos keeps them: of several in a row with the same state the newest."""
        kept: list[TaskStatus] = []
        for status in self.stream.statuses:
            if kept and kept[-1].state == status.state:
                kept.pop()
            kept.append(status)
        return tuple(kept)

    def view(self) -> Task:
        """The task as the master and the views list it."""
        forwarded = self.stream.forwarded
        newest = self.held or (self.stream.statuses[-1] if self.stream.statuses else None)
        task = self.task
        return Task(
            name=task.name,
            task_id=task.task_id,
            framework_id=self.framework.id or _missing(),
            agent_id=AgentID(self.agent_id),
            state=self.state,
            resources=task.resources,
            statuses=(newest,) if newest else (),
            status_update_state=forwarded.state if forwarded else None,
            status_update_uuid=forwarded.uuid if forwarded else None,
            labels=task.labels,
            discovery=task.discovery,
            container=task.container,
            health_check=task.health_check,
            kill_policy=task.kill_policy,
            limits=task.limits,
            executor_id=ExecutorID(self.run.executor_id) if self.group is not None else None,
        )


def _missing() -> Any:
    raise ValueError("a framework without id has no tasks")
