"""Counters behind the metrics, derived from what decisions changed and what was sent."""

from __future__ import annotations

from collections.abc import Iterable

from kubedcos.embedded.master.changes import AgentChange, Changes
from kubedcos.embedded.master.effects import Effect, ToFramework, ToStream
from kubedcos.embedded.master.state import FrameworkRecord, MasterState
from kubedcos.mesos.messages import TERMINAL_STATES, Call, Event, Operation, TaskStatus

_MADE_UP = frozenset({"REASON_RECONCILIATION", "REASON_AGENT_REREGISTERED"})
"""Reasons of statuses that only tell again what is known."""


def count(state: MasterState, changes: Changes, effects: Iterable[Effect]) -> None:
    """Count what a decision did to agents and tasks, and what it tells frameworks."""
    added = [change.now for change in changes.agents if change.now and not change.before]
    addresses = {(agent.address, agent.info.port) for agent in added}
    for change in changes.agents:
        _count_agent(state, change, addresses)
    for task in changes.tasks:
        status = task.news
        ended = task.now.state in TERMINAL_STATES
        lived = task.before is None or task.before.state not in TERMINAL_STATES
        if ended and lived and status is not None:
            _count_end(state, task.now.state, status)
            task.framework.count(f"tasks/terminal/{task.now.state.lower()}")
    known = {(task.framework.id, task.now.task_id.value) for task in changes.tasks}
    for effect in effects:
        framework = _receiver(state, effect)
        if framework is None or not isinstance(effect, ToFramework | ToStream):
            continue
        _count_event(framework, effect.event)
        if effect.event.update is not None:
            status = effect.event.update.status
            key = (framework.id, status.task_id.value)
            refused = status.source == "SOURCE_MASTER" and status.reason not in _MADE_UP
            if refused and key not in known and key not in state.tasks:
                # Of a task that never was, the framework's own metrics do not tell.
                _count_end(state, status.state, status)


def _receiver(state: MasterState, effect: Effect) -> FrameworkRecord | None:
    if isinstance(effect, ToFramework):
        return state.frameworks.get(effect.framework_id)
    if isinstance(effect, ToStream):
        every = state.frameworks.values()
        return next((each for each in every if each.stream_id == effect.stream_id), None)
    return None


def _count_agent(state: MasterState, change: AgentChange, addresses: set[tuple[str, int]]) -> None:
    now, before = change.now, change.before
    if now is not None:
        again = now.reregistered_time is not None
        state.count("slave_reregistrations" if again else "slave_registrations")
    elif before is not None:
        state.count("slave_removals")
        if change.id in state.unreachable:
            state.count("slave_removals/reason_unhealthy")
            state.count("slave_unreachable_scheduled")
            state.count("slave_unreachable_completed")
        elif change.id not in state.gone:
            replaced = (before.address, before.info.port) in addresses
            state.count(f"slave_removals/reason_{'registered' if replaced else 'unregistered'}")


def _count_end(state: MasterState, task_state: str, status: TaskStatus) -> None:
    name = task_state.lower()
    state.count(name.replace("task_", "tasks_", 1))
    if status.reason is not None and status.source is not None:
        state.count(f"{name}/{status.source.lower()}/{status.reason.lower()}")


def count_call(state: MasterState, framework: FrameworkRecord, call: Call) -> None:
    """Count a framework's call, before anything is done about it."""
    kind = (call.type or "").lower()
    framework.count("calls")
    framework.count(f"calls/{kind}")
    if call.accept is not None and call.type == "ACCEPT":
        for operation in call.accept.operations:
            if operation.type == "LAUNCH" and operation.launch is not None:
                wanted = "launch_tasks" if operation.launch.task_infos else "decline_offers"
                state.count(f"messages_{wanted}")


def count_operation(framework: FrameworkRecord, operation: Operation) -> None:
    """Count an operation that is carried out: a LAUNCH once for each of its tasks."""
    framework.count("operations")
    framework.count(f"operations/{(operation.type or 'unknown').lower()}")


def _count_event(framework: FrameworkRecord, event: Event) -> None:
    """Count an event that goes to a framework."""
    framework.count("events")
    framework.count(f"events/{(event.type or 'unknown').lower()}")
    if event.offers is not None:
        framework.count("offers/sent", len(event.offers.offers))
    elif event.rescind is not None:
        framework.count("offers/rescinded")
