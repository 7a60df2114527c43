"""A drill: the scheduler, a Mesos and a disk live through a schedule of faults, and are watched.

While it goes on nothing may happen that must never happen; when the faults are over everything
must become as if there had been none; and after a delete nothing may be left.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx2

from kubedcos.api.leftovers import LOOK_EVERY, Leftovers
from kubedcos.embedded.master.app import MasterApp
from kubedcos.embedded.simulation.virtual_time import LoopClock
from kubedcos.mesos.client import Connection, Connector, SubscriptionEnded
from kubedcos.mesos.detector import ListDetector
from kubedcos.mesos.freeing import MasterOperator
from kubedcos.model.service import Goal
from kubedcos.scheduler.fencing import FencedConnector
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.scheduler.settings import UNOWNED_SECONDS, Pace
from kubedcos.state import documents
from kubedcos.state.store import StateError, Store

from .faults import Schedule, Setting, Update
from .happening import Happening
from .journal import Journal
from .link import Link, TroubledConnector
from .lock import LockedStore, Seat, ZooKeeper
from .machines import SimulatedAgent
from .options import Options, service_of
from .simulated_mesos import Behaviour, SimulatedMesos
from .stage import Crash, CrashingConnector, CrashingStore, Effects, Stage, play
from .watch import WatchedStore, Watcher

MASTER_FLAGS: Final = ("--offer_timeout=1mins", "--allocation_interval=5secs")
RESTART: Final = 5.0
"""Seconds after which a scheduler that ended by itself is started again, as by systemd."""
SETTLES_WITHIN: Final = 7200.0
"""Seconds after the last fault within which all must be well; see `Pace` for the longest waits."""
GONE_WITHIN: Final = 3600.0
COLLECTIONS: Final = 5
"""Agents are back within two minutes, and a reservation is free once the tasks that use it end."""
LOOKS_EVERY: Final = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        findings: sentences; none when all is well.
        digest: of everything that happened.
        seconds: virtual time that passed.
        kinds: how many faults of each kind there were.
        tail: the last lines of the journal.
    """

    schedule: Schedule
    findings: tuple[str, ...]
    digest: str
    seconds: float
    kinds: Mapping[str, int]
    tail: Sequence[str] = ()


class Over(Exception):
    """There is a finding; going on would tell nothing new."""


def run(schedule: Schedule) -> Outcome:
    """Live through a schedule."""

    async def story() -> Outcome:
        return await Drill(schedule).run()

    return play(story)


def agents(setting: Setting) -> list[SimulatedAgent]:
    """Machines in two data centres."""
    return [
        SimulatedAgent(host, f"dc-{host[0]}", f"{host[0]}-{1 + int(host[1:]) % 3}")
        for host in setting.hosts
    ]


def collector_of(mesos: SimulatedMesos, store: Store) -> Leftovers:
    """The collector of leftovers, which speaks to the simulated master over its own HTTP API."""
    transport = httpx2.ASGITransport(app=MasterApp(mesos.engine))
    operator = MasterOperator(ListDetector(("m1:5050",)), ("p", "s"), transport)
    return Leftovers(store, LoopClock(), lambda _: operator)


class _Watched(Scheduler):
    """The scheduler itself, looked at after each cycle."""

    watcher: Watcher
    seat: Seat

    async def _turn(self, connection: Connection) -> None:
        await super()._turn(connection)
        if not self.seat.lost.is_set():
            self.watcher.cycle(self)


