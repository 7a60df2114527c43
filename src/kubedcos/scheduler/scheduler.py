"""The scheduler of one cluster: keeps a subscription, feeds cycles; `desk` answers questions.

Everything runs in one event loop; nothing here is safe from another thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kubedcos.clock import Clock
from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import (
    Backoff,
    CallRefused,
    Connection,
    Connector,
    SubscriptionEnded,
    SubscriptionLost,
)
from kubedcos.mesos.detector import NoMaster
from kubedcos.scheduler import life, staging, translate, views
from kubedcos.scheduler.cycle import Cycle
from kubedcos.scheduler.departures import DepartureResult, Departures
from kubedcos.scheduler.desk import Desk
from kubedcos.scheduler.events import EventHandler, Outbox
from kubedcos.scheduler.probing import Prober, ProbeResult
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.scheduler.tally import Counted, Tally
from kubedcos.scheduler.task_updates import lost
from kubedcos.scheduler.workload import Workload
from kubedcos.scheduler.world import Heard, World, running
from kubedcos.state.store import Store

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 100
"""Events whose changes are written together: some 200 kB, within what ZooKeeper takes at once."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Nothing happened, but look again."""


Item = wire.Event | ProbeResult | DepartureResult | Wake | BaseException


class Scheduler(Desk):
    """Stages one service on Mesos and keeps it as its plans say.

    Args:
        workload: what to run.
        store: where records are kept; shared by all clusters.
        connector: makes subscriptions.
        settings: who the framework is to Mesos.
        clock: time.
        pace: waits and deadlines.
        new_id: makes the unique part of task and reservation ids.

    Raises:
        StateError: the store cannot be read.
    """

    def __init__(
        self,
        workload: Workload,
        store: Store,
        connector: Connector,
        settings: FrameworkSettings,
        clock: Clock,
        *,
        pace: Pace | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        backoff: Backoff | None = None,
    ) -> None:
        self._connector = connector
        self._pace = pace or Pace()
        self._backoff = backoff or Backoff()
        world = World(store, workload.spec, clock.time)
        self.tally = Tally()
        cycle = Cycle(workload, world, settings, clock, self._pace, new_id, self.tally)
        super().__init__(
            workload, world, settings, clock, cycle, lambda: self._inbox.put_nowait(Wake())
        )
        self._events = EventHandler(self._cycle)
        self._inbox: asyncio.Queue[Item] = asyncio.Queue()
        self._prober = Prober(workload, clock, self._pace, self._inbox.put_nowait)
        self._departures = Departures(workload, clock, self._pace, self._inbox.put_nowait)
        self._connection: Connection | None = None
        self._sentence = "not started"
        self._error = ""
        self._deleted = asyncio.Event()
        self._begun = False
        self._reconciled = False

    @property
    def is_complete(self) -> bool:
        """Whether a subscription holds and its last cycle found nothing open."""
        return self._connection is not None and self._cycle.complete

    @property
    def quorums_lost(self) -> Mapping[str, str]:
        """By pod whose quorum is lost, what is left of it and what restores it."""
        return self._cycle.mover.assessment.quorum_lost

    async def run(self) -> None:
        """Stage and keep the service until the cluster is deleted, or this is cancelled.

        Losing Mesos is no reason to return: the subscription is renewed until it holds.

        Raises:
            SubscriptionEnded: another scheduler has taken the framework over, or Mesos has removed
                it; the tasks, if any are left, are not this program's any more.
            StateError: the store fails; nothing is done that could not be stored.
        """
        self._begun = True
        for task in self.world.tasks.values():
            if not task.alive:
                self._workload.task_ended(task.task_id)
        try:
            while not self._deleted.is_set():
                await self._subscription()
        except SubscriptionEnded as error:
            self._say(str(error), error=str(error))
            raise
        finally:
            await self._prober.close()
            await self._departures.close()

    async def delete(self, wait: float | None = None) -> None:
        """Take everything down and wait until Mesos shows no trace; `run` does the work.

        Tasks are killed, volumes destroyed, resources unreserved, the framework torn down, the
        state dropped, in this order. The wish is stored: a scheduler that is started again goes on
        with it, and cancelling the wait changes nothing.

        Args:
            wait: seconds from now on for which what cannot be released is waited for; then it is
                written down as a leftover. None: `Pace.delete_wait`.
        """
        if self._deleted.is_set():
            return
        cluster = self.world.cluster
        if not cluster.deleting:
            seconds = self._pace.delete_wait if wait is None else wait
            now = self._clock.time()
            self.world.commit(
                [replace(cluster, deleting=True, deleting_since=now, delete_wait=seconds)]
            )
        self._wake()
        await self._deleted.wait()

    def wait_for_lost(self, wait: float) -> None:
        """Change how long a deletion waits for lost agents, in seconds since it was asked for."""
        self.world.commit([replace(self.world.cluster, delete_wait=wait)])
        self._wake()

    def snapshot(self) -> dict[str, Any]:
        """How the cluster stands, as plain data: see `views` for its parts."""
        plans = self._cycle.plans()
        master = self._connection.subscribed.master_info if self._connection else None
        return {
            "name": self.name,
            "role": self._settings.role,
            "framework_id": self.world.cluster.framework_id or None,
            "connected": self._connection is not None,
            "master": f"{master.hostname}:{master.port}" if master else None,
            "local_region": self.world.cluster.local_region or None,
            "deleting": self.world.cluster.deleting,
            "doing": self._sentence,
            "error": self._error or None,
            "recovery": views.recovery_view(self._cycle.mover.assessment),
            "plans": [views.plan_view(plan, self.world) for plan in plans],
            "pods": views.pod_list(self._workload.spec, self.world),
        }

    def health(self) -> life.Health:
        """At which stage of its life it is."""
        return life.health(
            self._cycle.plans(),
            begun=self._begun,
            connected=self._connection is not None,
            reconciling=not self._reconciled,
            deleting=self.world.cluster.deleting,
            doing=self._error or self._sentence,
        )

    async def _subscription(self) -> None:
        """One subscription from its beginning to its end, and the wait after it."""
        cluster = self.world.cluster
        if cluster.deleting and not cluster.framework_id and not self.world.reservations:
            self._forget()
            return
        try:
            await self._subscribed()
        except (NoMaster, SubscriptionLost, CallRefused) as error:
            # A call that was refused is as good as lost; a new subscription asks for everything.
            self.tally.subscriptions[type(error).__name__] += 1
            self._say(f"no subscription: {error}", error=str(error))
        except SubscriptionEnded as error:
            if error.removed and self.world.cluster.deleting:
                self._outlive_framework()
                return
            bare = not self.world.tasks and not self.world.reservations
            if error.removed and bare and cluster.framework_id:
                # It was new when this program ended: nothing is lost but its id.
                self.world.commit([replace(self.world.cluster, framework_id="")])
            elif error.removed or error.taken_over:
                raise
            self._say(f"Mesos refuses the framework: {error}", error=str(error))
        await self._pause(self._backoff.next())

    async def _subscribed(self) -> None:
        framework_id = self.world.cluster.framework_id
        info = translate.framework_info(self._settings, framework_id)
        subscribe = wire.CallSubscribe(framework_info=info)
        connection = Counted(await self._connector.connect(subscribe), self.tally)
        self.tally.subscriptions["begun"] += 1
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(connection.close)
            stack.callback(self._unsubscribed)
            self._note_subscribed(connection)
            if not framework_id:
                kept = self.world.cluster.framework_id
                await connection.call(translate.update_framework(self._settings, kept))
            reader = asyncio.create_task(self._read(connection))
            stack.push_async_callback(_cancelled, reader)
            while not self._deleted.is_set():
                await self._turn(connection)

    def _note_subscribed(self, connection: Connection) -> None:
        """Keep the framework id before any offer is accepted under it."""
        subscribed = connection.subscribed
        domain = subscribed.master_info.domain if subscribed.master_info else None
        region, _ = translate.region_and_zone(domain)
        now = self.world.cluster.created_at or self._clock.time()
        cluster = replace(
            self.world.cluster,
            framework_id=subscribed.framework_id.value,
            local_region=region,
            created_at=now,
        )
        if cluster != self.world.cluster:
            self.world.commit([cluster])
        self._connection = connection
        self._error = ""
        self._backoff.reset()
        self.world.heard = Heard()
        self._inbox = asyncio.Queue()
        self._prober.redirect(self._inbox.put_nowait)
        self._departures.redirect(self._inbox.put_nowait)
        self._reconciled = False
        self._cycle.begin()

    def _unsubscribed(self) -> None:
        self._connection = None
        self.world.heard = Heard()

    async def _turn(self, connection: Connection) -> None:
        """Take in everything that came, then run one cycle."""
        began = self._clock.monotonic()
        if self.world.cluster.deleting:
            self._prober.keep((), ())
            self._departures.keep({}, ())
            sentence = await self._cycle.dismantle(connection)
            if not sentence:
                self._cycle.leave_tasks()
                await connection.call(translate.teardown())
                self._forget()
                return
        else:
            sentence = await self._cycle.stage(connection)
            asked = tuple(running(task) for task in staging.to_probe(self.world))
            peers = self.world.running()
            self._prober.keep(asked, peers)
            self._departures.keep(self._cycle.departing(), peers)
        self.tally.cycles.observe(self._clock.monotonic() - began)
        self._reconciled = self._reconciled or not self._cycle.reconciliation.open
        self._say(sentence)
        item: Item | None = await self._next_item()
        while item is not None:
            await self._take_some(connection, item)
            item = None if self._inbox.empty() else self._inbox.get_nowait()

    async def _take_some(self, connection: Connection, first: Item) -> None:
        """Take in what is at hand, store it in one write, and only then answer."""
        outbox = Outbox(connection.subscribed)
        with self.world.batch():
            await self._take(outbox, first)
            for _ in range(_AT_ONCE - 1):
                if self._inbox.empty():
                    break
                await self._take(outbox, self._inbox.get_nowait())
        for call in outbox.calls:
            await connection.call(call)

    async def _next_item(self) -> Item | None:
        tick = self._pace.idle_tick if self._cycle.complete else self._pace.tick
        try:
            async with asyncio.timeout(tick):
                return await self._inbox.get()
        except TimeoutError:
            return None

    async def _take(self, connection: Connection, item: Item) -> None:
        match item:
            case wire.Event():
                await self._events.take(connection, item)
            case DepartureResult():
                self._cycle.answered(item)
            case ProbeResult():
                self._events.probed(item)
            case BaseException():
                raise item
            case Wake():
                pass

    async def _read(self, connection: Connection) -> None:
        """Bring events to the inbox; the end of the stream is an item like any other."""
        inbox = self._inbox
        try:
            while True:
                inbox.put_nowait(await connection.next_event())
        except Exception as error:
            inbox.put_nowait(error)

    async def _pause(self, seconds: float) -> None:
        """Wait; the wish to delete ends the wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not isinstance(await self._inbox.get(), Wake):
                    pass

    def _outlive_framework(self) -> None:
        """Go on with a deletion although Mesos has removed the framework.

        Mesos ends a framework's tasks with it; reservations and volumes stay, and a new framework
        of the role releases them.
        """
        now = self._clock.time()
        message = "Mesos has removed the framework"
        self._cycle.leave_tasks()
        ended = [lost(task, message, now, self._pace) for task in self.world.alive]
        self.world.commit([replace(self.world.cluster, framework_id=""), *ended])
        for task in ended:
            self._workload.task_ended(task.task_id)

    def _forget(self) -> None:
        for task in self.world.alive:
            self._workload.task_ended(task.task_id)
        self.world.drop()
        self._say("deleted")
        self._deleted.set()

    def _say(self, sentence: str, *, error: str = "") -> None:
        self._error = error
        if sentence != self._sentence:
            self._sentence = sentence
            _log.info("%s: %s", self.name, sentence, extra={"cluster": self.name})


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
