"""One cycle: take the state of the world, decide, act, and say in a sentence what and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from kubedcos.clock import Clock
from kubedcos.mesos.client import Connection
from kubedcos.plan.status import Status
from kubedcos.plan.tree import Plan
from kubedcos.scheduler import (
    decommission,
    leaving_behind,
    roll_call,
    staging,
    steering,
    translate,
)
from kubedcos.scheduler.decommissioning import Decommissioner
from kubedcos.scheduler.demand import Demand, Voice
from kubedcos.scheduler.departures import DepartureResult, Side
from kubedcos.scheduler.ending import Ender
from kubedcos.scheduler.known_agents import giving_up
from kubedcos.scheduler.launcher import Launcher
from kubedcos.scheduler.moves import Mover
from kubedcos.scheduler.reconciliation import Reconciliation
from kubedcos.scheduler.recovery import DRAINING
from kubedcos.scheduler.releasing import Releaser
from kubedcos.scheduler.roll_call import RollCall
from kubedcos.scheduler.rolling import Roller
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.scheduler.tally import Tally
from kubedcos.scheduler.task_updates import OUT_OF_REACH, lost
from kubedcos.scheduler.workload import Departure, Workload
from kubedcos.scheduler.world import World
from kubedcos.state.records import StepRecord

_log = logging.getLogger(__name__)
_LEAST_PATIENCE = 60.0
"""A deletion waits for so many seconds of a scheduler's own life before it leaves things behind."""