class Drill(Stage):
    """One run."""

    scheduler_type = _Watched
    # Half of the time of a run would go into cycles in which nothing happened.
    pace = Pace(tick=4.0, probe_first=4.0, probe_interval=4.0)

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.journal = Journal()
        self.watched = WatchedStore(self.journal)
        self.link = Link(random.Random(schedule.seed), self.journal.message)
        setting = schedule.setting
        self.configurations = [Options(setting.nodes)]
        spec = service_of(setting, self.configurations)
        self.zookeeper = ZooKeeper()
        self.seat = Seat(self.zookeeper)
        super().__init__(spec, agents(setting), seed=schedule.seed, flags=MASTER_FLAGS)
        self.mesos.patience = setting.replace_after
        self.workload.ready_after = setting.ready_after
        self.usual: dict[str, Behaviour] = {}
        self.watcher = Watcher(self.mesos, self.watched, self.workload)
        self.link.sending = self.watcher.sending
        self.workload.asked_to_stop = self.watcher.asked_to_stop
        self._know_tasks()
        self.mesos.take = self.watcher.taking(self.mesos.take)  # type: ignore[method-assign]
        self.effects = Effects()
        self.deposed: set[asyncio.Task[None]] = set()
        self.down = RESTART
        self.begins_anew = False
        self.wants_delete = False
        self.wishes: set[asyncio.Task[None]] = set()

    def update(self, update: Update) -> bool:
        """An operator changes options: whether it is stored. The scheduler begins anew with them.

        So does the service: one write to the store, and then what a restart would do.
        """
        if self.wants_delete:
            return True
        if self.watched.failing or self.zookeeper.out_for:
            return False
        self.configurations.append(self.configurations[-1].after(update))
        self.spec = service_of(self.schedule.setting, self.configurations)
        self.workload.become(self.spec)
        self._know_tasks()
        self.begin_anew()
        return True

    def begin_anew(self) -> None:
        """The scheduler ends, and another one reads what is stored."""
        for old in self.deposed:
            old.cancel()
        if self._running is not None and not (self._running.done() or self.effects.dead):
            self.begins_anew = True
            self._running.cancel()

    def _know_tasks(self) -> None:
        """How tasks behave that are known by their names; others appear with more nodes."""
        self.watched.steps = frozenset(
            f"{plan.name}/{phase.name}/{step.name}"
            for plan in self.spec.plans
            for phase in plan.phases
            for step in phase.steps
        )
        for pod in self.spec.pods:
            for index in pod.indices:
                for task in pod.tasks:
                    name = f"{pod.instance(index)}-{task.name}"
                    if name not in self.usual:
                        self.usual[name] = self._behaviour(name)
                        self.mesos.behaviours[name] = self.usual[name]

    def _behaviour(self, name: str) -> Behaviour:
        runs_after = self.schedule.setting.runs_after
        ends = name.startswith(("bindings-", "addons-"))
        ends_after = runs_after + 0.5 if ends else None
        return Behaviour(runs_after / 2, runs_after, ends_after=ends_after)

    def _store(self, effects: Effects) -> Store:
        return CrashingStore(LockedStore(self.watched, self.seat), effects)

    def _connector(self, effects: Effects) -> Connector:
        there = TroubledConnector(self.link, self.mesos)
        return CrashingConnector(FencedConnector(there, self.seat.prove), effects)

    async def run(self) -> Outcome:
        """Live through it all; findings end it early."""
        keeper = asyncio.create_task(self._keep_running())
        try:
            await self._live(keeper)
        except Over:
            pass
        finally:
            seconds = self.clock.monotonic()
            keeper.cancel()
            for old in self.deposed:
                old.cancel()
            left = (keeper, *self.deposed, *self.wishes)
            await asyncio.gather(*left, return_exceptions=True)
            await self.close()
        findings = (*self.watcher.findings, *self.mesos.violations)
        return Outcome(
            self.schedule,
            findings,
            self.journal.digest,
            seconds,
            Counter(type(fault).__name__ for fault in self.schedule.faults),
            self.journal.tail() if findings else (),
        )

    async def _live(self, keeper: asyncio.Task[None]) -> None:
        happening = Happening(self)
        befalling = asyncio.ensure_future(happening.all())
        try:
            await self._until(befalling.done, SETTLES_WITHIN, "the faults do not end")
            await befalling
        finally:
            befalling.cancel()
            await asyncio.gather(befalling, return_exceptions=True)
        if not self.wants_delete:
            await self._until(self._settled, SETTLES_WITHIN, "it does not settle")
            # What is still under way may bring it out of order again.
            await self.clock.sleep(60)
            await self._until(self._settled, SETTLES_WITHIN, "it does not stay settled")
            if not self._beyond_help():
                self.watcher.settled(self.scheduler)
        self.delete()
        await self._until(keeper.done, GONE_WITHIN, "the delete does not end")
        await self.clock.sleep(5)
        await self._collect()
        if self.mesos.engine.state.frameworks:
            # One whose id nobody could store is forgotten by Mesos.
            await self.clock.sleep(UNOWNED_SECONDS)
        self.watcher.deleted()

    async def _collect(self) -> None:
        """What was left on agents that are back by now is collected, as the clusters' host does."""
        collector = collector_of(self.mesos, self.watched)
        for _ in range(COLLECTIONS):
            if not documents.leftovers(self.watched):
                return
            await collector.collect()
            await self.clock.sleep(LOOK_EVERY)

    def delete(self) -> None:
        """An operator wants the cluster gone, and says so again to each new scheduler."""
        self.wants_delete = True
        self.watcher.deleting = True
        if not self.running.done() and not self.effects.dead:
            self._wish()

    def _wish(self) -> None:
        wish = asyncio.ensure_future(self.scheduler.delete())
        self.wishes.add(wish)
        wish.add_done_callback(self._granted)

    def _granted(self, wish: asyncio.Task[None]) -> None:
        self.wishes.discard(wish)
        if not wish.cancelled():
            error = wish.exception()
            if error is not None and not isinstance(error, Crash | StateError):
                self.watcher.find(f"delete failed: {error!r}")

    async def _keep_running(self) -> None:
        """Start the scheduler again whenever it ends, until the cluster is deleted."""
        while True:
            self.effects, self.seat = Effects(), Seat(self.zookeeper)
            try:
                self.scheduler = scheduler = self._scheduler(self.effects)
                assert isinstance(scheduler, _Watched)
                scheduler.watcher, scheduler.seat = self.watcher, self.seat
            except StateError:
                await self.clock.sleep(RESTART)
                continue
            self.journal.note("process", b"starts")
            self._running = asyncio.create_task(self.scheduler.run())
            if self.wants_delete:
                self._wish()
            if await self._is_deposed():
                continue
            self.effects.dead = True
            error = None if self._running.cancelled() else self._running.exception()
            self.journal.note("process", f"ends: {error!r}".encode())
            await self.mesos.disconnect()
            for wish in list(self.wishes):
                wish.cancel()
            await asyncio.gather(*self.wishes, return_exceptions=True)
            if self._running.cancelled() and self.begins_anew:
                self.begins_anew = False
                continue
            if self._running.cancelled() and self.seat.over.is_set():
                await self.clock.sleep(RESTART)
                continue
            if error is None:
                return
            if not isinstance(error, Crash | StateError):
                self.watcher.find(f"the scheduler ended: {error!r}")
            await self.clock.sleep(self.down if isinstance(error, Crash) else RESTART)

    async def _is_deposed(self) -> bool:
        """Wait until the scheduler ends, or loses its place; then it runs on until it notices.

        One whose session is over without anybody else there ends, as its service does.
        """
        lost = asyncio.create_task(self.seat.lost.wait())
        over = asyncio.create_task(self.seat.over.wait())
        await asyncio.wait({self._running, lost, over}, return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        over.cancel()
        if self.seat.over.is_set() and not self.seat.lost.is_set():
            self.journal.note("process", b"has no session any more")
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._running.done():
            return False
        self.journal.note("process", b"is deposed")
        self.deposed.add(self._running)
        self._running.add_done_callback(self._noticed)
        for wish in list(self.wishes):
            wish.cancel()
        await asyncio.gather(*self.wishes, return_exceptions=True)
        return True

    def _noticed(self, old: asyncio.Task[None]) -> None:
        self.deposed.discard(old)
        error = None if old.cancelled() else old.exception()
        if error is not None and not isinstance(error, Crash | StateError | SubscriptionEnded):
            self.watcher.find(f"the deposed scheduler ended: {error!r}")

    async def _until(self, condition: Callable[[], bool], seconds: float, complaint: str) -> None:
        """Wait in virtual time; findings, and waiting in vain, end the run."""
        deadline = self.clock.monotonic() + seconds
        while not condition():
            if self.watcher.findings or self.mesos.violations:
                raise Over
            if self.clock.monotonic() >= deadline:
                self.watcher.find(f"{complaint}: {self.scheduler.snapshot()['doing']}")
                raise Over
            await self.clock.sleep(LOOKS_EVERY)

    def _settled(self) -> bool:
        """Whether the scheduler says that all is complete, and Mesos has what it is to have.

        An ensemble that lost its majority before all members stood is beyond help, and it says so.
        """
        if self.scheduler.is_complete and self._as_planned() and not self._releases():
            return True
        return self._beyond_help()

    def _beyond_help(self) -> bool:
        return any(self.workload.lost_for_good(pod) for pod in self.scheduler.quorums_lost)

    def _releases(self) -> bool:
        """Whether reservations are on the books that nobody lives in."""
        world = self.scheduler.world
        return world.reservations.keys() != {pod.reservation_id for pod in world.pods.values()}

    def _as_planned(self) -> bool:
        live = Counter(task.info.name for task in self.mesos.tasks.values() if task.live)
        return live == self.wanted()

    def wanted(self) -> Counter[str]:
        """Names of the tasks that are to run when all is well."""
        return Counter(
            f"{pod.instance(index)}-{task.name}"
            for pod in self.spec.pods
            for index in range(pod.count)
            for task in pod.tasks
            if task.goal is Goal.RUNNING
        )
