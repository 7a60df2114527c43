"""What the agent remembers of executors of task groups.

Below the run's meta directory: ``executor.info``, ``groups/N.json`` for each group that was taken
on (whole or not at all), and ``tasks/<task id>/updates``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kubedcos.embedded.agent.durable import read_json, write_file, write_json
from kubedcos.embedded.agent.paths import Run
from kubedcos.embedded.agent.store import FRAMEWORK, SHUT_DOWN, Store, appender, read_records
from kubedcos.embedded.agent.updates import Record
from kubedcos.mesos.messages import ExecutorInfo, FrameworkInfo, TaskInfo

EXECUTOR = "executor.info"
ENDED = "ended"


class StoredGroup(msgspec.Struct, frozen=True):
    """A group as it was taken on.

    Attributes:
        tasks: with their `executor` left out.
        containers: the nested container of each task, by task id.
    """

    tasks: tuple[TaskInfo, ...]
    containers: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoredExecutor:
    """An executor as found on disk.

    Attributes:
        silent: as for `store.StoredRun`.
        ended: its container is gone.
    """

    run: Run
    info: ExecutorInfo
    framework: FrameworkInfo
    silent: bool
    ended: bool
    groups: tuple[StoredGroup, ...]


def _directory(store: Store, agent_id: str, run: Run) -> Path:
    return store.layout.run(agent_id, run)


def save_executor(store: Store, agent_id: str, run: Run, info: ExecutorInfo) -> None:
    """Remember an executor before anything is done for it."""
    write_json(_directory(store, agent_id, run) / EXECUTOR, info)


def save_group(store: Store, agent_id: str, run: Run, number: int, group: StoredGroup) -> None:
    """Remember a group before anything is done for it."""
    for task in group.tasks:
        _updates(store, agent_id, run, task.task_id.value).parent.mkdir(parents=True, exist_ok=True)
    write_json(_directory(store, agent_id, run) / "groups" / f"{number}.json", group)


def save_end(store: Store, agent_id: str, run: Run) -> None:
    """Remember that the container is gone."""
    write_file(_directory(store, agent_id, run) / ENDED, b"")


def _updates(store: Store, agent_id: str, run: Run, task_id: str) -> Path:
    return _directory(store, agent_id, run) / "tasks" / task_id / "updates"


def updates(store: Store, agent_id: str, run: Run, task_id: str) -> Callable[[Record], None]:
    """A function that appends to the record of a task's update stream."""
    return appender(_updates(store, agent_id, run, task_id))


def records(store: Store, agent_id: str, run: Run, task_id: str) -> list[Record]:
    """What is in the record of a task's update stream."""
    return read_records(_updates(store, agent_id, run, task_id))


def executors(store: Store, agent_id: str) -> Iterator[StoredExecutor]:
    """All executors of task groups of an identity."""
    frameworks = store.layout.identity(agent_id) / "frameworks"
    for path in sorted(frameworks.glob(f"*/executors/*/runs/*/{EXECUTOR}")):
        framework_id, executor_id, container_id = (path.parts[-i] for i in (6, 4, 2))
        directory = store.layout.framework(agent_id, framework_id)
        framework = read_json(directory / FRAMEWORK, FrameworkInfo)
        info = read_json(path, ExecutorInfo)
        if framework is None or info is None:
            continue
        files = sorted(path.parent.glob("groups/*.json"), key=lambda file: int(file.stem))
        groups = [read_json(file, StoredGroup) for file in files]
        yield StoredExecutor(
            Run(framework_id, executor_id, container_id),
            info,
            framework,
            not framework.checkpoint or (directory / SHUT_DOWN).exists(),
            (path.parent / ENDED).exists(),
            tuple(group for group in groups if group is not None),
        )
