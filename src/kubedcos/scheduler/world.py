"""The state of the world as the scheduler knows it: what is stored, and what was heard since."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from kubedcos.model.offer import Agent, Offer
from kubedcos.model.service import ServiceSpec
from kubedcos.offers.evaluation import AgentOffers, Outcome, group
from kubedcos.offers.requirement import KnownAgent, Surroundings
from kubedcos.scheduler import history, known_agents
from kubedcos.scheduler.heard import Heard
from kubedcos.scheduler.history import Considered
from kubedcos.scheduler.task_index import TaskIndex, held, launch_of, place, running
from kubedcos.scheduler.workload import RunningTask
from kubedcos.state import documents, records
from kubedcos.state.documents import Record, address
from kubedcos.state.records import (
    AgentRecord,
    ClusterRecord,
    EventsRecord,
    LeftoverRecord,
    PodRecord,
    RecoveryRecord,
    ReservationRecord,
    TaskRecord,
)
from kubedcos.state.store import Change, StateError, Store

_UNAVAILABILITY_LASTS: Final = 300.0
__all__ = ["Heard", "Record", "World", "launch_of", "place", "running"]


class World:
    """Records of one cluster, kept equal to the store: every change is written first.

    Args:
        store: where they are.
        spec: the service; its name is the cluster's.
        now: the time, in seconds since 1970.
    """

    def __init__(
        self, store: Store, spec: ServiceSpec, now: Callable[[], float] = time.time
    ) -> None:
        memory = documents.load(store, spec.name)
        self._store = store
        self._name = spec.name
        self.cluster = memory.cluster
        self.tasks = dict(memory.tasks)
        self.pods = dict(memory.pods)
        self.reservations = dict(memory.reservations)
        self.steps = dict(memory.steps)
        self.agents = dict(memory.agents)
        self.recovery = dict(memory.recovery)
        self._index = TaskIndex(self.tasks.values(), self.pods.values())
        self._known: tuple[KnownAgent, ...] | None = None
        self._addresses = known_agents.Addresses(self.agents.values())
        self._batch: dict[tuple[str, str], Change] | None = None
        self._dropped = False
        self.interruptions = dict(memory.interruptions)
        self.actions = dict(memory.actions)
        self.events = dict(memory.events)
        self.sizes = {kind: dict(found) for kind, found in memory.sizes.items()}
        """Bytes of each document by kind and key."""
        self._now = now
        self.heard = Heard()
        self.readiness: dict[str, str] = {}
        """What a component says while it is not ready, by task id."""
        self.placement: dict[str, Outcome] = {}
        """What offer evaluation said last, by pod instance."""
        self.waits: Mapping[str, str] = {}
        """What recovery waits for, by pod instance."""
        self.blocked: frozenset[str] = frozenset()
        """Pod instances that must not be launched where they would go by themselves."""
        self.maintenance: Mapping[str, float] = {}
        """Agents that are about to be maintained, and from when on."""
        self.considered: dict[str, Considered] = {}
        """The last offers that each pod instance was held against."""
        self.leaving: dict[str, str] = {}
        """What a pod instance that is to go waits for."""
        self.rollout: dict[str, str] = {}
        """What the restart of an outdated pod instance waits for."""

    def commit(self, put: Iterable[Record] = (), remove: Iterable[Record] = ()) -> None:
        """Write records, all or none, and then believe them.

        Raises:
            StateError: nothing was written and nothing is believed.
        """
        puts, removes = tuple(put), tuple(remove)
        if self._dropped and (puts or removes):
            raise StateError(f"cluster {self._name} was deleted; nothing of it is stored any more")
        told, notable = self._told(puts)
        changes: list[Change] = [documents.remove(*address(record)) for record in removes]
        changes += [documents.put(*address(record), record) for record in (*puts, *notable)]
        if not changes:
            return
        if self._batch is None:
            self._store.write(self._name, changes)
        else:
            self._batch.update({(change.kind, change.key): change for change in changes})
        self.events |= told
        for change in changes:
            if change.value is None:
                self.sizes.get(change.kind, {}).pop(change.key, None)
            else:
                self.sizes.setdefault(change.kind, {})[change.key] = len(change.value)
        for record in removes:
            self._believe(record, gone=True)
        for record in puts:
            self._believe(record)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Write everything that is committed within at its end, all or none.

        Until then it is believed and not stored: nobody may be told anything within.

        Raises:
            StateError: nothing was written, and more is believed than is stored; end the program.
        """
        self._batch = {}
        try:
            yield
        finally:
            changes, self._batch = tuple(self._batch.values()), None
            if changes:
                self._store.write(self._name, changes)

    def _believe(self, record: Record, *, gone: bool = False) -> None:
        if isinstance(record, ClusterRecord):
            self.cluster = ClusterRecord() if gone else record
            return
        table, key = self._table(record), address(record)[1]
        old = table.pop(key, None) if gone else table.get(key)
        if not gone:
            table[key] = record
        if isinstance(record, TaskRecord):
            self._index.note(old, None if gone else record)
        elif isinstance(record, PodRecord) and gone:
            self._index.forget_pod(record)
        elif isinstance(record, PodRecord):
            self._index.note_pod(record)
        elif isinstance(record, AgentRecord):
            self._known = None
            self._addresses.note(old, None if gone else record)

    def tell(self, instance: str, what: str) -> None:
        """Remember something of a pod instance; it is stored with the next notable change."""
        known = self.events.get(instance)
        self.events[instance] = history.added(known, instance, self._now(), what)

    def _told(
        self, puts: Iterable[Record]
    ) -> tuple[dict[str, EventsRecord], tuple[EventsRecord, ...]]:
        """What these changes tell of pod instances, and the part that has to be written."""
        told: dict[str, EventsRecord] = {}
        notable = set()
        for record in puts:
            if not isinstance(record, TaskRecord):
                continue
            instance = record.pod_instance
            for change in history.changes(self.tasks.get(record.key), record):
                known = told.get(instance) or self.events.get(instance)
                told[instance] = history.added(known, instance, self._now(), change.what)
                if change.notable:
                    notable.add(instance)
        return told, tuple(told[instance] for instance in sorted(notable))

    def leave_behind(self, left: Iterable[LeftoverRecord]) -> None:
        """Write down what the cluster leaves behind; writing it again changes nothing.

        Raises:
            StateError: nothing was written.
        """
        changes = [documents.put(records.LEFTOVER, record.id, record) for record in left]
        if changes:
            self._store.write(records.LEFTOVERS, changes)

    def drop(self) -> None:
        """Forget the cluster, here and in the store."""
        self._store.drop(self._name)
        self._dropped = True
        for table in self._tables().values():
            table.clear()
        self._index = TaskIndex((), ())
        self._known = None
        self._addresses = known_agents.Addresses(())
        self.cluster = ClusterRecord()

    def task(self, task_id: str) -> TaskRecord | None:
        """The current task with this id."""
        return self._index.by_id(task_id)

    def of_pod(self, pod_instance: str) -> tuple[TaskRecord, ...]:
        """Tasks of a pod instance that may be alive."""
        return self._index.of_pod(pod_instance)

    def on_agent(self, agent_id: str) -> tuple[TaskRecord, ...]:
        """Tasks on an agent that may be alive."""
        return self._index.on_agent(agent_id)

    @property
    def alive(self) -> tuple[TaskRecord, ...]:
        """All tasks that may be alive."""
        return tuple(self._index.alive.values())

    def is_unready(self, task: TaskRecord) -> bool:
        """Whether this is a current task whose component has to be asked."""
        return self._index.unready.get(task.key) is task

    @property
    def unready(self) -> tuple[TaskRecord, ...]:
        """Tasks whose components have to be asked whether they are ready."""
        return tuple(self._index.unready.values())

    def recovery_of(self, pod: str, index: int) -> RecoveryRecord:
        """What is wanted of a pod instance; the empty record when nothing is."""
        return self.recovery.get(f"{pod}-{index}", RecoveryRecord(pod, index))

    def paused(self, task: TaskRecord) -> bool:
        """Whether an operator has paused it."""
        found = self.recovery.get(task.pod_instance)
        return found is not None and task.spec.name in found.paused

    def running(self) -> tuple[RunningTask, ...]:
        """Tasks that Mesos runs, as components see each other."""
        return self._index.running()

    def surroundings(self) -> Surroundings:
        """What placement looks at; `placed` is as it stands, not as it stood."""
        if self._known is None:
            self._known = tuple(
                KnownAgent(found.agent, found.largest)
                for found in self.agents.values()
                if found.lost_at is None
            )
        return Surroundings(
            self.cluster.local_region, self._known, self._index.placed, held(self.alive)
        )

    def take_offers(self, offers: Iterable[Offer], now: float) -> None:
        """Remember offers, and what their agents have."""
        news = tuple(offers)
        ports = {offer.agent.id: offer.port for offer in news}
        for offer in news:
            self.heard.take_offer(offer)
        changed = []
        others: dict[str, Agent] = {}
        for found in group(news):
            agent = found.agent
            known = self.agents.get(agent.id)
            seen = known_agents.offered(known, agent, ports[agent.id], found.resources)
            if seen.lost_at is not None:
                seen = self._returned(seen, now)
            if seen != known:
                changed.append(replace(seen, seen_at=now))
            others |= dict.fromkeys(self._addresses.others(seen), agent)
            if found.unavailable_from is None:
                self.heard.unavailable.pop(agent.id, None)
            else:
                self.heard.unavailable[agent.id] = (found.unavailable_from, now)
        self.commit(changed)
        for agent_id, heir in others.items():
            self.lose_agent(self.agents[agent_id].agent, now)
            self.forget_agent(agent_id, heir)

    def offers(self) -> tuple[AgentOffers, ...]:
        """Offers at hand by agent."""
        return self.heard.grouped()

    def ask_to_end(self, tasks: Iterable[TaskRecord]) -> None:
        """Store the wish that tasks end."""
        self.commit(replace(task, kill_asked=True) for task in tasks if not task.kill_asked)

    def newer_than_last_end(self, offers: AgentOffers) -> bool:
        """Whether these offers were made after the last end of a task was told."""
        return all(
            self.heard.offers[id_][0] > self.heard.last_end
            for id_ in offers.offer_ids
            if id_ in self.heard.offers
        )

    def may_be_held(self, asked: ReservationRecord) -> bool:
        """Whether a task of ours that may be alive could use a reservation.

        Tasks that were intended after their pod instance had asked for another one use that.
        """
        pod = asked.pod_instance
        tasks = [task for task in self.of_pod(pod) if task.agent.id == asked.agent.id]
        home = self.pods.get(pod)
        now = self.reservations.get(home.reservation_id) if home is not None else None
        if now is None or now.id == asked.id:
            return bool(tasks)
        return any(task.intended_at < now.asked_at for task in tasks)

    def forget_offers(self, offer_ids: Iterable[str]) -> None:
        """These offers are used, declined or rescinded."""
        for id_ in offer_ids:
            self.heard.forget_offer(id_)

    def lose_agent(self, agent: Agent, at: float) -> None:
        """An agent is out of reach; its tasks are another matter."""
        known = self.agents.get(agent.id, AgentRecord(agent, seen_at=at))
        if known.lost_at is None:
            self.commit(
                [replace(known, lost_at=at)], known_agents.long_lost(self.agents.values(), at)
            )

    def forget_agent(self, agent_id: str, heir: Agent | None = None) -> None:
        """An agent is no more: nor are reservations there, unless its heir offers them.

        Where one of ours may run or has its home, recovery has its say first.

        Args:
            agent_id: the agent.
            heir: who has its address now, perhaps with reservations that its disk has kept.
        """
        known = self.agents.get(agent_id)
        homes = (home.agent.id for home in self.pods.values() if not self.cluster.deleting)
        if known is None or agent_id in homes or self.on_agent(agent_id):
            return
        left = [asked for asked in self.reservations.values() if asked.agent.id == agent_id]
        if heir is None:
            self.commit(remove=[known, *left])
        else:
            self.commit([replace(asked, agent=heir) for asked in left], [known])

    def unheard_agents(self) -> list[str]:
        """Ids of agents that Mesos has said nothing of: ours run on none, and no offer came."""
        return [
            agent_id
            for agent_id, known in self.agents.items()
            if not self.on_agent(agent_id)
            and (known.lost_at is not None or agent_id not in self.heard.offering)
        ]

    def is_lost(self, agent: Agent) -> bool:
        """Whether an agent is known to be out of reach."""
        known = self.agents.get(agent.id)
        return known is not None and known.lost_at is not None

    def regain_agent(self, agent_id: str, at: float) -> None:
        """An agent is in reach again."""
        known = self.agents.get(agent_id)
        if known is not None and known.lost_at is not None:
            self.commit([self._returned(known, at)])

    def may_have_strays(self, agent_id: str, now: float, grace: float) -> bool:
        """Whether tasks that were given up may still hold resources of an agent.

        Args:
            agent_id: of the agent.
            now: seconds since 1970.
            grace: seconds after its return for which nothing is known of them yet.
        """
        known = self.agents.get(agent_id)
        back = known.returned_at if known is not None else None
        # A return that is yet to come was written by a clock that has been set back since.
        just_back = back is not None and 0 <= now - back < grace
        return just_back or agent_id in self.heard.strays.values()

    def _returned(self, known: AgentRecord, at: float) -> AgentRecord:
        self.heard.returned.add(known.agent.id)
        self.heard.away.pop(known.agent.id, None)
        return known_agents.returned(known, at)

    def maintained(self, lead: float, now: float) -> dict[str, float]:
        """Agents that are to be maintained within `lead` seconds, and from when on.

        Mesos repeats what it wants; what it has not repeated for a while is off.
        """
        return {
            agent_id: start
            for agent_id, (start, heard_at) in self.heard.unavailable.items()
            if start - lead <= now and now - heard_at < _UNAVAILABILITY_LASTS
        }

    def _table(self, record: Record) -> dict[str, Any]:
        return self._tables()[address(record)[0]]

    def _tables(self) -> dict[str, dict[str, Any]]:
        return {
            records.TASK: self.tasks,
            records.POD: self.pods,
            records.RESERVATION: self.reservations,
            records.STEP: self.steps,
            records.AGENT: self.agents,
            records.RECOVERY: self.recovery,
            records.INTERRUPTION: self.interruptions,
            records.ACTION: self.actions,
            records.EVENTS: self.events,
        }
