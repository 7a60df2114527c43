"""The clusters that one service hosts: each is a Mesos framework with a scheduler of its own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubedcos.api import capacity, configurations
from kubedcos.api.capacity import Ask
from kubedcos.api.configurations import Configurations
from kubedcos.api.hosted import Hosted, HostedWorkload, Links, MakeWorkload, Unknown
from kubedcos.api.leftovers import Leftovers, Operator
from kubedcos.clock import Clock
from kubedcos.config import cluster as options_file
from kubedcos.config.changes import differences
from kubedcos.config.clashes import clashes
from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.lineage import Lineage
from kubedcos.errors import InvalidInput, KubedcosError, Problem, Refused
from kubedcos.kubernetes.delivery import Delivery
from kubedcos.mesos.client import Connector
from kubedcos.mesos.operator import AgentsUnknown
from kubedcos.offers.capacity import Report
from kubedcos.scheduler import life
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.scheduler.settings import FrameworkSettings, Pace, master_operator
from kubedcos.state import documents
from kubedcos.state.records import LeftoverRecord
from kubedcos.state.store import StateError, Store

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Clusters:
    """Makes, keeps and removes clusters. Everything happens in one event loop.

    Attributes:
        make_workload: makes what a cluster runs.
        framework: who a cluster is to Mesos.
        connect: makes its way to Mesos.
        ask: asks Mesos for its agents; without it nobody checks whether a cluster fits.
        leftovers: what deleted clusters have left behind.
        operator: makes the way to Mesos' masters for an operator.
        pace: of all schedulers.
        broken: set when the store failed under a cluster; the service must end then.
        unreadable: clusters of the store that cannot be gone on with, and why; they are left as
            they are.
        changing: held while a cluster is made or changed.
    """

    store: Store
    clock: Clock
    make_workload: MakeWorkload
    framework: Callable[[ClusterOptions], FrameworkSettings]
    connect: Callable[[FrameworkSettings], Connector]
    ask: Ask | None = None
    leftovers: Leftovers = field(init=False)
    operator: Callable[[FrameworkSettings], Operator] = master_operator
    pace: Pace = field(default_factory=Pace)
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    unreadable: dict[str, str] = field(default_factory=dict)
    _hosted: dict[str, Hosted] = field(default_factory=dict)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        """Leftovers are of all clusters that there ever were."""
        self.leftovers = Leftovers(
            self.store, self.clock, self._operator_for, self.pace.release_arrives
        )

    async def restore(self) -> None:
        """Go on with the clusters that the store knows."""
        for name in documents.cluster_names(self.store):
            text = documents.options(self.store, name)
            if text is None:
                self.unreadable[name] = "it has records and no options"
                _log.error("cluster %s has records and no options; it is left alone", name)
                continue
            try:
                await self._host(
                    options_file.validate(json.loads(text), f"stored options of {name}")
                )
            except (KubedcosError, ValueError) as error:
                # One cluster that cannot be restored must not take the others along.
                self.unreadable[name] = str(error)
                _log.exception("cluster %s cannot be restored", name)

    async def check(self, data: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Whether a cluster with these options fits on Mesos' agents as they are; see `capacity`.

        Raises:
            InvalidInput: the options are wrong, or clash with those of another cluster.
            AgentsUnknown: no master says which agents there are.
            Refused: this service asks no master.
        """
        options = options_file.validate(dict(data), where)
        self.refuse_clashes(options, where)
        if self.ask is None:
            raise Refused("this service does not ask Mesos for its agents")
        report, problems = await self._judge(options, self.ask)
        return capacity.view(options, report, problems)

    async def create(
        self, data: Mapping[str, Any], where: str, *, wait_for_capacity: bool = False
    ) -> tuple[Hosted, bool]:
        """The cluster with these options, and whether it is new.

        A Mesos that does not say which agents it has is no reason to refuse: a cluster waits for
        its agents as it waits for Mesos itself.

        Raises:
            InvalidInput: the options are wrong, or clash with those of another cluster.
            Refused: a cluster of this name has other options, or is being deleted; or it does not
                fit, and `wait_for_capacity` does not say to make it all the same.
            KubedcosError: what it needs is not there; nothing was kept.
        """
        options = options_file.validate(dict(data), where)
        self._not_unreadable(options.name)
        async with self.changing:
            known = self._hosted.get(options.name)
            if known is None:
                self.refuse_clashes(options, where)
                if not wait_for_capacity:
                    await self.refuse_unfit(options)
                return await self._host(options, is_new=True), True
        if known.deleting is not None:
            raise Refused(f"cluster {options.name} is being deleted")
        if known.options != options:
            found = ", ".join(str(change) for change in differences(known.options, options))
            raise Refused(
                f"cluster {options.name} exists with other options ({found}); `kubedcos cluster "
                "update` changes a running cluster"
            )
        return known, False

    async def refuse_unfit(self, options: ClusterOptions) -> None:
        """Refuse options with which a cluster does not fit.

        Of one that does not fit as it is, what is no worse than before is not refused.

        Raises:
            Refused: with what binds.
        """
        if self.ask is None:
            return
        try:
            _, problems = await self._judge(options, self.ask)
            known = self._hosted.get(options.name)
            if problems and known is not None:
                _, before = await self._judge(known.options, self.ask)
                ailing = {problem.where for problem in before}
                problems = [problem for problem in problems if problem.where not in ailing]
        except AgentsUnknown as error:
            _log.warning("cluster %s: nobody says whether it fits: %s", options.name, error)
            return
        if problems:
            raise Refused(
                f"cluster {options.name} does not fit:\n"
                + "\n".join(str(problem) for problem in problems)
                + "\n--wait-for-capacity goes on all the same, and waits for agents."
            )

    async def _judge(self, options: ClusterOptions, ask: Ask) -> tuple[Report, list[Problem]]:
        known = self._hosted.get(options.name)
        site = await ask(self.framework(options))
        return capacity.judge(options, site, known.scheduler.world if known else None)

    def refuse_clashes(self, options: ClusterOptions, where: str) -> None:
        """Refuse options that would share with another cluster what each needs of its own.

        Raises:
            InvalidInput: with both names.
        """
        found = clashes(options, (hosted.options for hosted in self.all()), where)
        if found:
            raise InvalidInput(found)

    def delete(self, name: str, wait: float | None = None) -> Hosted:
        """Begin to take the cluster `name` down; asking again may change how long it waits.

        Args:
            name: the cluster.
            wait: seconds for which lost agents are waited for; see `Scheduler.delete`.

        Raises:
            Unknown: there is none.
        """
        hosted = self.get(name)
        if hosted.deleting is None:
            hosted.deleting = asyncio.create_task(self._delete(name, hosted, wait))
        elif wait is not None:
            hosted.scheduler.wait_for_lost(wait)
        return hosted

    def get(self, name: str) -> Hosted:
        """The cluster `name`.

        Raises:
            Unknown: there is none.
        """
        try:
            return self._hosted[name]
        except KeyError:
            self._not_unreadable(name)
            known = ", ".join(sorted(self._hosted)) or "none so far"
            problem = Problem("cluster", repr(name), f"one of: {known}", id="cluster-unknown")
            raise Unknown([problem]) from None

    def all(self) -> list[Hosted]:
        """Every cluster, by name."""
        return [self._hosted[name] for name in sorted(self._hosted)]

    def _not_unreadable(self, name: str) -> None:
        """Refuse to touch what the store holds of a cluster and nobody can read.

        Raises:
            Refused: this is such a cluster.
        """
        if name in self.unreadable:
            raise Refused(
                f"cluster {name} is stored and cannot be gone on with"
                f" ({self.unreadable[name]}); it is left as it is. Start the version that wrote"
                " it, or restore a backup of the state"
            )

    def health(self) -> dict[str, life.Health]:
        """The life stage of every cluster, also of those that cannot be gone on with."""
        found = {hosted.options.name: hosted.health() for hosted in self.all()}
        return found | {name: life.broken(reason) for name, reason in self.unreadable.items()}

    def delivery_of(self, task_id: str) -> Delivery | None:
        """What answers the task; none when no cluster has such a task."""
        for hosted in self.all():
            if hosted.scheduler.world.task(task_id) is not None:
                return hosted.workload.kubernetes.delivery
        return None

    async def close(self) -> None:
        """Stop all schedulers; what they staged goes on running."""
        for hosted in self.all():
            await _end(hosted.running, hosted.beside, hosted.deleting)
            await hosted.workload.kubernetes.close()

    def _operator_for(self, record: LeftoverRecord) -> Operator:
        """The way to the masters that a leftover is known to, as its cluster would have had it."""
        settings = self.framework(ClusterOptions(name=record.cluster, role=record.role))
        return self.operator(replace(settings, masters=record.masters))

    async def workload_for(
        self, hosted: Hosted, options: ClusterOptions, lineage: Lineage
    ) -> HostedWorkload:
        """What the cluster would run with these options; the caller closes it.

        Raises:
            InvalidInput: the artefact server lacks what they need.
        """
        return await self.make_workload(options, _links(lambda: hosted.scheduler, lineage))

    async def restart(self, hosted: Hosted, options: ClusterOptions) -> None:
        """Go on with the configuration that the store has as the target by now.

        The scheduler ends and another one begins, as after a restart of the service: there is one
        way into every state.
        """
        await _end(hosted.running, hosted.beside)
        await hosted.workload.kubernetes.close()
        lineage = configurations.load(self.store, options.name).lineage()
        hosted.options = options
        hosted.workload = await self.workload_for(hosted, options, lineage)
        self._start(hosted)

    async def _host(self, options: ClusterOptions, *, is_new: bool = False) -> Hosted:
        """Make and start a cluster; what makes a new one known is stored before it starts."""
        late: list[Hosted] = []
        known = configurations.load(self.store, options.name)
        record = known.target or configurations.first(options, self.clock.time())
        after = Configurations({**known.by_number, record.number: record})
        links = _links(lambda: late[0].scheduler if late else None, after.lineage())
        self.connect(self.framework(options))
        workload = await self.make_workload(options, links)
        if is_new or known.target is None:
            self.store.write(options.name, configurations.changes(known, record, ()))
        hosted = Hosted(options, workload, self._scheduler(options, workload))
        late.append(hosted)
        self._hosted[options.name] = hosted
        self._start(hosted, hosted.scheduler)
        if hosted.scheduler.world.cluster.deleting:
            self.delete(options.name)
        return hosted

    def _start(self, hosted: Hosted, scheduler: Scheduler | None = None) -> None:
        hosted.scheduler = scheduler or self._scheduler(hosted.options, hosted.workload)
        hosted.failure = ""
        hosted.running = asyncio.create_task(self._run(hosted))
        hosted.beside = asyncio.create_task(_beside(hosted))

    def _scheduler(self, options: ClusterOptions, workload: HostedWorkload) -> Scheduler:
        settings = self.framework(options)
        connector = self.connect(settings)
        return Scheduler(
            workload.kubernetes, self.store, connector, settings, self.clock, pace=self.pace
        )

    async def _run(self, hosted: Hosted) -> None:
        name = hosted.options.name
        try:
            await hosted.scheduler.run()
        except StateError as error:
            hosted.failure = str(error)
            _log.critical("cluster %s: %s", name, error)
            self.broken.set()
        except KubedcosError as error:
            hosted.failure = str(error)
            _log.error("cluster %s: %s", name, error)
        except Exception as error:
            hosted.failure = f"defect: {error!r}"
            _log.exception("cluster %s: the scheduler ended", name)
            self.broken.set()

    async def _delete(self, name: str, hosted: Hosted, wait: float | None) -> None:
        wish = asyncio.create_task(hosted.scheduler.delete(wait))
        if hosted.running is None or hosted.running.done():
            # It had given up; what it left in Mesos still has to go.
            hosted.failure = ""
            hosted.running = asyncio.create_task(self._run(hosted))
        await asyncio.wait({wish, hosted.running}, return_when=asyncio.FIRST_COMPLETED)
        if hosted.failure:
            # The scheduler gave up again; what it said is shown, and the wish can be repeated.
            await _end(wish)
            hosted.deleting = None
            return
        await wish
        await hosted.running
        await _end(hosted.beside)
        await hosted.workload.kubernetes.close()
        hosted.workload.forget()
        self._hosted.pop(name, None)
        _log.info("cluster %s is gone", name)


def _links(scheduler: Callable[[], Scheduler | None], lineage: Lineage) -> Links:
    """How a workload reaches its scheduler, which may be another one later."""

    def framework_id() -> str:
        found = scheduler()
        return found.world.cluster.framework_id if found is not None else ""

    def alarm(task_id: str, reason: str) -> None:
        if (found := scheduler()) is not None:
            _end_task(found, task_id, reason)

    return Links(framework_id, alarm, lineage)


async def _beside(hosted: Hosted) -> None:
    """What the workload does on its own account; its end is a defect, and not the cluster's."""
    try:
        await hosted.workload.kubernetes.run()
    except Exception:
        _log.exception("cluster %s: approvals have ended", hosted.options.name)


async def _end(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel tasks and wait until they are gone."""
    found = [task for task in tasks if task is not None]
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)


def _end_task(scheduler: Scheduler, task_id: str, reason: str) -> None:
    """Have a task ended; the scheduler's next cycle asks Mesos for it."""
    task = scheduler.world.task(task_id)
    if task is not None:
        _log.error("task %s has to end: %s", task_id, reason)
        scheduler.world.ask_to_end([task])
