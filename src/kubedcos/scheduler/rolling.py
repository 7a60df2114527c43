"""Carries an update out: empties whom it is to restart, has tasks ended, takes nodes back into use.

Who is emptied is stored before anything is asked of the workload, so that nobody stays out of use
for ever, whatever ends meanwhile: the scheduler, the update or the wish for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kubedcos.clock import Clock
from kubedcos.plan.tree import Plan
from kubedcos.scheduler import decommission
from kubedcos.scheduler.departures import Side
from kubedcos.scheduler.invariants import healthy
from kubedcos.scheduler.moves import Mover
from kubedcos.scheduler.rollout import Turn, rollout, stale
from kubedcos.scheduler.workload import Departure, Readiness, Workload
from kubedcos.scheduler.world import Record, World, place, running
from kubedcos.state.records import Emptying, RecoveryRecord

_NOT_ASKED: Final = Readiness(ready=False)


@dataclass(slots=True)
class Roller:
    """Carries out what `rollout` decides; what it remembers is decided anew in each cycle.

    Attributes:
        mover: keeps the answers of the workload.
    """

    workload: Workload
    world: World
    clock: Clock
    mover: Mover
    _sides: dict[str, Side] = field(default_factory=dict)

    def advance(self, plans: Callable[[], Sequence[Plan]]) -> list[str]:
        """Go as far as possible now; sentences on what was done.

        Args:
            plans: the plans as they stand; asked for only when there is something to do.
        """
        spec, self.world.rollout, self._sides = self.workload.spec, {}, {}
        said = self._stay()
        if not (stale(spec, self.world) or self._emptied()):
            return said
        found = rollout(spec, plans(), self.world)
        self.world.rollout = dict(found.waiting)
        for turn in found.turns:
            said += self._take_turn(turn)
        for record in self._emptied():
            if record.key not in self._sides:
                said += self._take_back(record)
        return said

    def departing(self) -> dict[str, tuple[Side, Departure]]:
        """What the workload has to be asked for now."""
        found = {}
        for instance, side in self._sides.items():
            record, tasks = self.world.recovery.get(instance), self.world.of_pod(instance)
            if record is None or record.emptying is None or not tasks:
                continue
            departure = Departure(
                record.pod,
                record.index,
                place(tasks[0].agent),
                tuple(running(task) for task in tasks),
                record.emptying.since,
                returns=True,
            )
            found[instance] = (side, departure)
        return found

    def _take_turn(self, turn: Turn) -> list[str]:
        """Restart it, after it was emptied if it has to be."""
        name = turn.pod_instance
        note = ""
        if turn.empties:
            task = turn.tasks[0]
            record = self.world.recovery_of(task.pod, task.index)
            self._sides[name] = Side.PREPARE
            if record.emptying is None:
                begun = Emptying(turn.reason, self.clock.time())
                self.world.commit([replace(record, emptying=begun)])
                self.world.tell(name, f"is emptied before its restart ({turn.reason})")
                self.world.rollout[name] = "is about to be drained"
                return [f"drains {name} before its restart ({turn.reason})"]
            answer = self.mover.answer(name, Side.PREPARE, record.emptying.since) or _NOT_ASKED
            if not answer.ready:
                self.world.rollout[name] = answer.reason or "is about to be drained"
                return []
            note = answer.reason
            if note:
                self.world.tell(name, note)
            del self._sides[name]
        self.world.ask_to_end(turn.tasks)
        return [f"restarts {name} ({turn.reason})" + (f"; {note}" if note else "")]

    def _take_back(self, record: RecoveryRecord) -> list[str]:
        """Let it take load again that was emptied: it was restarted, or need not be any more."""
        pod = next((pod for pod in self.workload.spec.pods if pod.name == record.pod), None)
        if pod is None or record.index not in pod.indices or record.emptying is None:
            return []
        if not healthy(self.world, pod, record.index):
            return []
        self._sides[record.key] = Side.FINISH
        answer = self.mover.answer(record.key, Side.FINISH, record.emptying.since) or _NOT_ASKED
        if not answer.ready:
            self.world.rollout[record.key] = answer.reason or "is about to be used again"
            return []
        left = replace(record, emptying=None)
        if left.empty:
            self.world.commit(remove=[record])
        else:
            self.world.commit([left])
        del self._sides[record.key]
        return [f"{record.key} is in use again"]

    def _stay(self) -> list[str]:
        """Whoever was about to leave for good and is wanted again is taken back into use."""
        said = []
        for step in decommission.taken_back(self.workload.spec, self.world):
            pod, index = decommission.instance_of(step)
            record = self.world.recovery_of(pod, index)
            put: list[Record] = []
            if self.workload.spec.pod(pod).emptied:
                begun = Emptying("was about to leave", self.clock.time())
                put = [replace(record, emptying=begun)]
            self.world.commit(put, [step])
            said.append(f"{record.key} stays after all")
        return said

    def _emptied(self) -> list[RecoveryRecord]:
        return [found for found in self.world.recovery.values() if found.emptying is not None]
