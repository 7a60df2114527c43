"""Gives back to Mesos what is reserved for the cluster and nobody lives in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from kubedcos.clock import Clock
from kubedcos.mesos.client import Connection
from kubedcos.model.offer import Resource, millis_of
from kubedcos.offers.evaluation import AgentOffers
from kubedcos.offers.leftovers import leftovers, reservation_ids
from kubedcos.scheduler import leaving_behind, translate
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.scheduler.world import World
from kubedcos.state.records import ReservationRecord

_RECALLS: Final = 5
"""An offer that was declined so often is not open any more."""


@dataclass(slots=True)
class _Seen:
    """Offers with a reservation in them.

    Attributes:
        offer_ids: of these offers.
        had: their amounts.
        at: when they came or were used, in monotonic seconds.
        recalled: how often they were declined afterwards.
    """

    offer_ids: tuple[str, ...]
    had: Counter[str]
    at: float
    recalled: int = 0


@dataclass(slots=True)
class Releaser:
    """Destroys volumes, unreserves resources, and forgets what is gone for sure.

    Mesos may lose such a wish without a word, or what else an offer was used for. The offer stays
    open then, and what the agent offers meanwhile is the rest of it, without the reservation. The
    last offer that had it is therefore remembered, and declined when there is doubt: if it is open,
    the reservation is offered again. Offers end with their subscription, and so does this memory.

    Mesos' master believes in a release before the agent has heard of it, and when an agent
    registers again, what that one has is what counts (``___reregisterSlave`` in Mesos'
    ``src/master/master.cpp``). A reservation stays on the books therefore until its agent, had it
    been out of reach at that moment, would be known to be lost; then its offers are asked for once
    more.

    Attributes:
        cluster: its name, which is on each of its reservations.
    """

    cluster: str
    world: World
    settings: FrameworkSettings
    clock: Clock
    pace: Pace
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _doubtful: set[str] = field(default_factory=set)
    _missing: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """A subscription began."""
        self._seen.clear()
        self._doubtful.clear()
        self._missing.clear()

    async def release(self, connection: Connection) -> list[str]:
        """Destroy and unreserve what is ours and not in use."""
        await self._recall(connection)
        done = []
        in_use = self._in_use()
        for offers in self.world.offers():
            if offers.role != self.settings.role:
                continue
            found = leftovers(
                offers.resources,
                cluster=self.cluster,
                role=self.settings.role,
                in_use=in_use,
            )
            if found:
                operations = [translate.unreserve(found.unreserve, self.settings.role)]
                if found.destroy:
                    operations.insert(0, translate.destroy(found.destroy, self.settings.role))
                self._see(offers)
                self.world.forget_offers(offers.offer_ids)
                await connection.call(translate.accept(offers.offer_ids, operations, 0.0))
                done.append(
                    f"released {len(found.unreserve)} resources and destroyed"
                    f" {len(found.destroy)} volumes on {offers.agent.hostname}"
                )
        return done

    def note_released(self) -> None:
        """Forget reservations that are gone for sure."""
        for offers in self.world.offers():
            self._see(offers)
        abandoned = self.abandoned()
        self._missing = {id_: self._missing[id_] for id_ in self._missing if id_ in abandoned}
        if not abandoned:
            return
        gone: list[str] = []
        for offers in self.world.offers():
            # What is reserved for one role is not offered to another.
            if offers.role == self.settings.role:
                gone += self._note_missing(offers)
        for id_ in list(self._missing):
            agent = self.world.reservations[id_].agent
            if self.world.is_lost(agent) or self._is_just_back(agent.id):
                del self._missing[id_]
            elif self._is_over(id_):
                gone.append(id_)
        records = [self.world.reservations[id_] for id_ in dict.fromkeys(gone)]
        if self.world.cluster.deleting:
            self._leave_behind(records)
        self.world.commit(remove=records)

    def _leave_behind(self, gone: Iterable[ReservationRecord]) -> None:
        """Have agents looked at once more, after the cluster is gone."""
        self.world.leave_behind(
            leaving_behind.notes(
                gone,
                cluster=self.cluster,
                role=self.settings.role,
                masters=self.settings.masters,
                now=self.clock.time(),
                released=True,
            )
        )

    def _see(self, offers: AgentOffers) -> None:
        """Remember which reservations an agent offers."""
        if ids := reservation_ids(offers.resources, cluster=self.cluster):
            had, now = _amounts(offers.resources), self.clock.monotonic()
            for id_ in ids:
                known = self._seen.get(id_)
                if known is None or known.offer_ids != offers.offer_ids or not known.recalled:
                    self._seen[id_] = _Seen(offers.offer_ids, had, now)

    def abandoned(self) -> set[str]:
        """Reservations that no pod instance lives in."""
        return set(self.world.reservations) - self._in_use()

    def _in_use(self) -> set[str]:
        if self.world.cluster.deleting:
            return set()
        return {pod.reservation_id for pod in self.world.pods.values()}

    def settling(self) -> set[str]:
        """Abandoned reservations that Mesos has none of, and that no offer is needed for yet."""
        return {id_ for id_ in self._missing if not self._is_due(id_)}

    def _note_missing(self, offers: AgentOffers) -> list[str]:
        """What an agent that offers without a reservation has not, as Mesos' master believes.

        Only if the offers are newer than the end of every task that could hold it: resources in use
        are not offered.

        Returns:
            Ids of reservations that are found missing for the second time.
        """
        agent_id = offers.agent.id
        offered = reservation_ids(offers.resources, cluster=self.cluster)
        for id_ in offered:
            self._missing.pop(id_, None)
        if not self.world.newer_than_last_end(offers) or self._is_just_back(agent_id):
            return []
        found = []
        for id_ in self.abandoned() - offered:
            asked = self.world.reservations[id_]
            if asked.agent.id != agent_id or self.world.may_be_held(asked):
                continue
            if id_ not in self._missing:
                if self._is_answered(id_, offers):
                    self._missing[id_] = self.clock.monotonic()
            elif self._is_due(id_):
                found.append(id_)
        return found

    def _is_due(self, reservation_id: str) -> bool:
        """Whether the agent is to be looked at once more."""
        since = self.clock.monotonic() - self._missing[reservation_id]
        return self.world.cluster.deleting or since >= self.pace.release_arrives

    def _is_over(self, reservation_id: str) -> bool:
        """Whether that look takes too long: what is reserved for us would have been offered."""
        since = self.clock.monotonic() - self._missing[reservation_id]
        patience = self.pace.release_arrives + self.pace.absent_after
        # A deletion has no time for any of that; others look there later.
        return self.world.cluster.deleting or since >= patience

    def _is_just_back(self, agent_id: str) -> bool:
        return self.world.may_have_strays(agent_id, self.clock.time(), self.pace.stray_grace)

    def _is_answered(self, reservation_id: str, offers: AgentOffers) -> bool:
        """Whether the last offer that had it is certainly not open any more.

        It has timed out or was declined, or the agent could not offer this much beside it.
        """
        seen = self._seen.get(reservation_id)
        if seen is None or self.clock.monotonic() - seen.at >= self.pace.release_settles:
            return True
        known = self.world.agents.get(offers.agent.id)
        free = Counter(known.largest if known is not None else {})
        # What is asked to end may have ended: Mesos offers before it tells, or tells again.
        for task in self.world.on_agent(offers.agent.id):
            if task.kill_asked:
                continue
            free["cpus"] -= millis_of(task.spec.cpus)
            free["mem"] -= millis_of(task.spec.mem_mb)
        offered = _amounts(offers.resources)
        if any(offered[name] + seen.had[name] > free[name] for name in ("cpus", "mem")):
            return True
        if seen.recalled < _RECALLS:
            self._doubtful.add(reservation_id)
        return seen.recalled >= _RECALLS

    async def _recall(self, connection: Connection) -> None:
        """Decline offers that may be open still; Mesos ignores it where they are not."""
        for seen in [self._seen[id_] for id_ in sorted(self._doubtful) if id_ in self._seen]:
            seen.recalled += 1
            await connection.call(translate.decline(seen.offer_ids, self.pace.decline_short))
        self._doubtful.clear()
        self._seen = {
            id_: seen for id_, seen in self._seen.items() if id_ in self.world.reservations
        }


def _amounts(resources: Iterable[Resource]) -> Counter[str]:
    """Sums of scalars by name, in thousandths, however they are reserved."""
    found: Counter[str] = Counter()
    for resource in resources:
        found[resource.name] += resource.millis
    return found
