"""A simulated cluster in virtual time, and a framework in the same event loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import looptime

from kubedcos.embedded.master.options import read_options
from kubedcos.embedded.master.registry import Registry
from kubedcos.embedded.simulation.agent import SimulatedAgent
from kubedcos.embedded.simulation.behaviour import Behaviour
from kubedcos.embedded.simulation.cluster import SimulatedCluster
from kubedcos.embedded.simulation.connector import InProcessConnector
from kubedcos.embedded.simulation.virtual_time import LoopClock
from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import Connection
from kubedcos.mesos.resource_text import parse_resources

_T = TypeVar("_T")
CAPABILITIES = ("MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT", "TASK_KILLING_STATE")
FLAGS = ("--ip=127.0.0.1", "--hostname=m1", "--registry=in_memory")


def play(story: Callable[[], Awaitable[_T]]) -> _T:
    """Run a story in virtual time."""

    async def main() -> _T:
        return await story()

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        return runner.run(main())


def cluster_of(
    agents: int, *flags: str, seed: int = 1, usual: Behaviour | None = None
) -> SimulatedCluster:
    """Agents that are not registered yet around a master that leads."""
    options = read_options([*FLAGS, *flags], {})
    cluster = SimulatedCluster(options, LoopClock(), random.Random(seed), usual)
    for number in range(agents):
        resources = tuple(parse_resources("cpus:4;mem:4096;disk:4096;ports:[31000-31009]"))
        info = wire.AgentInfo(hostname=f"a{number}", resources=resources, checkpoint=True)
        cluster.add(info, f"10.0.0.{number + 1}")
    cluster.engine.elect(Registry())
    return cluster


class Framework:
    """Keeps what it is told; acknowledges if it is to."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._info = wire.FrameworkInfo(
            "root",
            "f",
            roles=("lab",),
            failover_timeout=1e6,
            checkpoint=True,
            capabilities=tuple(map(wire.FrameworkCapability, CAPABILITIES)),
        )
        self.connection: Connection | None = None
        self.events: list[wire.Event] = []
        self.acknowledges = True

    async def subscribe(self) -> None:
        connector = InProcessConnector(self._cluster.engine)
        self.connection = await connector.connect(wire.CallSubscribe(self._info))
        self.events.append(wire.Event("SUBSCRIBED", self.connection.subscribed))
        framework_id = self.connection.subscribed.framework_id
        self._info = wire.FrameworkInfo(
            **{n: getattr(self._info, n) for n in self._info.__struct_fields__ if n != "id"},
            id=framework_id,
        )

    async def until(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        """Take events until something holds."""
        assert self.connection is not None
        async with asyncio.timeout(seconds):
            while not condition():
                event = await self.connection.next_event()
                self.events.append(event)
                if event.update is not None and event.update.status.uuid and self.acknowledges:
                    await self.acknowledge(event.update.status)

    async def acknowledge(self, status: wire.TaskStatus) -> None:
        assert status.agent_id is not None
        assert status.uuid is not None
        body = wire.CallAcknowledge(status.agent_id, status.task_id, status.uuid)
        await self.call(wire.Call("ACKNOWLEDGE", acknowledge=body))

    async def call(self, call: wire.Call) -> None:
        assert self.connection is not None
        await self.connection.call(call)

    @property
    def offers(self) -> list[wire.Offer]:
        """All that were ever made."""
        made = (event.offers.offers for event in self.events if event.offers is not None)
        return [offer for offers in made for offer in offers]

    def states(self, task: str) -> list[str]:
        """States of a task, in the order in which they were told."""
        updates = (event.update.status for event in self.events if event.update is not None)
        return [status.state for status in updates if status.task_id.value == task]

    async def launch(self, name: str, command: str, **more: Any) -> None:
        """A task on the newest offer."""
        offer = self.offers[-1]
        allocated = wire.AllocationInfo("lab")
        resources = (
            wire.Resource("cpus", "SCALAR", wire.Scalar(1.0), allocation_info=allocated),
            wire.Resource("mem", "SCALAR", wire.Scalar(64.0), allocation_info=allocated),
        )
        info = wire.TaskInfo(
            name,
            wire.TaskID(name),
            offer.agent_id,
            resources=resources,
            command=wire.CommandInfo(value=command),
            **more,
        )
        launch = wire.Operation("LAUNCH", launch=wire.OperationLaunch((info,)))
        body = wire.CallAccept((offer.id,), (launch,), wire.Filters(0.0))
        await self.call(wire.Call("ACCEPT", accept=body))


async def started(
    agents: int = 1, *flags: str, seed: int = 1
) -> tuple[SimulatedCluster, Framework, list[SimulatedAgent]]:
    """A cluster whose agents are registered, and a framework that has offers."""
    cluster = cluster_of(agents, *flags, seed=seed)
    await cluster.register()
    framework = Framework(cluster)
    await framework.subscribe()
    await framework.until(lambda: len(framework.offers) >= agents)
    return cluster, framework, cluster.agents
