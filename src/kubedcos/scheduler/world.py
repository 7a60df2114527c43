"""The state of the world as the scheduler knows it: what is stored, and what was heard since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubedcos.model.offer import Agent, Offer, Resource
from kubedcos.model.service import ServiceSpec
from kubedcos.offers.evaluation import AgentOffers, group
from kubedcos.offers.pool import size
from kubedcos.offers.requirement import KnownAgent, Surroundings
from kubedcos.scheduler.workload import AgentPlace, Launch, RunningTask
from kubedcos.state import records
from kubedcos.state.records import (
    AgentRecord,
    ClusterRecord,
    PodRecord,
    ReservationRecord,
    StepRecord,
    TaskRecord,
)
from kubedcos.state.store import Change, Store

Record = ClusterRecord | TaskRecord | PodRecord | ReservationRecord | StepRecord | AgentRecord


@dataclass(slots=True)
class Heard:
    """What one subscription has told; forgotten with it.

    Attributes:
        offers: offers at hand by id, with the number of the event that brought them.
        events: how many events came.
        last_end: number of the event that told of the last end of a task.
    """

    offers: dict[str, tuple[int, Offer]] = field(default_factory=dict)
    events: int = 0
    last_end: int = 0


class World:
    """Records of one cluster, kept equal to the store: every change is written first."""

    def __init__(self, store: Store, spec: ServiceSpec) -> None:
        memory = records.load(store, spec.name)
        self._store = store
        self._name = spec.name
        self.cluster = memory.cluster
        self.tasks = dict(memory.tasks)
        self.pods = dict(memory.pods)
        self.reservations = dict(memory.reservations)
        self.steps = dict(memory.steps)
        self.agents = dict(memory.agents)
        self.heard = Heard()
        self.readiness: dict[str, str] = {}
        """What a component says while it is not ready, by task id."""
        self.placement: dict[str, str] = {}
        """What offer evaluation said last, by pod instance."""

    def commit(self, put: Iterable[Record] = (), remove: Iterable[Record] = ()) -> None:
        """Write records, all or none, and then believe them.

        Raises:
            StateError: nothing was written and nothing is believed.
        """
        puts, removes = tuple(put), tuple(remove)
        changes: list[Change] = [records.remove(*_address(record)) for record in removes]
        changes += [records.put(*_address(record), record) for record in puts]
        if not changes:
            return
        self._store.write(self._name, changes)
        for record in removes:
            self._table(record).pop(_address(record)[1], None)
        for record in puts:
            if isinstance(record, ClusterRecord):
                self.cluster = record
            else:
                self._table(record)[_address(record)[1]] = record

    def drop(self) -> None:
        """Forget the cluster, here and in the store."""
        self._store.drop(self._name)
        for table in (self.tasks, self.pods, self.reservations, self.steps, self.agents):
            table.clear()
        self.cluster = ClusterRecord()

    def task(self, task_id: str) -> TaskRecord | None:
        """The current task with this id."""
        return next((task for task in self.tasks.values() if task.task_id == task_id), None)

    def of_pod(self, pod_instance: str) -> tuple[TaskRecord, ...]:
        """Tasks of a pod instance that may be alive."""
        return tuple(
            task for task in self.tasks.values() if task.alive and task.pod_instance == pod_instance
        )

    @property
    def alive(self) -> tuple[TaskRecord, ...]:
        """All tasks that may be alive."""
        return tuple(task for task in self.tasks.values() if task.alive)

    def running(self) -> tuple[RunningTask, ...]:
        """Tasks that Mesos runs, as components see each other."""
        return tuple(running(task) for task in self.alive if task.state == "TASK_RUNNING")

    def surroundings(self) -> Surroundings:
        """What placement looks at."""
        placed: dict[tuple[str, int], Agent] = {
            (pod.pod, pod.index): pod.agent for pod in self.pods.values() if pod.confirmed
        }
        placed |= {(task.pod, task.index): task.agent for task in self.alive}
        known = tuple(KnownAgent(found.agent, found.largest) for found in self.agents.values())
        return Surroundings(self.cluster.local_region, known, placed)

    def take_offers(self, offers: Iterable[Offer], now: float) -> None:
        """Remember offers, and what their agents have."""
        news = tuple(offers)
        for offer in news:
            self.heard.offers[offer.id] = (self.heard.events, offer)
        changed = []
        for found in group(news):
            known = self.agents.get(found.agent.id)
            largest = _largest(known.largest if known else {}, found.resources)
            if known is None or known.agent != found.agent or known.largest != largest:
                changed.append(AgentRecord(found.agent, largest, now))
        self.commit(changed)

    def offers(self) -> tuple[AgentOffers, ...]:
        """Offers at hand by agent."""
        return group(offer for _, offer in self.heard.offers.values())

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

    def forget_offers(self, offer_ids: Iterable[str]) -> None:
        """These offers are used, declined or rescinded."""
        for id_ in offer_ids:
            self.heard.offers.pop(id_, None)

    def forget_agent(self, agent_id: str) -> None:
        """An agent is gone; its tasks are another matter."""
        known = self.agents.get(agent_id)
        if known is not None:
            self.commit(remove=[known])

    def _table(self, record: Record) -> dict[str, Any]:
        tables: dict[str, dict[str, Any]] = {
            records.TASK: self.tasks,
            records.POD: self.pods,
            records.RESERVATION: self.reservations,
            records.STEP: self.steps,
            records.AGENT: self.agents,
        }
        return tables[_address(record)[0]]


def place(agent: Agent) -> AgentPlace:
    """An agent as the workload sees it."""
    return AgentPlace(
        agent_id=agent.id,
        hostname=agent.hostname,
        address=agent.address,
        region=agent.region,
        zone=agent.zone,
        attributes=dict(agent.attributes),
    )


def launch_of(task: TaskRecord) -> Launch:
    """A task's record as the workload sees it."""
    return Launch(
        task_id=task.task_id,
        pod=task.pod,
        index=task.index,
        spec=task.spec,
        place=place(task.agent),
        ports=dict(task.ports),
        volumes=dict(task.volumes),
    )


def running(task: TaskRecord) -> RunningTask:
    """A task's record as a probe sees it."""
    return RunningTask(launch_of(task), task.state, task.addresses)


def _largest(known: Mapping[str, int], resources: Iterable[Resource]) -> dict[str, int]:
    offered: dict[str, int] = {}
    for resource in resources:
        if resource.name in ("cpus", "mem", "disk"):
            offered[resource.name] = offered.get(resource.name, 0) + size(resource)
    return {name: max(known.get(name, 0), offered.get(name, 0)) for name in {*known, *offered}}


def _address(record: Record) -> tuple[str, str]:
    match record:
        case ClusterRecord():
            return records.CLUSTER, records.CLUSTER
        case TaskRecord():
            return records.TASK, record.key
        case PodRecord():
            return records.POD, record.key
        case ReservationRecord():
            return records.RESERVATION, record.id
        case StepRecord():
            return records.STEP, record.key
        case AgentRecord():
            return records.AGENT, record.agent.id
