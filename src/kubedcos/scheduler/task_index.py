"""Tasks by everything that is asked for often, so that no question costs a look at all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from kubedcos.model.offer import Agent, millis_of
from kubedcos.model.service import Goal
from kubedcos.scheduler.workload import AgentPlace, Launch, RunningTask
from kubedcos.state.records import PodRecord, TaskRecord

_NONE: Final[Mapping[str, TaskRecord]] = MappingProxyType({})


class TaskIndex:
    """What `World` looks up; kept up to date record by record.

    Attributes:
        alive: tasks that may be alive, by key of the record.
        unready: tasks whose components have to be asked whether they are ready, likewise.
        placed: agents by pod name and index: of tasks that may be alive, else where a pod lives.
    """

    def __init__(self, tasks: Iterable[TaskRecord], pods: Iterable[PodRecord]) -> None:
        self._by_id: dict[str, TaskRecord] = {}
        self.alive: dict[str, TaskRecord] = {}
        self.unready: dict[str, TaskRecord] = {}
        self._by_pod: dict[str, dict[str, TaskRecord]] = {}
        self._by_agent: dict[str, dict[str, TaskRecord]] = {}
        self._running: dict[str, RunningTask] = {}
        self._shown_running: tuple[RunningTask, ...] | None = None
        self._homes: dict[tuple[str, int], Agent] = {}
        self.placed: dict[tuple[str, int], Agent] = {}
        for pod in pods:
            self.note_pod(pod)
        for task in tasks:
            self.note(None, task)

    def by_id(self, task_id: str) -> TaskRecord | None:
        """The current task with this id."""
        return self._by_id.get(task_id)

    def of_pod(self, pod_instance: str) -> tuple[TaskRecord, ...]:
        """Tasks of a pod instance that may be alive."""
        return tuple(self._by_pod.get(pod_instance, _NONE).values())

    def on_agent(self, agent_id: str) -> tuple[TaskRecord, ...]:
        """Tasks on an agent that may be alive."""
        return tuple(self._by_agent.get(agent_id, _NONE).values())

    def running(self) -> tuple[RunningTask, ...]:
        """Tasks that Mesos runs, as components see each other."""
        if self._shown_running is None:
            self._shown_running = tuple(self._running.values())
        return self._shown_running

    def note(self, old: TaskRecord | None, new: TaskRecord | None) -> None:
        """A task's record takes the place of another one of the same key, appears or goes."""
        if old is not None:
            self._forget(old, kept=new)
        if new is not None:
            self._by_id[new.task_id] = new
            if new.alive:
                self.alive[new.key] = new
                self._by_pod.setdefault(new.pod_instance, {})[new.key] = new
                self._by_agent.setdefault(new.agent.id, {})[new.key] = new
                if new.state == "TASK_RUNNING":
                    self._note_running(new)
            if _is_to_be_asked(new):
                self.unready[new.key] = new
        changed = new or old
        if changed is not None:
            self._note_place(changed.pod, changed.index)

    def note_pod(self, pod: PodRecord) -> None:
        """A pod instance has a home, which counts once it is confirmed."""
        if pod.confirmed:
            self._homes[pod.pod, pod.index] = pod.agent
        else:
            self._homes.pop((pod.pod, pod.index), None)
        self._note_place(pod.pod, pod.index)

    def forget_pod(self, pod: PodRecord) -> None:
        """A pod instance has no home any more."""
        self._homes.pop((pod.pod, pod.index), None)
        self._note_place(pod.pod, pod.index)

    def _forget(self, old: TaskRecord, kept: TaskRecord | None) -> None:
        if kept is None or kept.task_id != old.task_id:
            self._by_id.pop(old.task_id, None)
        if not _is_to_be_asked(kept):
            self.unready.pop(old.key, None)
        if kept is None or not kept.alive:
            self.alive.pop(old.key, None)
            _drop(self._by_pod, old.pod_instance, old.key)
        if kept is None or not kept.alive or kept.agent.id != old.agent.id:
            _drop(self._by_agent, old.agent.id, old.key)
        ended = kept is None or not kept.alive or kept.state != "TASK_RUNNING"
        if ended and self._running.pop(old.key, None) is not None:
            self._shown_running = None

    def _note_running(self, task: TaskRecord) -> None:
        self._running[task.key] = running(task)
        self._shown_running = None

    def _note_place(self, pod: str, index: int) -> None:
        tasks = self._by_pod.get(f"{pod}-{index}")
        where = next(reversed(tasks.values())).agent if tasks else self._homes.get((pod, index))
        if where is None:
            self.placed.pop((pod, index), None)
        else:
            self.placed[pod, index] = where


def place(agent: Agent) -> AgentPlace:
    """An agent as the workload sees it."""
    return AgentPlace(
        agent_id=agent.id,
        hostname=agent.hostname,
        address=agent.address,
        region=agent.region,
        zone=agent.zone,
        attributes=dict(agent.attributes),
    )


def launch_of(task: TaskRecord) -> Launch:
    """A task's record as the workload sees it."""
    return Launch(
        task_id=task.task_id,
        pod=task.pod,
        index=task.index,
        spec=task.spec,
        place=place(task.agent),
        ports=dict(task.ports),
        volumes=dict(task.volumes),
    )


def running(task: TaskRecord) -> RunningTask:
    """A task's record as a probe sees it."""
    return RunningTask(launch_of(task), task.state, task.addresses, task.healthy)


def held(tasks: Iterable[TaskRecord]) -> dict[str, dict[str, dict[str, int]]]:
    """What tasks have of their agents: by agent id, pod and resource, in thousandths."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for task in tasks:
        there = found.setdefault(task.agent.id, {}).setdefault(task.pod, {"cpus": 0, "mem": 0})
        there["cpus"] += millis_of(task.spec.cpus)
        there["mem"] += millis_of(task.spec.mem_mb)
    return found


def _is_to_be_asked(task: TaskRecord | None) -> bool:
    if task is None or task.ready or task.kill_asked:
        return False
    if task.spec.goal is Goal.FINISHED:
        return task.state == "TASK_FINISHED"
    return task.alive and task.state == "TASK_RUNNING"


def _drop(table: dict[str, dict[str, TaskRecord]], name: str, key: str) -> None:
    found = table.get(name)
    if found is not None:
        found.pop(key, None)
        if not found:
            del table[name]
