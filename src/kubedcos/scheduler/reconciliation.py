"""When to ask Mesos what it knows of our tasks, and of which. Pure but for its own memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.task_updates import INTENDED
from kubedcos.state.records import TaskRecord

_SILENT_STATES = frozenset(
    {INTENDED, "TASK_STAGING", "TASK_STARTING", "TASK_UNKNOWN", "TASK_UNREACHABLE"}
)


@dataclass(slots=True)
class Reconciliation:
    """One subscription's questions: explicit ones until answered, an implicit one now and then.

    Times are monotonic seconds.
    """

    pace: Pace
    open: set[str] = field(default_factory=set)
    _wait: float = 0.0
    _next_explicit: float = 0.0
    _next_implicit: float = 0.0

    def begin(self, task_ids: Collection[str], now: float) -> None:
        """A subscription began: every task that may be alive is in question."""
        self.open = set(task_ids)
        self._wait = self.pace.reconcile_first
        self._next_explicit = now
        self._next_implicit = now + self.pace.reconcile_all

    def question(self, task_id: str, now: float) -> None:
        """Something odd was heard of this task: ask."""
        if not self.open:
            self._wait = self.pace.reconcile_first
            self._next_explicit = now
        self.open.add(task_id)

    def answered(self, task_id: str) -> None:
        """News of a task came."""
        self.open.discard(task_id)

    def explicit(
        self, alive: Collection[TaskRecord], now: float, wall: float
    ) -> tuple[TaskRecord, ...]:
        """Tasks to ask for now. Those that linger in a state that ought to pass are asked again.

        Args:
            alive: tasks that may be alive.
            now: monotonic seconds.
            wall: seconds since 1970.
        """
        if now < self._next_explicit:
            return ()
        asked = tuple(
            task
            for task in alive
            if task.task_id in self.open
            or (task.state in _SILENT_STATES and self._lingers(task, wall))
        )
        self.open &= {task.task_id for task in alive}
        if not asked:
            self._wait = self.pace.reconcile_first
        self._next_explicit = now + self._wait
        self._wait = min(self._wait * 2, self.pace.reconcile_most)
        return asked

    def _lingers(self, task: TaskRecord, wall: float) -> bool:
        """A moment that is yet to come was written by a clock that has been set back since."""
        return wall - task.state_at >= self.pace.linger or wall < task.state_at

    def all_soon(self, now: float) -> None:
        """An agent is back, perhaps with tasks that we do not know any more."""
        self._next_implicit = min(self._next_implicit, now + self.pace.reconcile_first)

    def implicit(self, now: float) -> bool:
        """Whether to ask for everything now: this finds tasks that we do not know."""
        if now < self._next_implicit:
            return False
        self._next_implicit = now + self.pace.reconcile_all
        return True
