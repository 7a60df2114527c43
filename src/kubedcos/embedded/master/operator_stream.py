"""The event stream of operators: what they are told is derived from what a decision changed.

As in Mesos nothing is said when an agent disconnects, becomes unreachable, is marked gone, or is
deactivated, and nothing about reservations, weights and quota.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from kubedcos.embedded.master import operator_views
from kubedcos.embedded.master.changes import Changes, TaskChange
from kubedcos.embedded.master.state import FrameworkRecord, MasterState
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import FrameworkInfo

Json = dict[str, Any]

HEARTBEAT_INTERVAL: Final = 15.0
_CHECKS: Final = frozenset(
    {"REASON_TASK_CHECK_STATUS_UPDATED", "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"}
)


def event(kind: str, body: Json) -> Json:
    """An event as operators get it."""
    return {"type": kind, kind.lower(): body}


class Observer:
    """Finds out what operators have to be told after each decision."""

    def __init__(self) -> None:
        self._frameworks: dict[str, FrameworkInfo] = {}

    def news(self, state: MasterState, changes: Changes) -> Iterator[Json]:
        """Events for everything that changed since the last call, in Mesos' order."""
        seen, self._frameworks = self._frameworks, _frameworks(state)
        for framework_id, now in self._frameworks.items():
            before = seen.get(framework_id)
            # Every SUBSCRIBE is told, even of the same; UPDATE_FRAMEWORK only of what is new.
            if before is not None and before is now:
                continue
            kind = "FRAMEWORK_ADDED" if before is None else "FRAMEWORK_UPDATED"
            shown = {"framework": framework_view(state.frameworks[framework_id])}
            yield event(kind, shown)
        for agent in changes.agents:
            if agent.before is None and agent.now is not None:
                view = operator_views.agent(state, agent.now)
                yield event("AGENT_ADDED", {"agent": view})
        for task in changes.tasks:
            yield from _task_news(task)
        for framework_id, info in seen.items():
            if framework_id not in self._frameworks:
                body = {"framework_info": to_json(info)}
                yield event("FRAMEWORK_REMOVED", body)
        for agent in changes.agents:
            lost = agent.id in state.unreachable or agent.id in state.gone
            if agent.before is not None and agent.now is None and not lost:
                yield event("AGENT_REMOVED", {"agent_id": {"value": agent.id}})

    def skip(self, state: MasterState) -> None:
        """What frameworks became until now is no news."""
        self._frameworks = _frameworks(state)


def _frameworks(state: MasterState) -> dict[str, FrameworkInfo]:
    return {framework.id: framework.info for framework in state.frameworks.values()}


def framework_view(framework: FrameworkRecord) -> Json:
    """A framework as events show it: always with all times, never with resources and offers."""
    times = {
        "registered_time": framework.registered_time,
        "reregistered_time": framework.reregistered_time,
        "unregistered_time": framework.unregistered_time,
    }
    return {
        "framework_info": to_json(framework.info),
        "active": framework.connected,
        "connected": framework.connected,
        "recovered": framework.recovered,
        **{name: {"nanoseconds": int((time or 0.0) * 1e9)} for name, time in times.items()},
    }


def _task_news(change: TaskChange) -> Iterator[Json]:
    task, status = change.now, change.news
    if change.before is None:
        yield event("TASK_ADDED", {"task": to_json(task)})
    elif status is not None:
        last = change.before.statuses[-1] if change.before.statuses else None
        if last is not None and last.state == status.state and status.reason not in _CHECKS:
            return
        body = {
            "framework_id": to_json(task.framework_id),
            "status": to_json(status),
            "state": task.state,
        }
        yield event("TASK_UPDATED", body)


def first_event(state: MasterState) -> Json:
    """SUBSCRIBED."""
    whole = operator_views.whole_state(state)
    return event(
        "SUBSCRIBED",
        {"get_state": whole, "heartbeat_interval_seconds": HEARTBEAT_INTERVAL},
    )


Receiver = Callable[[Json], None]
"""Takes an event to one operator, or keeps it from him."""


class OperatorStreams:
    """Those who listen, the oldest first.

    Args:
        limit: when one more comes, the oldest goes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._observer = Observer()
        self._receivers: dict[str, tuple[Receiver, Callable[[], None]]] = {}

    def __len__(self) -> int:
        return len(self._receivers)

    def add(
        self, stream_id: str, state: MasterState, receive: Receiver, close: Callable[[], None]
    ) -> None:
        """One more, who knows the state as it is; `close` ends his stream."""
        if not self._receivers:
            self._observer.skip(state)
        while self._receivers and len(self._receivers) >= self._limit:
            _, end = self._receivers.pop(next(iter(self._receivers)))
            end()
        self._receivers[stream_id] = (receive, close)

    def remove(self, stream_id: str) -> None:
        """His connection is gone."""
        self._receivers.pop(stream_id, None)

    def tell(self, state: MasterState, changes: Changes) -> None:
        """Pass on what the last decision changed."""
        if self._receivers:
            for news in self._observer.news(state, changes):
                for receive, _ in list(self._receivers.values()):
                    receive(news)
