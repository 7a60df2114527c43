"""What the agent remembers on disk: its identity, frameworks, tasks, updates and resources."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kubedcos.embedded.agent.durable import link, read_json, write_file, write_json
from kubedcos.embedded.agent.paths import Layout, Run
from kubedcos.embedded.agent.updates import Record
from kubedcos.embedded.protocol import DrainConfig
from kubedcos.mesos.messages import AgentInfo, FrameworkInfo, Resource, TaskInfo

TASK = "task.info"
UPDATES = "updates"
JOURNAL = "journal"
FRAMEWORK = "framework.info"
SHUT_DOWN = "shut-down"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as found on disk.

    Attributes:
        silent: its framework was shut down, or does not checkpoint: nobody is to be told.
        records: of its update stream, in order.
    """

    run: Run
    task: TaskInfo
    framework: FrameworkInfo
    silent: bool
    records: list[Record] = field(default_factory=list)


class Store:
    """Reads and writes the meta directory. Every write is whole after a crash."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def identity(self) -> AgentInfo | None:
        """The AgentInfo of the current identity, as it first registered; None for a new agent."""
        if not self.layout.latest.exists():
            return None
        return read_json(self.layout.latest / "slave.info", AgentInfo)

    def save_identity(self, info: AgentInfo) -> None:
        """The master accepted the agent under `info.id`."""
        assert info.id is not None
        write_json(self.layout.info(info.id.value), info)
        link(self.layout.latest, info.id.value)

    def save_drain(self, agent_id: str, config: DrainConfig) -> None:
        """A drain goes on."""
        write_json(self.layout.drain(agent_id), config)

    def drain(self, agent_id: str) -> DrainConfig | None:
        """The drain that went on when the agent ended."""
        return read_json(self.layout.drain(agent_id), DrainConfig)

    def forget_drain(self, agent_id: str) -> None:
        """The drain is over."""
        self.layout.drain(agent_id).unlink(missing_ok=True)

    def forget_identity(self) -> None:
        """The next start is that of a new agent."""
        self.layout.latest.unlink(missing_ok=True)

    def rebooted(self, boot_id: str) -> bool:
        """Whether the machine was booted since the agent's last start; remembers `boot_id`."""
        path = self.layout.boot_id
        before = path.read_text() if path.exists() else None
        if before != boot_id:
            write_file(path, boot_id.encode(), 0o644)
        return before not in (None, boot_id)

    def resources(self) -> tuple[Resource, ...]:
        """Dynamic reservations and persistent volumes."""
        return read_json(self.layout.resources, tuple[Resource, ...]) or ()

    def save_target(self, resources: tuple[Resource, ...]) -> None:
        """What the resources are to be, before disks are changed for it."""
        write_json(self.layout.resources.with_name("target.json"), resources)

    def target(self) -> tuple[Resource, ...] | None:
        """The target that was not reached yet."""
        return read_json(self.layout.resources.with_name("target.json"), tuple[Resource, ...])

    def save_resources(self, resources: tuple[Resource, ...]) -> None:
        """Replace them, durably; any target is reached with that."""
        write_json(self.layout.resources, resources)
        self.layout.resources.with_name("target.json").unlink(missing_ok=True)

    def save_framework(self, agent_id: str, framework: FrameworkInfo) -> None:
        """Remember a framework that has tasks here."""
        assert framework.id is not None
        write_json(self.layout.framework(agent_id, framework.id.value) / FRAMEWORK, framework)

    def shut_down(self, agent_id: str, framework_id: str) -> None:
        """The framework is gone: nobody is to hear of its tasks."""
        directory = self.layout.framework(agent_id, framework_id)
        if directory.exists():
            write_file(directory / SHUT_DOWN, b"")

    def save_task(self, agent_id: str, run: Run, task: TaskInfo) -> None:
        """Remember a task before anything is done for it."""
        write_json(self.layout.run(agent_id, run) / TASK, task)

    def updates(self, agent_id: str, run: Run) -> Callable[[Record], None]:
        """A function that appends to the record of the run's update stream."""
        return appender(self.layout.run(agent_id, run) / UPDATES)

    def journal(self, agent_id: str, run: Run) -> Path:
        """Where the run's executor writes."""
        return self.layout.run(agent_id, run) / JOURNAL

    def runs(self, agent_id: str) -> Iterator[StoredRun]:
        """All runs of an identity; half-written ones (no task yet) are passed over."""
        frameworks = self.layout.identity(agent_id) / "frameworks"
        for path in sorted(frameworks.glob(f"*/executors/*/runs/*/{TASK}")):
            framework_id, executor_id, container_id = (path.parts[-i] for i in (6, 4, 2))
            directory = self.layout.framework(agent_id, framework_id)
            framework = read_json(directory / FRAMEWORK, FrameworkInfo)
            task = read_json(path, TaskInfo)
            if framework is None or task is None:
                continue
            silent = not framework.checkpoint or (directory / SHUT_DOWN).exists()
            yield StoredRun(
                Run(framework_id, executor_id, container_id),
                task,
                framework,
                silent,
                read_records(path.parent / UPDATES),
            )


def read_records(path: Path) -> list[Record]:
    """The records of an update stream: complete lines.

    A torn last one is cut off, so that what follows starts a line of its own.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.splitlines() if line.strip()]


def appender(path: Path) -> Callable[[Record], None]:
    """A function that appends records to the file of an update stream."""

    def append(record: Record) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, json.dumps(record, separators=(",", ":")).encode() + b"\n")
        finally:
            os.close(descriptor)

    return append
