"""What a decision changed in the state, for those who tell and count it."""

from __future__ import annotations

from dataclasses import dataclass

from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState
from kubedcos.embedded.master.tables import TaskKey
from kubedcos.mesos.messages import Task, TaskStatus


@dataclass(frozen=True, slots=True)
class TaskChange:
    """A task that came or changed; `now` wherever it is: alive, unreachable or completed."""

    before: Task | None
    now: Task
    framework: FrameworkRecord

    @property
    def news(self) -> TaskStatus | None:
        """The status that was recorded for it, if one was."""
        before = self.before.statuses[-1] if self.before and self.before.statuses else None
        now = self.now.statuses[-1] if self.now.statuses else None
        return None if now is before else now


@dataclass(frozen=True, slots=True)
class AgentChange:
    """An agent that came, went, or registered anew."""

    id: str
    before: AgentRecord | None
    now: AgentRecord | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that happened to agents and tasks in one decision."""

    agents: tuple[AgentChange, ...] = ()
    tasks: tuple[TaskChange, ...] = ()


def take_changes(state: MasterState) -> Changes:
    """What changed since the last call."""
    agents, tasks = state.agents.take_changes(), state.tasks.take_changes()
    if not agents and not tasks:
        return Changes()
    return Changes(
        tuple(
            AgentChange(agent_id, before, state.agents.get(agent_id))
            for agent_id, before in agents.items()
        ),
        tuple(
            change
            for key, before in tasks.items()
            if (change := _task_change(state, key, before)) is not None
        ),
    )


def _task_change(state: MasterState, key: TaskKey, before: Task | None) -> TaskChange | None:
    framework = state.frameworks.get(key[0]) or state.completed.get(key[0])
    if framework is None:
        return None
    task = state.tasks.get(key) or framework.unreachable_tasks.get(key[1])
    if task is None:
        completed = reversed(framework.completed_tasks)
        task = next((ended for ended in completed if ended.task_id.value == key[1]), None)
    return None if task is None else TaskChange(before, task, framework)
