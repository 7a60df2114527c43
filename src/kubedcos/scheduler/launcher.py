"""Launches what is due on the offers at hand, and remembers why what does not fit does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from kubedcos.clock import Clock
from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import CallRefused, Connection
from kubedcos.offers.evaluation import Outcome, Verdict
from kubedcos.offers.requirement import Requirement, largest_first
from kubedcos.offers.round import Round
from kubedcos.scheduler import history, invariants, launching, staging
from kubedcos.scheduler.moves import Mover
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.scheduler.tally import Tally
from kubedcos.scheduler.workload import Workload
from kubedcos.scheduler.world import Record, World

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Launcher:
    """Launches pod instances; remembers of a subscription since when one finds no place.

    Attributes:
        mover: told who has to move for want of room.
        refuse: told the invariant, a sentence and what it is about when a launch would break one.
    """

    workload: Workload
    world: World
    settings: FrameworkSettings
    clock: Clock
    pace: Pace
    new_id: Callable[[], str]
    tally: Tally
    mover: Mover
    refuse: Callable[[str, str, str], None]
    _unfit_since: dict[str, float] = field(default_factory=dict)
    _missing_since: dict[str, float] = field(default_factory=dict)
    _last_considered: tuple[Outcome, history.Considered] | None = None

    def begin(self) -> None:
        """A subscription began."""
        self._unfit_since.clear()
        self._missing_since.clear()

    async def launch_all(self, connection: Connection, wanted: Sequence[staging.Due]) -> list[str]:
        """Launch what is due on the offers at hand, the largest first."""
        done = []
        self._forget_unfit({item.pod_instance for item in wanted})
        now, offers = self.clock.time(), self.world.offers()
        if not offers:
            # Without news there is nothing to decide; what was found lately still holds.
            wanted = [item for item in wanted if not self._judged_lately(item.pod_instance, now)]
        if not wanted:
            return []
        there = Round(offers, self.world.surroundings(), now)
        asked = {
            item.pod_instance: staging.requirement(
                item,
                self.workload.spec,
                self.world,
                self.settings,
                fresh_id=self.new_id(),
                returns=self.mover.may_return(item.pod_instance),
            )
            for item in wanted
        }
        items = {item.pod_instance: item for item in wanted}
        order = largest_first(asked.values())
        for at, requirement in enumerate(order):
            more = at + 1 < len(order)
            told = await self._launch(
                connection, items[requirement.pod_instance], requirement, there, more=more
            )
            if told:
                done.append(told)
        return done

    def relocate(self, wanted: Sequence[staging.Due]) -> None:
        """Move pod instances whose missing task finds no room where the others are, or it was."""
        now = self.clock.monotonic()
        steps = {item.pod_instance: item.step.spec for item in wanted}
        for instance in [known for known in self._unfit_since if known not in steps]:
            del self._unfit_since[instance]
        for instance, since in self._unfit_since.items():
            if now - since >= self.pace.relocate_after:
                step = steps[instance]
                reason = f"there is no room for {', '.join(step.tasks)} where it was"
                self.mover.want(self.workload.spec.pod(step.pod), step.index, reason)

    def watch_for(self, wanted: Sequence[staging.Due]) -> None:
        """Note since when agents that hold reservations of pod instances make no offer.

        Mesos tells of a lost agent but once, and not to a scheduler that is away.
        """
        now = self.clock.monotonic()
        offering = {offers.agent.id for offers in self.world.offers()}
        missing = set()
        for item in wanted:
            home = self.world.pods.get(item.pod_instance)
            if home is not None and home.confirmed and home.agent.id not in offering:
                missing.add(item.pod_instance)
        for instance in [known for known in self._missing_since if known not in missing]:
            del self._missing_since[instance]
        changed: list[Record] = [
            replace(record, absent_since=None)
            for record in self.world.recovery.values()
            if record.absent_since is not None
            and (home := self.world.pods.get(record.key)) is not None
            and home.agent.id in offering
        ]
        for item in wanted:
            if item.pod_instance not in missing:
                continue
            since = self._missing_since.setdefault(item.pod_instance, now)
            step = item.step.spec
            record = self.world.recovery_of(step.pod, step.index)
            if record.absent_since is None and now - since >= self.pace.absent_after:
                changed.append(replace(record, absent_since=self.clock.time() - (now - since)))
        self.world.commit(changed)

    async def _launch(
        self,
        connection: Connection,
        wanted: staging.Due,
        requirement: Requirement,
        there: Round,
        *,
        more: bool,
    ) -> str:
        spec, now = self.workload.spec, self.clock.time()
        outcome = there.evaluate(requirement)
        self.tally.evaluated(outcome)
        self._note_considered(wanted.pod_instance, outcome)
        if outcome.chosen is None:
            self._remember_unfit(requirement, outcome)
            return ""
        there.take(requirement, outcome.chosen)
        self._unfit_since.pop(wanted.pod_instance, None)
        intent = launching.intend(
            self.world, wanted, requirement, outcome.chosen, now, self.new_id, spec.target
        )
        try:
            call = launching.accept(
                self.world,
                intent,
                self.workload,
                cluster=spec.name,
                role=requirement.role,
                refuse_seconds=0.0 if more else self.pace.decline_short,
            )
        except Exception as error:
            _log.exception("no command for %s", wanted.pod_instance)
            self._withdraw(intent, "TASK_ERROR", f"no command: {error!r}")
            return f"cannot launch {wanted.pod_instance}: {error!r}"
        if problems := invariants.launch_problems(self.world, call):
            sentence = f"{wanted.pod_instance} is not launched: {'; '.join(problems)}"
            self.refuse("intent", sentence, intent.tasks[0].task_id)
            self._withdraw(intent, "TASK_ERROR", sentence)
            return sentence
        return await self._send_launch(connection, intent, call, wanted, outcome.chosen)

    async def _send_launch(
        self,
        connection: Connection,
        intent: launching.Intent,
        call: wire.Call,
        wanted: staging.Due,
        chosen: Verdict,
    ) -> str:
        self.world.forget_offers(chosen.offers.offer_ids)
        names = f"{wanted.pod_instance}:[{', '.join(wanted.tasks)}]"
        try:
            await connection.call(call)
        except CallRefused as error:
            self._withdraw(intent, "TASK_DROPPED", str(error))
            return f"Mesos refused {names}: {error}"
        return f"launched {names} on {chosen.offers.agent.hostname}"

    def _withdraw(self, intent: launching.Intent, state: str, message: str) -> None:
        now = self.clock.time()
        launching.withdraw(self.world, intent.tasks, state, message, now, self.pace)
        for task in intent.tasks:
            self.workload.task_ended(task.task_id)

    def _note_considered(self, instance: str, outcome: Outcome) -> None:
        """Keep the last offers that an instance was held against; many share one refusal."""
        if self._last_considered is None or self._last_considered[0] is not outcome:
            self._last_considered = (outcome, history.considered(outcome, self.clock.time()))
        self.world.considered[instance] = self._last_considered[1]

    def _remember_unfit(self, requirement: Requirement, outcome: Outcome) -> None:
        """Keep why; what was found on offers tells more than that there are none at the moment."""
        instance = requirement.pod_instance
        if outcome.agents or not self._judged_lately(instance, outcome.at):
            known = self.world.placement.get(instance)
            if known is None or known.reason != outcome.reason:
                self.world.tell(instance, f"no offer fits: {outcome.reason}")
            self.world.placement[instance] = outcome
        if requirement.pinned and not requirement.pod.reserved:
            now = self.clock.monotonic()
            self._unfit_since.setdefault(requirement.pod_instance, now)

    def _judged_lately(self, instance: str, now: float) -> bool:
        known = self.world.placement.get(instance)
        return known is not None and now - known.at < self.pace.revive_again

    def _forget_unfit(self, wanted: set[str]) -> None:
        """What waits no longer has no reason to."""
        for instance in [known for known in self.world.placement if known not in wanted]:
            del self.world.placement[instance]
