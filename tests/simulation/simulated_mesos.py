"""The embedded master itself with simulated agents, in virtual time, and what is watched there.

Calls and events pass through the master's own code (`InProcessConnector`). What a scheduler must
not do is collected in `violations`: to ask for what was not offered, to launch a task that runs
already or under an id that was used, to leave tasks behind.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kubedcos.embedded.master import draining, frameworks, removal
from kubedcos.embedded.master.effects import Allocate
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.offers import rescind
from kubedcos.embedded.master.options import read_options
from kubedcos.embedded.protocol import DrainConfig, MasterCall, RunTasks
from kubedcos.embedded.simulation.agent import SimulatedAgent as EmbeddedAgent
from kubedcos.embedded.simulation.behaviour import Behaviour as EmbeddedBehaviour
from kubedcos.embedded.simulation.cluster import SimulatedCluster
from kubedcos.embedded.simulation.connector import InProcessConnector
from kubedcos.embedded.simulation.task import SimulatedTask as EmbeddedTask
from kubedcos.embedded.simulation.virtual_time import LoopClock
from kubedcos.mesos import messages as wire
from kubedcos.mesos.detector import NoMaster
from kubedcos.mesos.resources import Resources

from .machines import SimulatedAgent, domain
from .simulated_connection import SimulatedConnection, left_after


@dataclass(eq=False)
class SimulatedTask:
    """A task, also after its end, and the agent that it was launched on."""

    agent: SimulatedAgent
    real: EmbeddedTask

    @property
    def info(self) -> wire.TaskInfo:
        return self.real.info

    @property
    def state(self) -> str:
        return self.real.state

    @property
    def live(self) -> bool:
        return self.real.live and not self.real.silent

    @property
    def unsent(self) -> bool:
        """Whether an update waits for its acknowledgement."""
        return self.real.stream.front is not None


@dataclass
class Behaviour:
    """How tasks of a name behave; times in seconds after the launch."""

    starts_after: float = 0.2
    runs_after: float = 0.5
    ends_after: float | None = None
    ends_as: str = "TASK_FINISHED"


class _Cluster(SimulatedCluster):
    """A cluster whose tasks behave by their name and are seen when they come."""

    mesos: SimulatedMesos

    def behaviour(self, task: wire.TaskInfo) -> EmbeddedBehaviour:
        how = self.mesos.behaviours.get(task.name, Behaviour())
        return EmbeddedBehaviour(
            how.starts_after,
            how.runs_after,
            None if how.ends_after is None else how.ends_after - how.runs_after,
            0 if how.ends_as == "TASK_FINISHED" else 1,
            stops_after=0.5,
        )

    def launched(self, agent: EmbeddedAgent, task: EmbeddedTask) -> None:
        self.mesos.note_launch(agent, task)


class SimulatedMesos:
    """The cluster, with handles for everything that a story may want to happen.

    Attributes:
        agents: by host name.
        tasks: all that were ever launched, by id.
        calls: everything that the scheduler sent.
        launches: time, name and host of every launch, in order.
        lose_update: which updates do not arrive.
        patience: seconds after which a task on an agent that Mesos has lost may be replaced.
        given_up: pod instances of which an operator said that they may be replaced at once then.
    """

    def __init__(
        self,
        agents: Iterable[SimulatedAgent],
        local_region: str = "dc-a",
        *,
        seed: int = 1,
        flags: Sequence[str] = (),
    ) -> None:
        self.patience = math.inf
        self.given_up: set[str] = set()
        self.agents = {agent.hostname: agent for agent in agents}
        self.behaviours: dict[str, Behaviour] = {}
        self.tasks: dict[str, SimulatedTask] = {}
        self.launches: list[tuple[float, str, str]] = []
        self.calls: list[wire.Call] = []
        self.violations: list[str] = []
        self.duplicate_updates = False
        self.lose_update: Callable[[wire.TaskStatus], bool] = lambda _: False
        self.connection: SimulatedConnection | None = None
        usual = ["--ip=127.0.0.1", "--hostname=m1", "--registry=in_memory"]
        place = wire.encode(domain(local_region, "z")).decode()
        options = read_options([*usual, f"--domain={place}", *flags], {})
        self.cluster = _Cluster(options, LoopClock(), random.Random(seed))
        self.cluster.mesos = self
        self._real = {
            agent.hostname: self.cluster.add(agent.info(), f"10.0.0.{number}")
            for number, agent in enumerate(self.agents.values(), 1)
        }
        self.engine.elect(self.engine.store.load())
        self._registering = asyncio.ensure_future(self.cluster.register())

    @property
    def engine(self) -> Engine:
        """Of the master that leads, or led last."""
        return self.cluster.engine

    @property
    def now(self) -> float:
        return self.cluster.clock.monotonic()

    @property
    def removed(self) -> bool:
        """Whether Mesos has no framework any more, but had one."""
        return bool(self.engine.state.completed) and not self.engine.state.frameworks

    @property
    def live(self) -> dict[str, SimulatedTask]:
        """Live tasks by name; two of one name are a violation noted at launch."""
        return {task.info.name: task for task in self.tasks.values() if task.live}

    def reserved(self) -> list[wire.Resource]:
        """Reservations and volumes of all agents, those out of reach included."""
        found: list[wire.Resource] = []
        for agent in self._real.values():
            record = self.engine.state.agents.get(agent.id.value if agent.id else "")
            held = record.total if record is not None else Resources(agent.checkpointed)
            found += held.reserved()
        return found

    async def connect(self, subscribe: wire.CallSubscribe) -> SimulatedConnection:
        await asyncio.sleep(0.01)
        await self._registering
        if not self.cluster.leading:
            raise NoMaster("no leading master: ZooKeeper knows of none")
        if subscribe.framework_info.id is None and self.live:
            self.violations.append("subscribed as a new framework, leaving its tasks behind")
        connection = await InProcessConnector(self.engine).connect(subscribe)
        self.connection = SimulatedConnection(self, connection)
        return self.connection

    async def stop(self) -> None:
        await self.engine.close()

    async def disconnect(self) -> None:
        """The scheduler is gone, or the connection to it."""
        if self.connection is not None:
            await self.connection.real.close()
            self.connection = None

    def remove_framework(self) -> None:
        """An operator tears the framework down, or its failover timeout passes."""
        [framework] = self.engine.state.frameworks.values()
        rules, now = self.engine.framework_rules, self.cluster.clock.time()
        self.engine.perform(frameworks.remove(self.engine.state, rules, framework, now=now))

    def fail(self, name: str, state: str = "TASK_FAILED", *, healthy: bool | None = None) -> None:
        """A task ends by itself."""
        task = self.live[name]
        more = {} if healthy is None else {"healthy": healthy}
        self._real[task.agent.hostname].end(task.real, state, f"{name} ended", **more)

    def cut(self, hostname: str) -> None:
        """The agent is out of reach, and nobody has noticed yet."""
        self.cluster.cut(self._real[hostname])

    def cut_at_release(self, hostname: str) -> asyncio.Future[float]:
        """The agent is out of reach when something is unreserved for the first time; tells when."""
        take, cut_at = self.take, asyncio.get_running_loop().create_future()

        async def takes(call: wire.Call) -> None:
            releases = call.accept and any(it.unreserve for it in call.accept.operations)
            if releases and not cut_at.done():
                self.cut(hostname)
                cut_at.set_result(self.now)
            await take(call)

        self.take = takes  # type: ignore[method-assign]
        return cut_at

    def lose_agent(self, hostname: str) -> None:
        """The agent is out of reach, and the master gives it up; its tasks may run on."""
        self.cut(hostname)
        state, rules = self.engine.state, self.engine.framework_rules
        record = state.agents[self._id(hostname)]
        now = self.cluster.clock.time()
        self.engine.perform(removal.unreachable(state, rules, record, now=now))

    def return_agent(self, hostname: str) -> None:
        self.cluster.heal(self._real[hostname])

    def mark_gone(self, hostname: str) -> None:
        """The machine is no more, and an operator says so."""
        self._real[hostname].lose_tasks()
        state, rules = self.engine.state, self.engine.framework_rules
        now = self.cluster.clock.time()
        effects = removal.mark_gone(state, rules, self._id(hostname), now=now)
        assert effects is not None
        self.engine.perform(effects)

    def reboot(self, hostname: str) -> None:
        """The machine starts anew: its tasks are gone, and it is out of reach until it returns."""
        agent = self._real[hostname]
        agent.lose_tasks()
        agent.executors.clear()
        self.cluster.stop(agent)

    def replace_agent(self, hostname: str) -> None:
        """A new machine takes the place of one that is gone; Mesos does not know it."""
        old = self._real[hostname]
        old.lose_tasks()
        old.reachable = False
        new = self.cluster.add(self.agents[hostname].info(), old.address)
        self._real[hostname] = new
        self.cluster.heal(new)

    def slow(self, hostname: str, seconds: float) -> None:
        """Messages between the agent and the master take so long, each way."""
        self.cluster.slow(self._real[hostname], seconds)

    def drain(self, hostname: str, *, mark_gone: bool) -> bool:
        """An operator drains an agent; whether the master does it."""
        engine, now = self.engine, self.cluster.clock.time()
        config = DrainConfig(mark_gone=mark_gone)
        try:
            engine.perform(draining.drain(engine.state, self._id(hostname), config, now=now))
        except draining.DrainRefused:
            return False
        return True

    def reactivate(self, hostname: str) -> bool:
        """An operator reactivates a drained agent; whether the master does it."""
        try:
            self.engine.perform(draining.reactivate(self.engine.state, self._id(hostname)))
        except draining.DrainRefused:
            return False
        return True

    def say_gone(self, hostname: str) -> bool:
        """An operator marks the agent of a dead machine gone; whether the master knows it."""
        found = self._real[hostname].id
        if found is None:
            return True
        state, rules = self.engine.state, self.engine.framework_rules
        effects = removal.mark_gone(state, rules, found.value, now=self.cluster.clock.time())
        if effects is None:
            return False
        self.engine.perform(effects)
        return True

    def rescind_offers(self, share: float = 1.0) -> None:
        """The master takes offers back, each with this probability."""
        state, chance = self.engine.state, self.cluster.chance
        offers = [offer for offer in state.offers.values() if chance.random() < share]
        self.engine.perform(rescind(state, offers))

    def reachable(self, hostname: str) -> bool:
        return self._real[hostname].reachable

    def registered(self, hostname: str) -> bool:
        """Whether the master has the agent now."""
        found = self._real[hostname].id
        record = self.engine.state.agents.get(found.value) if found else None
        return record is not None and record.connected

    def shrink(self, hostname: str, name: str) -> None:
        """The agent has no more of a resource than what is used."""
        record = self.engine.state.agents[self._id(hostname)]
        record.total = record.total.where(lambda resource: resource.name != name)

    def plant(self, name: str, hostname: str, *, silent: bool = False) -> None:
        """A task that Mesos has and the scheduler never heard of; a silent one says nothing."""
        *_, framework = self.engine.state.frameworks.values()
        agent = self._real[hostname]
        task_id = wire.TaskID(f"{name}__1")
        info = wire.TaskInfo(name, task_id, wire.AgentID(self._id(hostname)))
        self.engine.state.tasks[framework.id, task_id.value] = wire.Task(
            name=name,
            task_id=task_id,
            framework_id=wire.FrameworkID(framework.id),
            agent_id=info.agent_id,
            state="TASK_STAGING",
        )
        agent.take(MasterCall("RUN_TASKS", run_tasks=RunTasks(framework.info, (info,))))
        if silent:
            for timer in self.tasks[task_id.value].real.timers:
                timer.cancel()

    def offer_again(self) -> None:
        """Offer everything that is free, whatever was refused or suppressed."""
        for framework in self.engine.state.frameworks.values():
            suppressed, framework.suppressed = framework.suppressed, set()
            framework.filters.clear()
            self.engine.perform([Allocate()])
            framework.suppressed = suppressed

    async def take(self, call: wire.Call) -> None:
        """A call of the scheduler; stories replace this to meddle."""
        assert self.connection is not None
        self.calls.append(call)
        if call.type == "ACCEPT" and call.accept is not None:
            self._check_operations(call.accept)
        if call.type == "TEARDOWN":
            # What Mesos cannot reach, and what nobody told us of, ends with the framework.
            self.violations += [
                f"{name} was left to TEARDOWN"
                for name, task in self.live.items()
                if self.registered(task.agent.hostname) and not name.startswith("stranger")
            ]
        await self.connection.real.call(call)

    def note_launch(self, agent: EmbeddedAgent, task: EmbeddedTask) -> None:
        info = task.info
        if any(
            other.live and other.info.name == info.name and not self._given_up(other.real)
            for other in self.tasks.values()
        ):
            self.violations.append(f"{info.name} is launched while another runs")
        if info.task_id.value in self.tasks:
            self.violations.append(f"{info.task_id} is used again")
        host = self.agents[agent.info.hostname]
        self.tasks[info.task_id.value] = SimulatedTask(host, task)
        self.launches.append((self.now, info.name, host.hostname))

    def _given_up(self, task: EmbeddedTask) -> bool:
        """Whether Mesos has ended the task, or lost its agent so long ago that this may be said."""
        agent_id, state = task.info.agent_id.value, self.engine.state
        if agent_id in state.gone:
            return True
        since = state.unreachable.get(agent_id)
        if since is None:
            return False
        asked = any(task.info.name.startswith(f"{pod}-") for pod in self.given_up)
        return asked or self.cluster.clock.time() - since >= self.patience

    def _id(self, hostname: str) -> str:
        agent_id = self._real[hostname].id
        assert agent_id is not None
        return agent_id.value

    def _check_operations(self, body: wire.CallAccept) -> None:
        """Mesos says nothing about a reservation that does not fit; this does."""
        records = [self.engine.state.offers.get(offer_id.value) for offer_id in body.offer_ids]
        pool = Resources()
        for record in records:
            if record is None:
                return
            pool += record.resources.unallocated()
        for operation in body.operations:
            try:
                pool = left_after(operation, pool)
            except ValueError as error:
                self.violations.append(f"{operation.type}: {error}")