@dataclass(slots=True)
class Cycle:
    """Decides and acts for one cluster; remembers of a subscription what Mesos would not repeat.

    All waiting is done by the caller: a cycle acts on what is at hand and returns. `complete` says
    whether the last one found nothing open; `refusals` counts, by invariant, what was not done
    because it would have broken one.
    """

    workload: Workload
    world: World
    settings: FrameworkSettings
    clock: Clock
    pace: Pace
    new_id: Callable[[], str]
    tally: Tally = field(default_factory=Tally)
    demand: Demand = field(init=False)
    reconciliation: Reconciliation = field(init=False)
    roll_call: RollCall = field(init=False)
    mover: Mover = field(init=False)
    roller: Roller = field(init=False)
    decommissioner: Decommissioner = field(init=False)
    _launcher: Launcher = field(init=False)
    _releaser: Releaser = field(init=False)
    _ender: Ender = field(init=False)
    complete: bool = False
    refusals: Counter[str] = field(default_factory=Counter)
    _growth: staging.Growth = field(default_factory=staging.Growth)
    _refused: set[tuple[str, str]] = field(default_factory=set)
    _dismantling_from: float | None = None

    def __post_init__(self) -> None:
        """A cycle begins without memory of any subscription."""
        self.demand = Demand(self.pace)
        self.reconciliation = Reconciliation(self.pace)
        self.roll_call = RollCall(self.pace)
        self.mover = Mover(
            self.workload.spec,
            self.world,
            self.settings,
            self.clock,
            self.pace,
            self.workload.task_ended,
            self._in_question,
        )
        self.roller = Roller(self.workload, self.world, self.clock, self.mover)
        self.decommissioner = Decommissioner(
            self.workload, self.world, self.clock, self.pace, self.mover
        )
        self._launcher = Launcher(
            self.workload,
            self.world,
            self.settings,
            self.clock,
            self.pace,
            self.new_id,
            self.tally,
            self.mover,
            self._refuse,
        )
        self._releaser = Releaser(
            self.workload.spec.name, self.world, self.settings, self.clock, self.pace
        )
        self._ender = Ender(
            self.workload, self.world, self.clock, self.pace, self.reconciliation, self._refuse
        )

    def begin(self) -> None:
        """A subscription began."""
        now = self.clock.monotonic()
        self.demand.begin(now)
        self.reconciliation.begin({task.task_id for task in self.world.alive}, now)
        self.roll_call.begin(now)
        self.complete = False
        self._ender.begin()
        self._releaser.begin()
        self._launcher.begin()

    def plans(self) -> tuple[Plan, ...]:
        """The plans as they stand, with step times stored where they changed."""
        now = self.clock.time()
        found = staging.plans(self.workload.spec, self.world, now, self._growth)
        changed = staging.history(found, self.world, now)
        marks, settled = steering.fulfilled(self.world, found)
        self._measure(changed)
        if changed or marks or settled:
            self.world.commit([*changed, *marks], settled)
            found = staging.plans(self.workload.spec, self.world, now, self._growth)
        leaving = decommission.surplus(self.workload.spec, self.world)
        retiring = decommission.plan(leaving, self.world.leaving)
        return found if retiring is None else (*found, retiring)

    def _measure(self, changed: Iterable[StepRecord]) -> None:
        """Count steps that have just become complete or begun to recover."""
        for new in changed:
            old = self.world.steps.get(new.key)
            if new.finished_at is not None and new.started_at is not None:
                self.tally.step_took(new.plan, new.finished_at - new.started_at)
            elif old is not None and old.was_complete and old.finished_at is not None:
                self.tally.decisions["recovering"] += 1

    async def stage(self, connection: Connection) -> str:
        """A cycle that stages the service and keeps it running."""
        self._give_up_unknown()
        self._note_reactivated()
        await self._reconcile(connection)
        done = [*self.mover.advance(), *self._restart(), *self.roller.advance(self.plans)]
        done += self.decommissioner.advance()
        done += await self._ender.end(connection)
        # Before anything is launched: what shows that a reservation is gone are unused offers.
        self._releaser.note_released()
        found = self.plans()
        wanted = staging.due(self.workload.spec, found, self.world)
        done += await self._launcher.launch_all(connection, wanted)
        self._launcher.relocate(wanted)
        self._launcher.watch_for(wanted)
        done += await self._answer_inverse(connection)
        done += await self._releaser.release(connection)
        found = self.plans() if done or wanted else found
        self.complete = all(plan.status is Status.COMPLETE for plan in found)
        still = {item.pod_instance for item in staging.due(self.workload.spec, found, self.world)}
        abandoned = self._releaser.abandoned()
        away = {id_ for id_ in abandoned if self.world.is_lost(self.world.reservations[id_].agent)}
        missed = abandoned - away - self._releaser.settling()
        waiting = still | {f"reservation {id_}" for id_ in missed}
        done += await self._decline(connection, more=bool(waiting))
        # Offers of a drained agent are how its reactivation is noticed.
        await self._voice(connection, waiting, listens=bool(away or self.world.blocked))
        return "; ".join([*done, _state_of(found)])

    def _restart(self) -> list[str]:
        """Begin again what operators want restarted and whose turn it is."""
        if not any(mark.restart for mark in self.world.interruptions.values()):
            return []
        steps = steering.restart_in_turn(self.workload.spec, self.world, self.plans())
        return [f"restarts {', '.join(steps)}"] if steps else []

    async def dismantle(self, connection: Connection) -> str:
        """A cycle that takes the service down; the empty sentence means that it is done.

        Tasks that Mesos cannot reach are left to TEARDOWN, which ends them when their agent
        returns, and written down, because a later master does not know of it; a reservation there
        is waited for, and after a time written down, too.
        """
        self.complete = False
        self.world.ask_to_end(self.world.alive)
        self._give_up_unknown()
        await self._reconcile(connection)
        done = await self._ender.end(connection)
        self._releaser.note_released()
        done += await self._releaser.release(connection)
        waiting = {f"reservation {id_}" for id_ in self.world.reservations}
        done += await self._decline(connection, more=bool(waiting))
        await self._voice(connection, waiting)
        ending = [task for task in self.world.alive if task.state not in OUT_OF_REACH]
        if ending:
            names = ", ".join(sorted(task.key for task in ending)[:3])
            done.append(f"waits for the end of {len(ending)} tasks ({names})")
        elif waiting:
            hosts = {found.agent.hostname for found in self.world.reservations.values()}
            done.append(f"waits for offers from {', '.join(sorted(hosts))} to release volumes")
        if done and self._waited_enough():
            self._leave_behind()
            return ""
        return "; ".join(done)

    def _waited_enough(self) -> bool:
        cluster = self.world.cluster
        # A wish from before there was a bound has no beginning: it is bounded from now on.
        if not cluster.deleting_since:
            now = self.clock.time()
            wait = cluster.delete_wait or self.pace.delete_wait
            self.world.commit([replace(cluster, deleting_since=now, delete_wait=wait)])
            return False
        # Neither a clock that is set nor the time without any scheduler counts as patience.
        now = self.clock.monotonic()
        if self._dismantling_from is None:
            self._dismantling_from = now
        here = now - self._dismantling_from >= min(cluster.delete_wait, _LEAST_PATIENCE)
        return here and self.clock.time() - cluster.deleting_since >= cluster.delete_wait

    def leave_tasks(self) -> None:
        """Write down which agents keep tasks that the end of the framework does not reach."""
        self.world.leave_behind(
            leaving_behind.task_notes(
                self.world.alive,
                [it.agent for it in self.world.agents.values() if it.gave_up],
                framework_id=self.world.cluster.framework_id,
                cluster=self.workload.spec.name,
                role=self.settings.role,
                masters=self.settings.masters,
                now=self.clock.time(),
            )
        )

    def _leave_behind(self) -> None:
        """Write down what could not be released, in a place that outlives the cluster."""
        left = leaving_behind.notes(
            self.world.reservations.values(),
            cluster=self.workload.spec.name,
            role=self.settings.role,
            masters=self.settings.masters,
            now=self.clock.time(),
        )
        self.world.leave_behind(left)
        for record in left:
            _log.warning(
                "%s: leaves reservation %s of %s on %s, which is out of reach",
                record.cluster,
                record.id,
                record.pod_instance,
                record.agent.hostname,
            )

    def departing(self) -> dict[str, tuple[Side, Departure]]:
        """What the workload has to be asked for now: of those that restart, go, move and end."""
        going = {**self.decommissioner.departing(), **self.mover.departing()}
        return {**self.roller.departing(), **going, **self._ender.departing()}

    def answered(self, result: DepartureResult) -> None:
        """Take what the workload said of a departure."""
        if result.side is Side.STOP:
            self._ender.answered(result)
        else:
            self.mover.answered(result)

    def _refuse(self, invariant: str, sentence: str, about: str) -> None:
        """Say loudly, once, that something was not done because it would break an invariant."""
        if (invariant, about) not in self._refused:
            self._refused.add((invariant, about))
            self.refusals[invariant] += 1
            _log.error("%s: %s", self.workload.spec.name, sentence)

    async def _answer_inverse(self, connection: Connection) -> list[str]:
        """Tell Mesos which agents are vacated in time for maintenance, and which are not."""
        heard = self.world.heard
        if not heard.inverse_offers:
            return []
        held = self.mover.assessment.waits
        stuck = {task.agent.id for task in self.world.alive if task.pod_instance in held}
        done = []
        for vacates in (True, False):
            ids = [id_ for id_, at in heard.inverse_offers.items() if (at not in stuck) is vacates]
            if ids:
                call = translate.answer_inverse(
                    ids, vacates=vacates, refuse_seconds=self.pace.inverse_refuse
                )
                await connection.call(call)
                done.append(f"{'accepted' if vacates else 'declined'} {len(ids)} inverse offers")
        heard.inverse_offers.clear()
        return done

    async def _reconcile(self, connection: Connection) -> None:
        now = self.clock.monotonic()
        asked = self.reconciliation.explicit(self.world.alive, now, self.clock.time())
        if asked:
            tasks = {task.task_id: task.agent.id for task in asked}
            await connection.call(translate.reconcile(tasks))
        if agents := self.roll_call.due(self.world.unheard_agents, now):
            questions = {roll_call.question(agent_id): agent_id for agent_id in agents}
            await connection.call(translate.reconcile(questions))
        if self.world.heard.returned:
            self.world.heard.returned.clear()
            self.reconciliation.all_soon(now)
        if self.reconciliation.implicit(now):
            await connection.call(translate.reconcile({}))

    def _in_question(self, pod_instance: str, agent_id: str) -> bool:
        """Whether Mesos has yet to say how a pod instance's tasks are, or an agent without any."""
        if tasks := self.world.of_pod(pod_instance):
            return any(task.task_id in self.reconciliation.open for task in tasks)
        return self.roll_call.is_open(agent_id)

    def _give_up_unknown(self) -> None:
        """Tasks whose very agent Mesos does not know come back within a time, or never."""
        now = self.clock.time()
        unknown = [task for task in self.world.alive if task.state == "TASK_UNKNOWN"]
        # The clock was set back: the wait begins anew.
        self.world.commit(replace(task, state_at=now) for task in unknown if task.state_at > now)
        given_up = [task for task in unknown if now - task.state_at >= self.pace.unknown_grace]
        message = "Mesos knows neither the task nor its agent"
        ended = [lost(task, message, now, self.pace) for task in given_up]
        self.world.commit([*ended, *giving_up(self.world.agents, given_up)])
        for task in given_up:
            self.workload.task_ended(task.task_id)

    def _note_reactivated(self) -> None:
        """An agent that makes offers is not drained any more: Mesos makes none of a drained one."""
        offering = {
            offers.agent.id
            for offers in self.world.offers()
            if self.world.newer_than_last_end(offers)
        }
        if offering:
            self.world.commit(
                replace(task, reason="")
                for task in self.world.tasks.values()
                if task.reason == DRAINING and not task.alive and task.agent.id in offering
            )

    async def _decline(self, connection: Connection, *, more: bool) -> list[str]:
        ids = tuple(id_ for offers in self.world.offers() for id_ in offers.offer_ids)
        if not ids:
            return []
        self.world.forget_offers(ids)
        seconds = self.pace.decline_short if more else self.pace.decline_long
        await connection.call(translate.decline(ids, seconds))
        return [f"declined {len(ids)} offers for {seconds:.0f} s"]

    async def _voice(
        self, connection: Connection, waiting: set[str], *, listens: bool = False
    ) -> None:
        match self.demand.decide(waiting, self.clock.monotonic(), listens=listens):
            case Voice.REVIVE:
                await connection.call(translate.revive(self.settings.roles))
            case Voice.SUPPRESS:
                await connection.call(translate.suppress(self.settings.roles))


def _state_of(found: tuple[Plan, ...]) -> str:
    """What is open, in a sentence."""
    for plan in found:
        for step in plan.steps:
            if step.status is not Status.COMPLETE:
                return f"{plan.name}: {step.spec.name} is {step.status}: {step.reason}"
    return "everything is complete"
