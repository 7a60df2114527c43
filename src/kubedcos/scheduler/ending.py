"""Has tasks ended that are wanted to end, unless a quorum needs them.

What Mesos tells of members is old news: it takes more than a minute to notice that an agent is out
of reach. Therefore the members themselves are asked right before one of them is ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kubedcos.clock import Clock
from kubedcos.mesos.client import Connection
from kubedcos.scheduler import invariants, translate
from kubedcos.scheduler.departures import DepartureResult, Side
from kubedcos.scheduler.reconciliation import Reconciliation
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.task_updates import OUT_OF_REACH
from kubedcos.scheduler.workload import Departure, Workload
from kubedcos.scheduler.world import World, place, running
from kubedcos.state.records import TaskRecord

_FRESH: Final = 5.0
"""Seconds for which members are taken at their word."""


@dataclass(slots=True)
class Ender:
    """Asks Mesos to end tasks; remembers of a subscription what it has asked.

    Attributes:
        refuse: told the invariant, a sentence and a task's id when its end would break one.
    """

    workload: Workload
    world: World
    clock: Clock
    pace: Pace
    reconciliation: Reconciliation
    refuse: Callable[[str, str, str], None]
    _sent: dict[str, float] = field(default_factory=dict)
    _asks: dict[str, tuple[Side, Departure]] = field(default_factory=dict)
    _answers: dict[str, DepartureResult] = field(default_factory=dict)

    def begin(self) -> None:
        """A subscription began."""
        self._sent.clear()
        self._asks.clear()
        self._answers.clear()

    def departing(self) -> dict[str, tuple[Side, Departure]]:
        """Members of a quorum that are to end next, for the workload to be asked about."""
        return dict(self._asks)

    def answered(self, result: DepartureResult) -> None:
        """Take what the workload said of a member that is to end."""
        self._answers[result.pod_instance] = result

    async def end(self, connection: Connection) -> list[str]:
        """Ask tasks to end, again if they do not: Mesos may lose such a wish."""
        now = self.clock.monotonic()
        self._asks = {}
        asked: list[str] = []
        if not any(task.kill_asked for task in self.world.alive):
            return asked
        spec = self.workload.spec
        stays = invariants.must_stay(spec, self.world, self._sent, self.reconciliation.open)
        members = invariants.voting(spec, self.world)
        for task in self.world.alive:
            if not task.kill_asked or task.state in OUT_OF_REACH:
                continue
            if task.pod_instance in stays:
                self.refuse("quorum", f"{task.key} is not ended: a quorum needs it", task.task_id)
                continue
            last = self._sent.get(task.task_id)
            if last is not None and now - last < self.pace.kill_again:
                continue
            if task.pod_instance in members and not self._is_spared(task, now):
                continue
            self._sent[task.task_id] = now
            await connection.call(translate.kill(task.task_id, task.agent.id))
            asked.append(task.key)
        self._answers = {name: self._answers[name] for name in self._answers if name in self._asks}
        return [f"asked {', '.join(asked)} to end"] if asked else []

    def _is_spared(self, task: TaskRecord, now: float) -> bool:
        """Whether the other members have just said that they can do without a task's pod instance.

        They are asked if not; the answer brings the next cycle about.
        """
        name = task.pod_instance
        tasks = self.world.of_pod(name)
        since = max(found.intended_at for found in tasks)
        answer = self._answers.get(name)
        if answer is not None and answer.since == since and now - answer.at <= _FRESH:
            if answer.readiness.ready:
                return True
            sentence = f"{task.key} is not ended: {answer.readiness.reason}"
            self.refuse("quorum", sentence, task.task_id)
        leaves = Departure(
            task.pod,
            task.index,
            place(task.agent),
            tuple(running(found) for found in tasks),
            since,
            returns=True,
        )
        self._asks[name] = (Side.STOP, leaves)
        return False
