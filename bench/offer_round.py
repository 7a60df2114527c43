"""An offer round costs what its agents cost: is the cost per agent the same for 10 times as many?

A round offers every agent to a framework: allocation, the offers' bookkeeping, and the JSON of the
event. It is measured for a small and a large cluster in one run, in CPU time, so that the ratio
means the same on any machine: 1 is linear, 10 would be quadratic. A round in which nothing is free
(everything is offered already) is measured likewise: it is what a master does each second.

    python bench/offer_round.py [--small 500] [--large 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Callable

from kubedcos.clock import SystemClock
from kubedcos.embedded.master.effects import Allocate
from kubedcos.embedded.master.streams import Stream
from kubedcos.embedded.serving import look_for_garbage_rarely
from kubedcos.embedded.simulation import serving
from kubedcos.embedded.simulation.cluster import SimulatedCluster
from kubedcos.embedded.simulation.connector import answered
from kubedcos.mesos import messages as wire

REPEATS = 5
CAPABILITIES = ("MULTI_ROLE", "RESERVATION_REFINEMENT", "PARTITION_AWARE", "REGION_AWARE")


async def cluster_of(agents: int) -> SimulatedCluster:
    plan = serving.Plan(
        agents=agents,
        domains=(("dc-a", "dc-a-1"), ("dc-b", "dc-b-1")),
        resources="cpus:8;mem:16384;disk:65536;ports:[31000-32000]",
        attributes="",
        address="127.0.0.1",
        port=5050,
        # Rounds happen when this benchmark wants them.
        master_flags=("--allocation_interval=1weeks",),
        seed=1,
    )
    chance = random.Random(plan.seed)
    cluster = SimulatedCluster(serving.master_options(plan), SystemClock(), chance)
    for number, info in enumerate(serving.agent_infos(plan)):
        cluster.add(info, str(serving.FIRST_ADDRESS + number))
    cluster.engine.elect(cluster.engine.store.load())
    await cluster.register()
    return cluster


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


async def rounds(agents: int) -> tuple[float, float]:
    """CPU seconds per agent of a full round and of one in which nothing is free."""
    cluster = await cluster_of(agents)
    engine = cluster.engine
    capabilities = tuple(map(wire.FrameworkCapability, CAPABILITIES))
    info = wire.FrameworkInfo("root", "bench", roles=("bench",), capabilities=capabilities)
    body = wire.CallSubscribe(info)
    full, idle = [], []
    for _ in range(REPEATS):
        stream: list[Stream] = []

        def subscribe(stream: list[Stream] = stream) -> None:
            answer = answered(engine, wire.Call(type="SUBSCRIBE", subscribe=body))
            assert isinstance(answer, Stream)
            stream.append(answer)

        full.append(seconds(subscribe))
        assert len(engine.state.offers) == agents
        idle.append(seconds(lambda: engine.perform([Allocate()])))
        engine.stream_ended(stream[0].id)
        assert not engine.state.offers
    await engine.close()
    return min(full) / agents, min(idle) / agents


async def main(small: int, large: int) -> None:
    look_for_garbage_rarely()
    few, many = await rounds(small), await rounds(large)
    for name, one, other in zip(("full round", "idle round"), few, many, strict=True):
        print(
            f"{name}: {one * 1e6:.1f} us per agent with {small}, {other * 1e6:.1f} with {large};"
            f" ratio {other / one:.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--large", type=int, default=5000)
    chosen = parser.parse_args()
    asyncio.run(main(chosen.small, chosen.large))
