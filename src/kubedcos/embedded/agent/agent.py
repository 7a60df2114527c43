"""The agent itself: what it does when the master calls, and when a container changes.

Everything runs in one event loop. What is slow (fetching, ending containers) runs beside it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec

from kubedcos.clock import Clock
from kubedcos.embedded.agent import volumes
from kubedcos.embedded.agent.command_tasks import CommandTasks
from kubedcos.embedded.agent.containers import Containers
from kubedcos.embedded.agent.draining import TOO_LATE, Draining
from kubedcos.embedded.agent.executor.journal import JournalReader
from kubedcos.embedded.agent.fetching.fetcher import Fetcher
from kubedcos.embedded.agent.group_store import StoredExecutor
from kubedcos.embedded.agent.groups import Groups
from kubedcos.embedded.agent.isolators.disk import DiskWatch, Exceeded, Watched
from kubedcos.embedded.agent.launching import Launcher, Surroundings
from kubedcos.embedded.agent.paths import Run
from kubedcos.embedded.agent.sandbox_gc import SandboxGc
from kubedcos.embedded.agent.settings import Settings
from kubedcos.embedded.agent.store import Store, StoredRun
from kubedcos.embedded.agent.taskrun import TaskRun
from kubedcos.embedded.agent.updates import UpdateStream
from kubedcos.embedded.protocol import MasterCall, UnknownTasks
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import (
    AgentID,
    AgentInfo,
    ContainerInfo,
    FrameworkInfo,
    KillPolicy,
    NetworkInfo,
    Resource,
    TaskInfo,
)

log = logging.getLogger("kubedcos.embedded.agent")


class Agent:
    """Tasks, frameworks and resources of one agent.

    Attributes:
        runs: tasks by framework and task id, ended ones until their end is acknowledged.
        commands: what is done with tasks that have a command.
        groups: the executors of task groups; their tasks are in `runs`, too.
        completed: ended and acknowledged, newest last.
        frameworks: by id, those with tasks here.
        resources: dynamic reservations and persistent volumes, as the master says.
        draining: kills tasks, and changes how their ends are told, when an operator wants it.
        counters: for `/metrics/snapshot`.
        disk: measures sandboxes and volumes; None without the isolator disk/du.
        changed: called whenever an update may have to be sent.
        on_shutdown: called when the master wants the agent to end, with its message.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        containers: Containers,
        fetcher: Fetcher,
        gc: SandboxGc,
        clock: Clock,
        disk: DiskWatch | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.containers = containers
        self.fetcher = fetcher
        self.gc = gc
        self.clock = clock
        self.info: AgentInfo | None = None
        self.disk = disk
        self.launcher = Launcher(Surroundings(settings, store.layout, containers, fetcher))
        self.runs: dict[tuple[str, str], TaskRun] = {}
        self.draining = Draining(self)
        self.commands = CommandTasks(self)
        self.groups = Groups(self)
        self._background: set[asyncio.Task[None]] = set()
        self.completed: list[TaskRun] = []
        self.frameworks: dict[str, FrameworkInfo] = {}
        self.resources: tuple[Resource, ...] = store.resources()
        self.counters: dict[str, float] = {}
        self.changed: Callable[[], None] = lambda: None
        self.on_shutdown: Callable[[str], None] = lambda _message: None

    @property
    def agent_id(self) -> str:
        """Empty before the first registration."""
        return self.info.id.value if self.info is not None and self.info.id else ""

    def live(self) -> list[TaskRun]:
        """Tasks whose end nobody has acknowledged yet."""
        return list(self.runs.values())

    async def handle(self, call: MasterCall) -> None:
        """Carry out a call of the master; what takes long goes on afterwards."""
        if call.run_tasks is not None:
            for task in call.run_tasks.tasks:
                self.run_task(call.run_tasks.framework, task)
        elif call.run_task_group is not None:
            self.groups.intake.run_group(call.run_task_group)
        elif call.shutdown_executor is not None:
            order = call.shutdown_executor
            self.groups.shutdown((order.framework_id.value, order.executor_id.value))
        elif call.kill_task is not None:
            part = call.kill_task
            self.kill((part.framework_id.value, part.task_id.value), part.kill_policy)
        elif call.acknowledge is not None:
            ack = call.acknowledge
            self.acknowledge((ack.framework_id.value, ack.task_id.value), ack.uuid)
        elif call.checkpoint_resources is not None:
            await self.checkpoint_resources(call.checkpoint_resources.resources)
        elif call.update_framework is not None:
            self.update_framework(call.update_framework.framework)
        elif call.shutdown_framework is not None:
            self.shutdown_framework(call.shutdown_framework.framework_id.value)
        elif call.drain is not None:
            self.draining.start(call.drain.config)
        elif call.shutdown is not None:
            log.warning("The master asked us to shut down: %s", call.shutdown.message)
            self.on_shutdown(call.shutdown.message)

    # Tasks

    def run_task(self, framework: FrameworkInfo, task: TaskInfo) -> None:
        """Take a task on: it is on disk when this returns, and is launched after that."""
        assert framework.id is not None
        framework_id = framework.id.value
        if (framework_id, task.task_id.value) in self.runs:
            log.warning("Ignoring task %s, which is here already", task.task_id.value)
            return
        log.info("Got task %s of framework %s", task.task_id.value, framework_id)
        run = Run(framework_id, task.task_id.value, str(uuid.uuid4()))
        if self.draining.config is not None:
            self.drop(run, task, framework, "REASON_AGENT_DRAINING", TOO_LATE)
            return
        self.save_framework(framework)
        self.store.save_task(self.agent_id, run, task)
        taskrun = self._taskrun(run, task, framework)
        self.runs[taskrun.key] = taskrun
        self.commands.launch(taskrun)

    def save_framework(self, framework: FrameworkInfo) -> None:
        """The framework has tasks here."""
        assert framework.id is not None
        self.frameworks[framework.id.value] = framework
        self.store.save_framework(self.agent_id, framework)

    def _taskrun(self, run: Run, task: TaskInfo, framework: FrameworkInfo) -> TaskRun:
        made = TaskRun(
            run=run,
            task=task,
            framework=framework,
            stream=UpdateStream(self.store.updates(self.agent_id, run)),
            journal=JournalReader(self.store.journal(self.agent_id, run)),
            agent_id=self.agent_id,
            address=self.settings.advertise_ip,
        )
        made.told = self.draining.tell_of(made)
        return made

    def killed_by_limit(self, limit: int | None) -> dict[str, Any]:
        """What an executor would have reported that the kernel killed, too; `limit` in bytes."""
        version = self.containers.cgroups.plan.version
        return {"version": version, "limit": limit, "peak": limit, "parts": {}}

    def kill(self, key: tuple[str, str], policy: KillPolicy | None) -> None:
        """End a task; unknown and ended ones are ignored."""
        run = self.runs.get(key)
        if run is None or run.ended or run.held is not None:
            log.warning("Ignoring the kill of task %s, which does not run here", key[1])
            return
        if run.group is not None:
            self.groups.kill(run, policy)
        else:
            self.commands.kill(run, policy)

    async def watch_disk(self) -> None:
        """Measure what containers use, and end those that use too much."""
        if self.disk is not None:
            await self.disk.run(self.clock, self._watched, self._disk_exceeded)

    def _watched(self) -> list[Watched]:
        return [*self.commands.watched(), *self.groups.watched()]

    def _disk_exceeded(self, container_id: str, exceeded: Exceeded) -> None:
        if not self.groups.limit_exceeded(container_id, exceeded):
            self.commands.limit_exceeded(container_id, exceeded)

    async def end_container(self, run: Run) -> None:
        """End a container that exceeded a limit; who follows its executor sees the end."""
        try:
            await self.containers.destroy(self.agent_id, run)
        except KubedcosError as error:
            log.error("Destroying container %s: %s", run.container_id, error)

    def acknowledge(self, key: tuple[str, str], uuid_: str) -> None:
        """The framework has an update."""
        run = self.runs.get(key)
        if run is None or not run.stream.acknowledge(uuid_):
            log.warning("Ignoring an acknowledgement for task %s that was not awaited", key[1])
            return
        self.settle(run)
        self.changed()

    def settle(self, run: TaskRun) -> None:
        """Move a task that is over for everybody out of the way."""
        if run.done and self.runs.get(run.key) is run:
            del self.runs[run.key]
            if run.group is not None:
                self.groups.settled(run)
            else:
                self._retire(run)
            self.forget_idle_framework(run.run.framework_id)

    def forget_idle_framework(self, framework_id: str) -> None:
        """Forget a framework that has no tasks and no executors here any more."""
        busy = {key[0] for key in self.runs} | self.groups.frameworks()
        if framework_id not in busy:
            self.frameworks.pop(framework_id, None)
        self.draining.end_when_done()

    def _retire(self, run: TaskRun) -> None:
        self.completed.append(run)
        limit = self.settings.flags.integer("max_completed_executors_per_framework")
        del self.completed[:-limit]
        self.gc.schedule(self.agent_id, run.run)

    # Frameworks and resources

    def update_framework(self, framework: FrameworkInfo) -> None:
        """The framework changed or has a new scheduler: it hears at once what it has not yet."""
        if framework.id is None or framework.id.value not in self.frameworks:
            return
        framework_id = framework.id.value
        self.frameworks[framework_id] = framework
        self.store.save_framework(self.agent_id, framework)
        self.groups.update_framework(framework)
        for run in self.runs.values():
            if run.run.framework_id == framework_id:
                run.framework = framework
                run.stream.resend()
        self.changed()

    def shutdown_framework(self, framework_id: str) -> None:
        """End all tasks of a framework; nobody is told."""
        log.info("Asked to shut down framework %s", framework_id)
        self.store.shut_down(self.agent_id, framework_id)
        self.end_all(framework_id)

    def end_all(self, framework_id: str | None = None) -> None:
        """End all tasks, or those of a framework, without a word to anyone."""
        self.groups.end(framework_id)
        self.commands.end(
            run
            for run in self.live()
            if run.group is None and framework_id in (None, run.run.framework_id)
        )

    @property
    def all_ended(self) -> bool:
        """Whether no container is left."""
        executors = self.groups.executors.values()
        return all(run.ended for run in self.live()) and all(e.ended for e in executors)

    @property
    def patience(self) -> float:
        """Seconds that ending everything may take."""
        return self.commands.patience()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; the loop itself keeps only weak references."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def checkpoint_resources(self, resources: tuple[Resource, ...]) -> None:
        """Reservations and volumes from now on; raises VolumeError when a disk refuses."""
        self.store.save_target(resources)
        await self.reach_target()

    async def reach_target(self) -> None:
        """Make and erase volumes until the disks hold what the master said last."""
        target = self.store.target()
        if target is not None:
            before = self.store.resources()
            await asyncio.to_thread(volumes.apply, self.store.layout, before, target)
            self.store.save_resources(target)
            self.resources = target

    def unknown_tasks(self, unknown: Iterable[UnknownTasks]) -> None:
        """The master holds tasks for alive that we do not know: tell their frameworks."""
        for entry in unknown:
            if entry.framework.id is None:
                continue
            for task_id in entry.task_ids:
                key = entry.framework.id.value, task_id.value
                if key in self.runs:
                    continue
                task = TaskInfo(task_id.value, task_id, AgentID(self.agent_id))
                run = Run(*key, str(uuid.uuid4()))
                message = "Reconciliation: task unknown to the agent"
                self.drop(run, task, entry.framework, "REASON_RECONCILIATION", message)

    def drop(
        self, run: Run, task: TaskInfo, framework: FrameworkInfo, reason: str, message: str
    ) -> None:
        """Tell a framework that its task never came to be: TASK_DROPPED, or TASK_LOST."""
        aware = "PARTITION_AWARE" in {c.type for c in framework.capabilities}
        state = "TASK_DROPPED" if aware else "TASK_LOST"
        ghost = self._ghost(run, task, framework)
        ghost.stream.add(ghost.from_agent(self.clock.time(), state, reason, message))
        self.changed()

    def _ghost(self, run: Run, task: TaskInfo, framework: FrameworkInfo) -> TaskRun:
        """A task that only exists to say that it does not; not worth the disk."""
        ghost = self._taskrun(run, task, framework)
        self.runs[ghost.key] = ghost
        ghost.stream = UpdateStream(lambda _record: None)
        ghost.ended = True
        return ghost

    # Recovery

    def recover(
        self, info: AgentInfo, stored: Iterable[StoredRun], executors: Iterable[StoredExecutor]
    ) -> None:
        """Take over what an earlier agent process left; call before the first registration."""
        self.info = info
        for entry in stored:
            run = self._taskrun(entry.run, entry.task, entry.framework)
            append = self.store.updates(self.agent_id, entry.run)
            run.stream = UpdateStream.recover(entry.records, append)
            run.silent, run.recovered = entry.silent, True
            run.networks = self.networks_of(run.run, run.task.container)
            run.read_journal()
            run.ended = run.stream.terminated
            if run.done:
                self._retire(run)
                continue
            self.runs[run.key] = run
            self.frameworks[entry.run.framework_id] = entry.framework
            if not run.ended:
                log.info("Recovering container %s", entry.run.container_id)
                self.commands.follow(run)
        self.commands.end([run for run in self.live() if run.silent])
        self.groups.recover(executors)
        self.draining.recover()

    def networks_of(self, run: Run, container: ContainerInfo | None) -> tuple[NetworkInfo, ...]:
        """What an earlier agent process knew of a container's networks."""
        wanted = container or self.settings.default_container
        named = wanted.network_infos if wanted else ()
        networks = {info.name: info for info in named if info.name is not None}
        return self.containers.networks.recovered(run.container_id, networks)

    def destroy_orphans(self) -> None:
        """End containers that no task of ours belongs to, such as those of an older agent id."""
        ours = {run.run.container_id for run in self.live()} | self.groups.containers()
        for container_id in self.containers.found() - ours:
            log.info("Destroying orphan container %s", container_id)
            self.spawn(self._destroy_orphan(Run("-", "-", container_id)))

    async def _destroy_orphan(self, run: Run) -> None:
        try:
            await self.containers.destroy(self.agent_id, run)
        except KubedcosError as error:
            log.error("Destroying container %s: %s", run.container_id, error)

    def registered(self, agent_id: AgentID, info: AgentInfo) -> None:
        """The master gave us an id, or knows us again; resends what is unacknowledged."""
        if self.info is None or self.info.id is None:
            self.info = msgspec.structs.replace(info, id=agent_id)
            self.store.save_identity(self.info)
        for run in self.runs.values():
            run.stream.resend()
        self.changed()

    def count(self, name: str) -> None:
        """Count an event for the metrics."""
        self.counters[name] = self.counters.get(name, 0) + 1
