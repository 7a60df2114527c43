"""How long does a takeover take at 5,000 nodes, and is what it costs per node the same as at 500?

The state of a cluster is written to a real ZooKeeper: records of three tasks, a step, an agent and
three sealed grants for each node. Then the process that leads is killed with `kill -9`. Measured is
the time from there until the next one has the lock, all records and all grants: what is left until
it acts is the subscription to Mesos.

    python bench/takeover.py --zookeeper 127.0.0.1:2181 [--small 500] [--large 5000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import time
import uuid
from multiprocessing.synchronize import Event

import msgspec

from kubedcos.config import cluster as options_file
from kubedcos.kubernetes import components
from kubedcos.kubernetes.grants import Grants, new_grant
from kubedcos.kubernetes.vault import SealedSecretStore
from kubedcos.model.offer import Agent
from kubedcos.scheduler.world import Record, World, launch_of
from kubedcos.state import documents, records
from kubedcos.state.records import AgentRecord, StepRecord, TaskRecord
from kubedcos.state.seal import Seal
from kubedcos.state.session import DEFAULT_TIMEOUT, ZooKeeperSession
from kubedcos.state.store import Change

ALLOWED_SECONDS = 15.0
SEAL = Seal(b"only for this benchmark, never used")
CLUSTER = "kubernetes"


def session(address: str, path: str, name: str) -> ZooKeeperSession:
    """A started session."""
    made = ZooKeeperSession(address, path, "bench", "bench", f"https://{name}:8443")
    made.start()
    return made


def written(count: int) -> list[Change]:
    """Everything that the scheduler keeps of a cluster with so many nodes."""
    spec = components.service(options_file.load("", "bench"))
    pod = spec.pod(components.NODE_POD)
    seal = SealedSecretStore(_Nothing(), CLUSTER, SEAL)
    changes = []
    for index in range(count):
        agent = Agent(f"{uuid.uuid4()}-S{index}", f"n{index}", "127.1.0.1", "dc-a", "a-1", ())
        kept: list[tuple[str, str, Record]] = []
        for task in pod.tasks:
            made = TaskRecord(
                f"{pod.instance(index)}-{task.name}__{uuid.uuid4()}",
                pod.name,
                index,
                task,
                agent,
                state="TASK_RUNNING",
                addresses=("127.1.0.1",),
                ready=True,
                running_at=1.0,
            )
            kept.append((records.TASK, made.key, made))
            grant = new_grant(launch_of(made), (), 1.0)
            changes.append(seal.change(f"grant-{made.task_id}", msgspec.json.encode(grant)))
        step = StepRecord("deploy", "node", pod.instance(index), 1.0, 2.0, was_complete=True)
        kept += [
            (records.STEP, step.key, step),
            (records.AGENT, agent.id, AgentRecord(agent, {"cpus": 4000}, 1.0)),
        ]
        changes += [documents.put(*where) for where in kept]
    return changes


class _Nothing:
    """A store without documents."""

    def clusters(self) -> tuple[str, ...]:
        return ()

    def read(self, cluster: str, kind: str) -> dict[str, bytes]:
        return {}

    def write(self, cluster: str, changes: object) -> None:
        """Nothing is kept."""

    def drop(self, cluster: str) -> None:
        """Nothing is there."""

    def close(self) -> None:
        """Nothing to release."""


def hold(address: str, path: str, count: int, ready: Event) -> None:
    """Lead with the state of so many nodes, until killed."""
    first = session(address, path, "first")
    first.lead()
    first.store().write(CLUSTER, written(count))
    ready.set()
    signal.pause()


def takeover(address: str, count: int) -> tuple[float, float]:
    """Seconds until the next one leads, and until it knows everything after that."""
    path = f"/bench-{uuid.uuid4().hex}"
    ready = multiprocessing.Event()
    first = multiprocessing.Process(target=hold, args=(address, path, count, ready))
    first.start()
    ready.wait()
    second = session(address, path, "second")
    first.kill()
    first.join()
    began = time.perf_counter()
    second.lead()
    leads = time.perf_counter()
    found = second.store()
    world = World(found, components.service(options_file.load("", "bench")))
    grants = Grants(SealedSecretStore(found, CLUSTER, SEAL))
    knows = time.perf_counter()
    assert len(world.tasks) == len(grants.all) == 3 * count
    found.drop(CLUSTER)
    second.close()
    return leads - began, knows - leads


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zookeeper", required=True)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--large", type=int, default=5000)
    given = parser.parse_args()
    reading = {}
    for count in (given.small, given.large):
        waiting, reading[count] = takeover(given.zookeeper, count)
        total = waiting + reading[count]
        print(
            f"{count} nodes: {waiting:.1f} s until the session of {DEFAULT_TIMEOUT:.0f} s ended,"
            f" {reading[count]:.2f} s for {3 * count} tasks and as many grants;"
            f" {total / ALLOWED_SECONDS:.2f} of the {ALLOWED_SECONDS:.0f} s allowed"
        )
    ratio = (reading[given.large] / given.large) / (reading[given.small] / given.small)
    print(f"reading, per node, {given.large} to {given.small} nodes: {ratio:.2f}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory of the one that took over: {memory:.0f} MiB at most")


if __name__ == "__main__":
    main()
