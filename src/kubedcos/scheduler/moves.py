"""How a pod instance leaves its place and gets another: whose turn it is, and what comes next.

A move goes through its times in order: asked, admitted (its turn has come), prepared, left (its
tasks ended or were given up, its reservation with them), settled; from then on the pod instance is
launched elsewhere, and the move is over when it is whole again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil

from kubedcos.clock import Clock
from kubedcos.model.offer import Agent
from kubedcos.model.service import PodSpec, ServiceSpec
from kubedcos.scheduler import staging
from kubedcos.scheduler.departures import DepartureResult, Side
from kubedcos.scheduler.elsewhere import nowhere_else
from kubedcos.scheduler.invariants import at_work, quorum_objection
from kubedcos.scheduler.known_agents import giving_up
from kubedcos.scheduler.recovery import NOTHING_LOST, Assessment, assess
from kubedcos.scheduler.recovery_plan import forgotten, way_back
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.scheduler.steering import recovery_paused
from kubedcos.scheduler.task_updates import OUT_OF_REACH, lost, succeeded
from kubedcos.scheduler.views import moment
from kubedcos.scheduler.workload import Departure, Readiness
from kubedcos.scheduler.world import Record, World, place, running
from kubedcos.state.records import Emptying, RecoveryRecord, Replacement, TaskRecord


def place_of(world: World, pod: PodSpec, index: int) -> Agent | None:
    """Where a pod instance lives, or lived last; None if it never ran."""
    instance = pod.instance(index)
    alive = world.of_pod(instance)
    if alive:
        return alive[0].agent
    if (home := world.pods.get(instance)) is not None:
        return home.agent
    return staging.last_place(world, pod, index)


def turn(spec: ServiceSpec, world: World, record: RecoveryRecord, now: float) -> str:
    """Why a replacement has to wait for others of its kind; empty when its turn has come."""
    pod = spec.pod(record.pod)
    phases = {
        phase.name
        for plan in spec.plans
        for phase in plan.phases
        if any(step.pod == record.pod and step.index == record.index for step in phase.steps)
    }
    if paused := recovery_paused(world, record.key, phases):
        return paused
    group = pod.recovery.group or pod.name
    limits = pod.recovery
    others = [
        (other, spec.pod(other.pod))
        for other in world.recovery.values()
        if other.key != record.key and any(known.name == other.pod for known in spec.pods)
    ]
    mates = [other for other, of in others if (of.recovery.group or of.name) == group]
    moving = [
        other.key
        for other in mates
        if other.replacement is not None and other.replacement.admitted_at is not None
    ]
    if len(moving) >= limits.most_at_once:
        names = ", ".join(sorted(moving))
        return f"waits for {names}: at most {limits.most_at_once} of {group} are moved at a time"
    last = max((other.replaced_at or 0.0 for other in (*mates, record)), default=0.0)
    if now - last < limits.gap:
        return (
            f"waits until {moment(last + limits.gap)}: {limits.gap:.0f} s lie between two"
            f" replacements of {group}"
        )
    return quorum_objection(spec, world, pod, record.index)


def turned_back(
    pod: PodSpec, record: RecoveryRecord, move: Replacement | None, now: float
) -> RecoveryRecord:
    """The record of a pod instance that stays although it was being prepared to leave.

    Args:
        pod: of the instance.
        record: as it is.
        move: what is left of its move; it has no turn any more.
        now: seconds since 1970.
    """
    begun = Emptying("was about to leave", now) if pod.emptied else record.emptying
    return replace(record, replacement=move, emptying=begun)


@dataclass(slots=True)
class Mover:
    """Decides on replacements and carries them on.

    What it remembers besides what is stored are answers of the workload, which can be asked again.

    Attributes:
        ended: told the id of each task that is given up.
        in_question: whether Mesos has yet to say how a pod instance's tasks, or this agent, are.
        assessment: what was found last.
    """

    spec: ServiceSpec
    world: World
    settings: FrameworkSettings
    clock: Clock
    pace: Pace
    ended: Callable[[str], None]
    in_question: Callable[[str, str], bool]
    assessment: Assessment = NOTHING_LOST
    _answers: dict[tuple[str, Side, float], Readiness] = field(default_factory=dict)
    _unfit: dict[str, RecoveryRecord] = field(default_factory=dict)
    _noticed: dict[str, tuple[float, float]] = field(default_factory=dict)

    def advance(self) -> list[str]:
        """Take every replacement as far as it may go now; sentences on what was done."""
        said = []
        now = self.clock.time()
        self.world.maintenance = self.world.maintained(self.spec.maintenance_lead, now)
        for record in sorted(self.world.recovery.values(), key=_by_age):
            if record.replacement is not None:
                said += self._advance(record, record.replacement)
        found = assess(self.spec, self.world, now, self._has_elsewhere)
        waits = dict(found.waits)
        self._notice(found, now)
        for record in (*found.wanted, *self._unfit.values()):
            known = self.world.recovery_of(record.pod, record.index)
            if record.replacement is None or known.replacement is not None:
                continue
            if why := self._too_early(record) or turn(self.spec, self.world, record, now):
                waits[record.key] = f"{record.replacement.reason}; {why}"
            else:
                said += self._advance(record, record.replacement)
        self._unfit.clear()
        for record in self.world.recovery.values():
            if record.replacement is not None and record.replacement.settled_at is None:
                waits[record.key] = self._waits(record, record.replacement, now)
        self.assessment, self.world.waits, self.world.blocked = found, waits, found.blocked
        self.world.commit(remove=forgotten(self.world, now))
        return said

    def _notice(self, found: Assessment, now: float) -> None:
        """Remember, by a clock that does not jump, when each loss was noticed."""
        at = self.clock.monotonic()
        self._noticed = {
            instance: self._noticed.get(instance, (at, until - now))
            for instance, until in found.lost.items()
        }

    def _too_early(self, record: RecoveryRecord) -> str:
        """Why it is too early for a replacement although the wall clock says that it is time."""
        agent = record.replacement.agent if record.replacement is not None else None
        if record.key not in self._noticed or agent is None:
            return ""
        if self.in_question(record.key, agent.id):
            return f"Mesos has not said yet whether {agent.hostname} is back"
        now = self.clock.monotonic()
        at, wait = self._noticed[record.key]
        left = at + wait - now
        if left <= 1:  # two clocks of one machine do not tick as one
            left = 0.0
        if agent.id in self.world.heard.away:
            # A scheduler that has just begun knows by the masters' clocks what its own cannot tell.
            seconds, heard_at = self.world.heard.away[agent.id]
            patience = self.spec.pod(record.pod).recovery.replace_after
            left = max(left, patience - seconds - (now - heard_at))
        return f"the clock was set: waits for {ceil(left)} s more" if left > 0 else ""

    def want(self, pod: PodSpec, index: int, reason: str) -> None:
        """A pod instance has to move for want of room; it does when its turn has come."""
        agent = place_of(self.world, pod, index)
        record = self.world.recovery_of(pod.name, index)
        if agent is not None and record.replacement is None:
            move = Replacement(reason, self.clock.time(), agent=agent)
            self._unfit[record.key] = replace(record, replacement=move)

    def may_return(self, pod_instance: str) -> bool:
        """Whether a pod instance that has left its place may go there again if it is offered.

        A drained agent may be reactivated, and one that was given up may return. Not if a person
        wanted it away from there, and not before all of it there has ended for sure.
        """
        record = self.world.recovery.get(pod_instance)
        move = record.replacement if record is not None else None
        if move is None or move.agent is None or move.settled_at is None or move.by_operator:
            return False
        now, grace = self.clock.time(), self.pace.stray_grace
        return not self.world.may_have_strays(move.agent.id, now, grace)

    def departing(self) -> dict[str, tuple[Side, Departure]]:
        """What the workload has to be asked for now."""
        found = {}
        for record in self.world.recovery.values():
            move = record.replacement
            if move is None or move.admitted_at is None or move.agent is None:
                continue
            if move.prepared_at is None:
                side = Side.PREPARE
            elif move.left_at is not None and move.settled_at is None:
                side = Side.FINISH
            else:
                continue
            tasks = tuple(running(task) for task in self.world.of_pod(record.key))
            leaves = Departure(record.pod, record.index, place(move.agent), tasks, move.admitted_at)
            found[record.key] = (side, leaves)
        return found

    def answer(self, pod_instance: str, side: Side, since: float) -> Readiness | None:
        """What the workload said last of a departure; None if it was not asked yet."""
        return self._answers.get((pod_instance, side, since))

    def answered(self, result: DepartureResult) -> None:
        """Take what the workload said."""
        self._answers[result.pod_instance, result.side, result.since] = result.readiness

    def _has_elsewhere(self, pod: PodSpec, index: int, agent: Agent) -> bool:
        return not nowhere_else(self.spec, self.world, self.settings, pod, index, agent)

    def _advance(self, record: RecoveryRecord, move: Replacement) -> list[str]:
        now = self.clock.time()
        said = []
        if move.admitted_at is None:
            if turn(self.spec, self.world, record, now) or self._nowhere(record, move):
                return []
            record = replace(record, replaced_at=now)
            move = self._note(record, replace(move, admitted_at=now))
            said.append(f"replaces {record.key}: {move.reason}")
        if move.prepared_at is None and self._has_said(record, Side.PREPARE, move):
            move = self._note(record, replace(move, prepared_at=now))
        if move.prepared_at is None:
            return [*said, *self._step_back(record, move)]
        if move.left_at is None and self._leave(record):
            home = self.world.pods.get(record.key)
            record = replace(record, absent_since=None)
            move = replace(move, left_at=now)
            self.world.commit([replace(record, replacement=move)], [home] if home else [])
            where = f" {move.agent.hostname}" if move.agent else " its place"
            said.append(f"{record.key} has left{where}")
        if move.left_at is None:
            return said
        if move.settled_at is None and self._has_said(record, Side.FINISH, move):
            move = self._note(record, replace(move, settled_at=now))
        if move.settled_at is not None and self._whole(record):
            self._note(record, None)
            self._answers = {key: a for key, a in self._answers.items() if key[0] != record.key}
            said.append(f"{record.key} is replaced")
        return said

    def _step_back(self, record: RecoveryRecord, move: Replacement) -> list[str]:
        """Give back the turn of what may not leave any more and is needed where it is.

        An ensemble lost its quorum after the turn of its member had come: nobody can take it out,
        and all wait for it. Or whatever else is to leave lost the last other place that it had. A
        person's wish stays and waits for its turn anew; loss alone is a reason no more.
        """
        pod = self.spec.pod(record.pod)
        if not pod.recovery.quorum:
            why = self._nowhere(record, move)
        else:
            answer = self._answers.get((record.key, Side.PREPARE, move.admitted_at or 0.0))
            if answer is None or answer.ready or not self._may_stay(record, move):
                return []
            why = quorum_objection(self.spec, self.world, pod, record.index)
        if not why:
            return []
        back = replace(move, admitted_at=None) if move.by_operator else None
        self.world.commit([turned_back(pod, record, back, self.clock.time())])
        return [f"{record.key} stays for now: {why}"]

    def _nowhere(self, record: RecoveryRecord, move: Replacement) -> str:
        """Why what a person wants elsewhere stays where it runs: because there is no elsewhere."""
        if not move.by_operator or move.agent is None or not self._may_stay(record, move):
            return ""
        pod = self.spec.pod(record.pod)
        why = nowhere_else(self.spec, self.world, self.settings, pod, record.index, move.agent)
        if not why:
            return ""
        return f"{why}; {way_back(record.key)} has it stay on {move.agent.hostname}"

    def _may_stay(self, record: RecoveryRecord, move: Replacement) -> bool:
        """Whether a pod instance runs at its old place, or may start there again."""
        agent, home = move.agent, self.world.pods.get(record.key)
        if agent is None or record.key in self.assessment.blocked:
            return False
        if alive := self.world.of_pod(record.key):
            return all(task.state not in OUT_OF_REACH for task in alive)
        known = self.world.agents.get(agent.id)
        there = known is not None and known.lost_at is None and record.absent_since is None
        at_home = home is not None and home.confirmed and home.agent.id == agent.id
        return there and at_home and agent.id not in self.world.maintenance

    def _has_said(self, record: RecoveryRecord, side: Side, move: Replacement) -> bool:
        """Whether the workload is ready; of a pod instance without a place nothing is asked."""
        answer = self._answers.get((record.key, side, move.admitted_at or 0.0))
        return move.agent is None or (answer is not None and answer.ready)

    def _waits(self, record: RecoveryRecord, move: Replacement, now: float) -> str:
        """What a replacement under way waits for."""
        if move.admitted_at is None:
            why = turn(self.spec, self.world, record, now) or self._nowhere(record, move)
            return f"{move.reason}; {why}"
        side = Side.PREPARE if move.prepared_at is None else Side.FINISH
        answer = self._answers.get((record.key, side, move.admitted_at))
        where = f" {move.agent.hostname}" if move.agent else " its place"
        if move.prepared_at is not None and move.left_at is None:
            doing = f"its tasks on{where} end"
        else:
            doing = answer.reason if answer is not None and answer.reason else f"leaves{where}"
        return f"{move.reason}; {doing}"

    def _note(self, record: RecoveryRecord, move: Replacement | None) -> Replacement:
        self.world.commit([replace(record, replacement=move)])
        return move or Replacement("", 0.0)

    def _leave(self, record: RecoveryRecord) -> bool:
        """Have the tasks ended, and give up those that nobody can reach; whether none is left."""
        now = self.clock.time()
        alive = self.world.of_pod(record.key)
        given_up = [task for task in alive if task.state in OUT_OF_REACH]
        records: list[Record] = [
            replace(task, kill_asked=True) for task in alive if not task.kill_asked
        ]
        message = f"given up with its agent; {record.key} is replaced elsewhere"
        records = [
            *(found for found in records if found not in given_up),
            *(lost(replace(task, kill_asked=True), message, now, self.pace) for task in given_up),
            *giving_up(self.world.agents, given_up),
        ]
        self.world.commit(records)
        for task in given_up:
            self.ended(task.task_id)
        return not self.world.of_pod(record.key)

    def _whole(self, record: RecoveryRecord) -> bool:
        """Whether everything of it that was there before is there again."""
        pod = self.spec.pod(record.pod)
        found: list[TaskRecord] = [
            task
            for spec in pod.tasks
            if (task := self.world.tasks.get(f"{record.key}/{spec.name}")) is not None
        ]
        return all(
            (at_work(task) and not self._runs_again(task)) or task.spec.name in record.paused
            for task in found
        )

    def _runs_again(self, task: TaskRecord) -> bool:
        """Whether a task that has ended well is to run once more, with other options."""
        return succeeded(task) and bool(staging.outdated(self.spec, task))


def _by_age(record: RecoveryRecord) -> tuple[float, str]:
    return (record.replacement.asked_at if record.replacement else 0.0, record.key)
