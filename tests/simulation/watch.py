"""What must never happen, and what must be so when the faults are over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from kubedcos.embedded.simulation.virtual_time import VirtualLoop
from kubedcos.mesos import messages as wire
from kubedcos.model.service import ServiceSpec
from kubedcos.offers.requirement import RESERVATION_LABEL
from kubedcos.scheduler.invariants import broken, quorum_of
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.state import documents, records
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import ReservationRecord, StepRecord, TaskRecord
from kubedcos.state.store import Change, Deposed, StateError

from .fake_workload import FakeWorkload
from .journal import Journal
from .simulated_mesos import SimulatedMesos, SimulatedTask

CLUSTER: Final = "kubernetes"
_NEWS: Final = 6.0
"""Seconds for which it need not be known that a member is gone: its others were asked before."""

_TASK: Final = msgspec.json.Decoder(TaskRecord)
_STEP: Final = msgspec.json.Decoder(StepRecord)
_RESERVATION: Final = msgspec.json.Decoder(ReservationRecord)


class WatchedStore:
    """A disk that can be full or slow, and of which everything that is written is looked at.

    Attributes:
        failing: ``""``, ``before`` or ``after``: whether a write that fails was carried out all
            the same. Its writer cannot know, and has to end, as with ZooKeeper.
        slow: seconds for which a write blocks.
        tasks: task ids by key of the record, as stored; `reservations` their ids.
        steps: keys of the steps that the service's own plans have.
        found: what of the stored must not be.
    """

    def __init__(self, journal: Journal) -> None:
        self._disk = MemoryStore()
        self._journal = journal
        self.failing = ""
        self.slow = 0.0
        self.tasks: dict[str, str] = {}
        self.reservations: dict[str, str] = {}
        self.steps: frozenset[str] = frozenset()
        self._completed: set[str] = set()
        self.found: list[str] = []

    def clusters(self) -> tuple[str, ...]:
        return self._disk.clusters()

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        if self.failing:
            raise StateError("the disk cannot be read")
        return self._disk.read(cluster, kind)

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        self._block()
        if self.failing == "before":
            raise StateError("the disk is full")
        for change in changes:
            self._journal.note(f"store {change.kind} {change.key}", change.value or b"")
            self._look(change)
        self._disk.write(cluster, changes)
        if self.failing:
            raise Deposed("the outcome of a write is open")

    def drop(self, cluster: str) -> None:
        self._block()
        if self.failing:
            raise StateError("the disk is full")
        self._journal.note("store", b"dropped")
        self.tasks.clear()
        self.reservations.clear()
        self._completed.clear()
        self._disk.drop(cluster)

    def close(self) -> None:
        pass

    def ensemble_stood(self, members: int) -> bool:
        """Whether every etcd member has been ready once."""
        return sum(key.startswith("deploy/etcd/") for key in self._completed) == members

    def _block(self) -> None:
        if self.slow:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.pass_time(self.slow)

    def _look(self, change: Change) -> None:
        if change.kind == records.TASK:
            if change.value is None:
                self.tasks.pop(change.key, None)
            else:
                self.tasks[change.key] = _TASK.decode(change.value).task_id
        elif change.kind == records.RESERVATION:
            if change.value is None:
                self.reservations.pop(change.key, None)
            else:
                self.reservations[change.key] = _RESERVATION.decode(change.value).pod_instance
        elif change.kind == records.STEP:
            if change.value is not None and _STEP.decode(change.value).was_complete:
                self._completed.add(change.key)
            elif change.key in self._completed:
                self._completed.discard(change.key)
                if change.key in self.steps:
                    self.found.append(f"step {change.key} forgets that it was complete")


class Watcher:
    """Looks at every call, at every cycle, and at the end."""

    def __init__(self, mesos: SimulatedMesos, store: WatchedStore, workload: FakeWorkload) -> None:
        self._mesos = mesos
        self._store = store
        self._workload = workload
        self._spared: dict[str, float] = {}
        self.deleting = False
        self.cycles = 0
        self._found: list[str] = []

    @property
    def findings(self) -> list[str]:
        """Everything that must not be, in the order in which it was found."""
        return [*self._found, *self._store.found]

    def find(self, sentence: str) -> None:
        """Note a finding."""
        self._found.append(f"at {self._mesos.now:.3f}: {sentence}")

    def taking(
        self, take: Callable[[wire.Call], Awaitable[None]]
    ) -> Callable[[wire.Call], Coroutine[None, None, None]]:
        """The master's way to take calls, which are looked at first."""

        async def looked_at(call: wire.Call) -> None:
            if call.accept is not None:
                self._accept(call.accept)
            await take(call)

        return looked_at

    def sending(self, call: wire.Call) -> None:
        """A call is on its way; what befalls it there is nobody's fault."""
        if call.kill is not None:
            self._kill(call.kill.task_id.value)

    def asked_to_stop(self, instance: str) -> None:
        """The scheduler asks whether a member can be spared at this moment."""
        if len(self._serving(instance)) >= self._quorum:
            self._spared[instance] = self._mesos.now

    def cycle(self, scheduler: Scheduler) -> None:
        """A cycle has ended: what is believed is what is stored."""
        self.cycles += 1
        if self.cycles > 200_000:
            self.find("cycles without end")
        stored = self._store.tasks
        tasks = scheduler.world.tasks
        if len(stored) != len(tasks) or any(
            stored.get(key) != task.task_id for key, task in tasks.items()
        ):
            self.find(f"believed {sorted(tasks)}; stored {sorted(stored)}")
        for breach in broken(self._spec, scheduler.world):
            self.find(f"{breach.invariant}: {breach.text}")

    def settled(self, scheduler: Scheduler) -> None:
        """All is complete, and stays so."""
        live = {task.info.task_id.value: task for task in self._mesos.tasks.values() if task.live}
        for task in scheduler.world.tasks.values():
            if task.alive and task.task_id not in live:
                self.find(f"{task.task_id} is believed to be {task.state}; it has ended")
            elif not task.alive and task.task_id in live:
                self.find(f"{task.task_id} is believed to have ended; it runs")
        self._compare_with_disk(scheduler)
        self._look_at_reservations(scheduler)
        self._look_at_wishes(scheduler)
        self._look_at_options(live.values())
        unsent = [task.info.name for task in live.values() if task.unsent]
        if unsent:
            self.find(f"updates of {unsent} are not acknowledged")

    def deleted(self) -> None:
        """The cluster was deleted, and nothing of it is left."""
        mesos = self._mesos
        # A master that leads after TEARDOWN does not know of it: what nobody ever told us of, and
        # comes back with its agent then, brings the framework back, too.
        strangers = {name for name in mesos.live if name.startswith("stranger")}
        if mesos.engine.state.frameworks and not strangers:
            self.find("the framework is left")
        if left := sorted(set(mesos.live) - strangers):
            self.find(f"{left} are left")
        # What was on agents that stayed away was written down, and collected when they were back.
        # Of those that are gone for good the note stays, for a person to have it forgotten.
        gone = mesos.engine.state.gone
        noted = documents.leftovers(self._store).values()
        if waits := sorted(note.id for note in noted if note.agent.id not in gone):
            self.find(f"{', '.join(waits)} are not collected")
        ids = {_reservation_id(part) for part in mesos.reserved()}
        if ids:
            self.find(f"reservations are left: {', '.join(sorted(ids))}")
        if set(self._store.clusters()) - {records.LEFTOVERS}:
            self.find("records are left")

    def _accept(self, body: wire.CallAccept) -> None:
        """No launch without stored intent, and no reservation without an owner."""
        for operation in body.operations:
            for info in operation.launch.task_infos if operation.launch else ():
                if info.task_id.value not in self._store.tasks.values():
                    self.find(f"{info.task_id.value} is launched without a stored intent")
            for part in operation.reserve.resources if operation.reserve else ():
                if _reservation_id(part) not in self._store.reservations:
                    self.find(f"{part.name} is reserved without a stored owner")

    @property
    def _spec(self) -> ServiceSpec:
        return self._workload.spec

    @property
    def _quorum(self) -> int:
        return quorum_of(self._spec.pod("etcd").count)

    def _serving(self, but: str) -> list[str]:
        """Members other than this one that run and can be reached."""
        return [
            other.info.name
            for other in self._mesos.tasks.values()
            if other.live
            and other.info.name.startswith("etcd-")
            and other.info.name.rpartition("-")[0] != but
            and other.state == "TASK_RUNNING"
            and self._mesos.reachable(other.agent.hostname)
        ]

    def _kill(self, task_id: str) -> None:
        """Never fewer etcd members by our own action than make a quorum."""
        task = self._mesos.tasks.get(task_id)
        members = self._spec.pod("etcd").count
        if self.deleting or members == 1 or task is None or not task.live:
            return
        instance = task.info.name.rpartition("-")[0]
        if not instance.startswith("etcd-") or instance in self._workload.left:
            return
        if not self._store.ensemble_stood(members):
            return
        others = self._serving(instance)
        serving = len(others) + (task.state == "TASK_RUNNING")
        if not serving >= self._quorum > len(others):
            return
        if self._mesos.now - self._spared.get(instance, -_NEWS) >= _NEWS:
            self.find(f"{task_id} is killed, and {len(others)} of {members} members are left")

    def _compare_with_disk(self, scheduler: Scheduler) -> None:
        world, stored = scheduler.world, documents.load(self._store, CLUSTER)
        for name in ("cluster", "tasks", "pods", "reservations", "steps", "agents"):
            if getattr(world, name) != getattr(stored, name):
                self.find(f"{name} are believed to be other than what is stored")

    def _look_at_wishes(self, scheduler: Scheduler) -> None:
        """Whatever operators asked was done or taken back."""
        world = scheduler.world
        if world.interruptions:
            self.find(f"wishes are left: {', '.join(sorted(world.interruptions))}")
        left = [it.key for it in world.recovery.values() if it.paused or it.emptying is not None]
        if left:
            self.find(f"{sorted(left)} are paused or not in use")
        if self._workload.cordoned:
            self.find(f"{sorted(self._workload.cordoned)} are left cordoned")

    def _look_at_options(self, live: Iterable[SimulatedTask]) -> None:
        """Everything runs as the last options say."""
        sizes = {
            f"{pod.instance(index)}-{task.name}": task.cpus
            for pod in self._spec.pods
            for index in pod.indices
            for task in pod.tasks
        }
        for task in live:
            found = [part.scalar for part in task.info.resources if part.name == "cpus"]
            cpus = sum(part.value for part in found if part is not None)
            if cpus != sizes.get(task.info.name):
                self.find(f"{task.info.name} has {cpus} CPUs, not {sizes.get(task.info.name)}")

    def _look_at_reservations(self, scheduler: Scheduler) -> None:
        wanted = {pod.reservation_id for pod in scheduler.world.pods.values()}
        known = set(scheduler.world.reservations)
        real = {_reservation_id(part) for part in self._mesos.reserved()}
        if real - wanted:
            self.find(f"reservations {sorted(real - wanted)} belong to nobody")
        if wanted - real:
            self.find(f"reservations {sorted(wanted - real)} are not there")
        if known != wanted:
            self.find(f"reservations known: {sorted(known)}; in use: {sorted(wanted)}")


def _reservation_id(part: wire.Resource) -> str:
    labels = part.reservations[-1].labels if part.reservations else None
    found = {label.key: label.value or "" for label in labels.labels} if labels else {}
    return found.get(RESERVATION_LABEL, "")
