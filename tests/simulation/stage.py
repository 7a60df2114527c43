"""The stage of the stories: a service like Kubernetes, and a way to crash."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from kubedcos.embedded.simulation.virtual_time import LoopClock, VirtualLoop
from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import Backoff, Connection, Connector
from kubedcos.model.service import (
    Goal,
    PhaseSpec,
    PlacementSpec,
    PlanSpec,
    PodSpec,
    PortSpec,
    ServiceSpec,
    StepSpec,
    Strategy,
    TaskSpec,
    VolumeSpec,
)
from kubedcos.plan.status import Status
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.scheduler.views import plan_view
from kubedcos.state.memory import MemoryStore
from kubedcos.state.store import Change, Store

from .fake_workload import FakeWorkload
from .machines import SimulatedAgent
from .simulated_mesos import Behaviour, SimulatedMesos

_T = TypeVar("_T")


def play(story: Callable[[], Awaitable[_T]]) -> _T:
    """Run a story in virtual time."""

    async def main() -> _T:
        return await story()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def task(name: str, cpus: float = 0.5, mem_mb: int = 512, **more: object) -> TaskSpec:
    return TaskSpec(name, f"kind-{name}", cpus, mem_mb, 256, **more)  # type: ignore[arg-type]


def service(
    nodes: int = 2, members: int = 1, servers: int = 1, **node_placement: object
) -> ServiceSpec:
    """etcd on a volume, a control plane, nodes over regions, and an add-on that ends."""
    local = PlacementSpec(local_region=True)
    placement = PlacementSpec(**{"spread_by": "region", **node_placement})  # type: ignore[arg-type]
    volume = VolumeSpec("data", "data", 1024)
    pods = (
        PodSpec(
            "etcd",
            members,
            (task("peer", ports=(PortSpec("client", 2379), PortSpec("x")), volumes=(volume,)),),
            local,
        ),
        PodSpec(
            "kube-apiserver",
            servers,
            (task("instance", ports=(PortSpec("https", 6443),)),),
            local,
        ),
        PodSpec("bindings", 1, (task("apply", goal=Goal.FINISHED),), local),
        PodSpec(
            "kube-node", nodes, (task("kubelet", 1.0, 2048), task("proxy"), task("dns")), placement
        ),
        PodSpec(
            "addons", 1, (task("web", goal=Goal.FINISHED), task("metrics", goal=Goal.FINISHED))
        ),
    )
    phases = (
        phase("etcd", Strategy.SERIAL, *(("etcd", index, ("peer",)) for index in range(members))),
        phase(
            "apiserver",
            Strategy.PARALLEL,
            *(("kube-apiserver", index, ("instance",)) for index in range(servers)),
        ),
        phase("mandatory-addons", Strategy.SERIAL, ("bindings", 0, ("apply",))),
        phase(
            "node",
            Strategy.PARALLEL,
            *(("kube-node", index, ("kubelet", "proxy", "dns")) for index in range(nodes)),
        ),
        phase("addons", Strategy.SERIAL, ("addons", 0, ("web",)), ("addons", 0, ("metrics",))),
    )
    return ServiceSpec("kubernetes", "kubernetes", pods, (PlanSpec("deploy", phases),))


def phase(name: str, strategy: Strategy, *steps: tuple[str, int, tuple[str, ...]]) -> PhaseSpec:
    return PhaseSpec(
        name,
        strategy,
        tuple(
            StepSpec(f"{pod}-{index}:[{', '.join(tasks)}]", pod, index, tasks)
            for pod, index, tasks in steps
        ),
    )


class Crash(BaseException):
    """The process is killed: nothing after this point happens."""


class Effects:
    """Counts effects on the world; at number `limit` the process dies."""

    def __init__(self, limit: int | None = None) -> None:
        self.count = 0
        self.limit = limit
        self.dead = False

    def pass_by(self) -> None:
        self.count += 1
        self.dead = self.dead or self.count == self.limit
        if self.dead:
            raise Crash(f"at effect {self.count}")


class CrashingStore:
    """A store before and after whose writes the process may die."""

    def __init__(self, store: Store, effects: Effects) -> None:
        self._store = store
        self._effects = effects

    def clusters(self) -> tuple[str, ...]:
        return self._store.clusters()

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        return self._store.read(cluster, kind)

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        self._effects.pass_by()
        self._store.write(cluster, changes)
        self._effects.pass_by()

    def drop(self, cluster: str) -> None:
        self._effects.pass_by()
        self._store.drop(cluster)
        self._effects.pass_by()

    def close(self) -> None:
        pass


class CrashingConnector:
    """Connections before and after whose calls the process may die."""

    def __init__(self, mesos: Connector, effects: Effects) -> None:
        self._mesos = mesos
        self._effects = effects

    async def connect(self, subscribe: wire.CallSubscribe) -> Connection:
        connection = await self._mesos.connect(subscribe)
        self._effects.pass_by()
        return CrashingConnection(connection, self._effects)


class CrashingConnection:
    def __init__(self, connection: Connection, effects: Effects) -> None:
        self._connection = connection
        self._effects = effects
        self.subscribed = connection.subscribed

    async def next_event(self) -> wire.Event:
        return await self._connection.next_event()

    async def call(self, call: wire.Call) -> None:
        self._effects.pass_by()
        await self._connection.call(call)
        self._effects.pass_by()

    async def close(self) -> None:
        await self._connection.close()


def lab() -> list[SimulatedAgent]:
    return [
        SimulatedAgent("a1", "dc-a", "a-1"),
        SimulatedAgent("a2", "dc-a", "a-2"),
        SimulatedAgent("b1", "dc-b", "b-1"),
        SimulatedAgent("b2", "dc-b", "b-2"),
    ]


class Stage:
    """A Mesos, a disk and a scheduler that can be killed and started again."""

    scheduler_type: type[Scheduler] = Scheduler
    pace = Pace()

    def __init__(
        self,
        spec: ServiceSpec | None = None,
        agents: list[SimulatedAgent] | None = None,
        *,
        seed: int = 1,
        flags: Sequence[str] = (),
    ) -> None:
        self.spec = spec or service()
        found = agents if agents is not None else lab()
        self.mesos = SimulatedMesos(found, seed=seed, flags=flags)
        for name in ("bindings-0-apply", "addons-0-web", "addons-0-metrics"):
            self.mesos.behaviours[name] = Behaviour(ends_after=1.0)
        self.disk = MemoryStore()
        self.workload = FakeWorkload(self.spec, self.mesos)
        self.clock = LoopClock()
        self.ids = itertools.count(1)
        self._running: asyncio.Task[None] | None = None
        self.scheduler = self._scheduler(Effects())

    def _scheduler(self, effects: Effects) -> Scheduler:
        settings = FrameworkSettings(
            "kubernetes", "kubernetes", "m1:5050", principal="p", other_roles=self.spec.roles[1:]
        )
        return self.scheduler_type(
            self.workload,
            self._store(effects),
            self._connector(effects),
            settings,
            self.clock,
            pace=self.pace,
            new_id=lambda: f"id-{next(self.ids)}",
            backoff=Backoff(jitter=lambda: 1.0),
        )

    def _store(self, effects: Effects) -> Store:
        return CrashingStore(self.disk, effects)

    def _connector(self, effects: Effects) -> Connector:
        return CrashingConnector(self.mesos, effects)

    def start(self, effects: Effects | None = None) -> None:
        """A new process begins with what is on the disk."""
        self.scheduler = self._scheduler(effects or Effects())
        self._running = asyncio.create_task(self.scheduler.run())

    def restart_run(self) -> None:
        """The same process tries again after its scheduler gave up."""
        self._running = asyncio.create_task(self.scheduler.run())

    async def change(self, spec: ServiceSpec, effects: Effects | None = None) -> None:
        """Another target: the scheduler begins anew with it, as the service has it begin."""
        await self.kill()
        self.spec = spec
        self.workload.become(spec)
        self.start(effects)

    async def kill(self) -> None:
        """End the process as `kill -9` would: Mesos only sees the connection go."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.mesos.disconnect()

    async def close(self) -> None:
        if self._running is not None and not self._running.done():
            await self.kill()
        await self.mesos.stop()

    @property
    def running(self) -> asyncio.Task[None]:
        assert self._running is not None
        return self._running

    def plan(self) -> dict[str, object]:
        """The first plan that is not complete; else ``deploy``."""
        found = {plan.name: plan for plan in self.scheduler.plans()}
        plans = [found[name] for name in ("deploy", "recovery")]
        chosen = next((plan for plan in plans if plan.status is not Status.COMPLETE), plans[0])
        return plan_view(chosen, self.scheduler.world)

    def steps(self) -> dict[str, dict[str, object]]:
        """Steps of ``deploy``, and in their stead those of ``recovery`` that are open."""
        plans = [self.scheduler.plan_show(name) for name in ("deploy", "recovery")]
        found = [step for plan in plans for part in plan["phases"] for step in part["steps"]]
        return {step["name"]: step for step in found}

    async def until(
        self, condition: Callable[[], bool], seconds: float = 300.0, every: float = 0.5
    ) -> None:
        """Wait in virtual time; a scheduler that died tells its error."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self.running.done() and (error := self.running.exception()):
                        raise error
                    await asyncio.sleep(every)
        except TimeoutError:
            snapshot = self.scheduler.snapshot()
            states = {name: (s["status"], s["reason"]) for name, s in self.steps().items()}
            raise AssertionError(f"{snapshot['doing']}; {states}") from None

    async def until_complete(self, seconds: float = 300.0) -> None:
        await self.until(lambda: self.plan()["status"] == "COMPLETE", seconds)
