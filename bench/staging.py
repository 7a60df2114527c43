"""A cluster of thousands of nodes is staged in virtual time: what does a node cost, and a takeover?

The scheduler itself with its SQLite store stages a control plane and N nodes of three tasks each
on the embedded master's own code with N simulated agents, all in this process; then a second
scheduler takes over from the store. Each line holds what was measured against what is allowed;
below 1 is well. Each size runs in a process of its own, so that memory is its own.

    python bench/staging.py [--small 500] [--large 5000]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import itertools
import json
import pstats
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kubedcos.embedded.simulation import serving
from kubedcos.embedded.simulation.behaviour import Behaviour
from kubedcos.embedded.simulation.cluster import SimulatedCluster
from kubedcos.embedded.simulation.connector import InProcessConnector
from kubedcos.embedded.simulation.virtual_time import LoopClock, VirtualLoop
from kubedcos.model.service import (
    PhaseSpec,
    PlacementSpec,
    PlanSpec,
    PodSpec,
    ServiceSpec,
    StepSpec,
    Strategy,
    TaskSpec,
    VolumeSpec,
)
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.workload import Command, Launch, Readiness, RunningTask
from kubedcos.state.sqlite import SqliteStore

STAGING_SECONDS, RATIO, MEMORY_MIB, TAKEOVER_SECONDS = 300.0, 1.5, 500.0, 15.0
NODE_TASKS = ("kubelet", "proxy", "dns")


class Service:
    """A workload whose components are ready as soon as they run."""

    def __init__(self, nodes: int) -> None:
        self.spec = service(nodes)

    def command(self, launch: Launch, peers: Sequence[RunningTask]) -> Command:
        return Command("serve", environment={"NAME": launch.pod_instance})

    async def probe(self, task: RunningTask, peers: Sequence[RunningTask]) -> Readiness:
        return Readiness(ready=True)

    def task_ended(self, task_id: str) -> None:
        pass


def service(nodes: int) -> ServiceSpec:
    local = PlacementSpec(local_region=True)
    peer = TaskSpec("peer", "etcd", 0.5, 512, 256, volumes=(VolumeSpec("data", "data", 1024),))
    node = tuple(TaskSpec(name, name, 0.5, 512, 256) for name in NODE_TASKS)
    pods = (
        PodSpec("etcd", 1, (peer,), local),
        PodSpec("kube-apiserver", 1, (TaskSpec("instance", "apiserver", 1.0, 1024, 256),), local),
        PodSpec("kube-node", nodes, node, PlacementSpec(spread_by="region")),
    )
    phases = (
        PhaseSpec("etcd", Strategy.SERIAL, (StepSpec("etcd-0:[peer]", "etcd", 0, ("peer",)),)),
        PhaseSpec(
            "apiserver",
            Strategy.SERIAL,
            (StepSpec("kube-apiserver-0:[instance]", "kube-apiserver", 0, ("instance",)),),
        ),
        PhaseSpec(
            "node",
            Strategy.PARALLEL,
            tuple(
                StepSpec(
                    f"kube-node-{index}:[{', '.join(NODE_TASKS)}]", "kube-node", index, NODE_TASKS
                )
                for index in range(nodes)
            ),
        ),
    )
    return ServiceSpec("bench", "bench", pods, (PlanSpec("deploy", phases),))


async def cluster_of(agents: int) -> SimulatedCluster:
    plan = serving.Plan(
        agents=agents,
        domains=(("dc-a", "dc-a-1"), ("dc-b", "dc-b-1")),
        resources="cpus:8;mem:16384;disk:65536;ports:[31000-32000]",
        attributes="",
        address="127.0.0.1",
        port=5050,
        master_flags=(),
        seed=1,
    )
    chance = random.Random(plan.seed)
    usual = Behaviour(starts_after=0.5, runs_after=1.0)
    cluster = SimulatedCluster(serving.master_options(plan), LoopClock(), chance, usual)
    for number, info in enumerate(serving.agent_infos(plan)):
        cluster.add(info, str(serving.FIRST_ADDRESS + number))
    cluster.engine.elect(cluster.engine.store.load())
    await cluster.register()
    return cluster


def scheduler_on(cluster: SimulatedCluster, nodes: int, store: SqliteStore, life: str) -> Scheduler:
    ids = itertools.count(1)
    return Scheduler(
        Service(nodes),
        store,
        InProcessConnector(cluster.engine),
        FrameworkSettings("bench", "bench", "m1:5050", principal="p"),
        LoopClock(),
        new_id=lambda: f"{life}-{next(ids)}",
    )


async def until_complete(scheduler: Scheduler, running: asyncio.Task[None]) -> None:
    while not scheduler.is_complete:
        if running.done():
            running.result()
        await asyncio.sleep(1)


async def measure(nodes: int, *, profile: bool) -> dict[str, float]:
    """Seconds and mebibytes for one size."""
    cluster = await cluster_of(nodes + nodes // 20 + 2)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.db"
        profiler = cProfile.Profile()
        started, cpu = time.perf_counter(), time.process_time()
        store = SqliteStore(path)
        scheduler = scheduler_on(cluster, nodes, store, "a")
        if profile:
            profiler.enable()
        running = asyncio.create_task(scheduler.run())
        await until_complete(scheduler, running)
        profiler.disable()
        staged, cpu = time.perf_counter() - started, time.process_time() - cpu
        virtual = asyncio.get_running_loop().time()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        store.close()
        assert len(cluster.engine.state.tasks) == 2 + 3 * nodes
        started = time.perf_counter()
        store = SqliteStore(path)
        scheduler = scheduler_on(cluster, nodes, store, "b")
        running = asyncio.create_task(scheduler.run())
        # Reconciled, looked at and found complete: from here on it would act.
        while not scheduler.is_complete:
            await asyncio.sleep(0.05)
        takeover = time.perf_counter() - started
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        store.close()
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    await cluster.engine.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "staged": staged,
        "cpu": cpu,
        "takeover": takeover,
        "memory": memory,
        "virtual": virtual,
    }


def measured(nodes: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(nodes)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def show(what: str, value: float, limit: float, unit: str) -> None:
    print(f"{what:52} {value:9.3f} {unit:4} of {limit:6.1f}: ratio {value / limit:.3f}", flush=True)


def main(small: int, large: int) -> None:
    few, many = measured(small), measured(large)
    show(f"{large} nodes staged (master and agents included)", many["staged"], STAGING_SECONDS, "s")
    show(f"takeover with {large} nodes", many["takeover"], TAKEOVER_SECONDS, "s")
    show("memory, master and agents included", many["memory"], MEMORY_MIB, "MiB")
    # In CPU time: what else the machine does must not count.
    cost = (many["cpu"] / large) / (few["cpu"] / small)
    show(f"a node of {large} to a node of {small}", cost, RATIO, "")
    for nodes, found in ((small, few), (large, many)):
        each = 1000 * found["cpu"] / nodes
        print(f"{nodes} nodes: {each:.2f} ms of CPU each, {found['virtual']:.0f} s of virtual time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--large", type=int, default=5000)
    parser.add_argument("--one", type=int, help="measure one size, as JSON")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    if chosen.one is None:
        main(chosen.small, chosen.large)
    else:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            print(json.dumps(runner.run(measure(chosen.one, profile=chosen.profile))))
