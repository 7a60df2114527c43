"""The framework scheduler on a whole Mesos: staged in order, restarted, deleted without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedcos.clock import SystemClock
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
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.scheduler.settings import FrameworkSettings, connector
from kubedcos.scheduler.workload import Command, Departure, Launch, Readiness, RunningTask
from kubedcos.state.sqlite import SqliteStore

from .client import Http
from .engine import Cluster

ROLE = "scheduler-contract"
DEADLINE = 90


def small(name: str, goal: Goal = Goal.RUNNING, **more: Any) -> TaskSpec:
    return TaskSpec(name, name, 0.1, 64, 32, goal=goal, kill_grace_seconds=1.0, **more)


SERVICE = ServiceSpec(
    ROLE,
    ROLE,
    (
        PodSpec(
            "store",
            1,
            (small("peer", ports=(PortSpec("p"),), volumes=(VolumeSpec("data", "data", 64),)),),
            PlacementSpec(local_region=True),
        ),
        PodSpec("job", 1, (small("once", Goal.FINISHED),)),
        PodSpec("node", 2, (small("one"), small("two")), PlacementSpec(spread_by="region")),
    ),
    (
        PlanSpec(
            "deploy",
            (
                PhaseSpec("store", Strategy.SERIAL, (StepSpec("s", "store", 0, ("peer",)),)),
                PhaseSpec("job", Strategy.SERIAL, (StepSpec("j", "job", 0, ("once",)),)),
                PhaseSpec(
                    "node",
                    Strategy.PARALLEL,
                    tuple(StepSpec(f"n{at}", "node", at, ("one", "two")) for at in (0, 1)),
                ),
            ),
        ),
    ),
)
COMMANDS = {
    # It fails once, and again and again unless its next start finds the same volume.
    "peer": "test -e data/started && exec sleep 1000; touch data/started; sleep 1; exit 3",
    "once": "true",
    "one": "exec sleep 1000",
    "two": "exec sleep 1000",
}


class Sleepers:
    """A workload that is ready as soon as it runs."""

    spec = SERVICE

    def command(self, launch: Launch, peers: Sequence[RunningTask]) -> Command:
        assert launch.spec.name != "one" or len(peers) >= 1, "the store runs before the nodes"
        return Command(COMMANDS[launch.spec.name], environment={"WHERE": launch.place.region})

    async def probe(self, task: RunningTask, peers: Sequence[RunningTask]) -> Readiness:
        assert task in peers or task.launch.spec.goal is Goal.FINISHED
        return Readiness(ready=True)

    async def may_stop(self, departure: Departure, peers: Sequence[RunningTask]) -> Readiness:
        assert departure.pod, peers
        return Readiness(ready=True)

    async def prepare_departure(
        self, departure: Departure, peers: Sequence[RunningTask]
    ) -> Readiness:
        assert departure.pod, peers
        return Readiness(ready=True)

    async def finish_departure(
        self, departure: Departure, peers: Sequence[RunningTask]
    ) -> Readiness:
        assert departure.pod, peers
        return Readiness(ready=True)

    def task_ended(self, task_id: str) -> None:
        assert task_id


class Story:
    """A scheduler that can be ended and started again on the same state."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        credential = cluster.master.credential
        secret = directory / "secret"
        secret.write_text(credential[1] if credential else "")
        self.settings = FrameworkSettings(
            ROLE,
            ROLE,
            cluster.address,
            principal=credential[0] if credential else "",
            secret_file=secret if credential else None,
        )
        self.store = SqliteStore(directory / "state.db")
        self.start()

    def start(self) -> None:
        made = connector(self.settings)
        self.scheduler = Scheduler(Sleepers(), self.store, made, self.settings, SystemClock())
        self.running = asyncio.create_task(self.scheduler.run())

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not condition():
                    if self.running.done():
                        self.running.result()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(str(self.scheduler.snapshot())) from None

    def complete(self) -> bool:
        return bool(self.scheduler.plan_show("deploy")["status"] == "COMPLETE")

    def failures(self) -> int:
        (task,) = self.scheduler.pod_show("store-0")["tasks"]
        return int(task.get("failures", 0))

    def tasks(self) -> dict[str, Any]:
        return {
            f"{pod['name']}-{task['name']}": task
            for pod in self.scheduler.pod_list()
            for task in pod["tasks"]
        }


def shown(master: Http) -> dict[str, Any]:
    """Our framework, as the master has it."""
    frameworks = master.get("/state").json["frameworks"]
    return next(found for found in frameworks if found["name"] == ROLE)


@pytest.mark.contract(behaviour="staging")
def test_a_service_is_staged_kept_and_deleted_without_a_trace(
    cluster: Cluster, master: Http, tmp_path: Path
) -> None:
    async def story() -> None:
        told = Story(cluster, tmp_path)
        await told.until(lambda: told.failures() == 1)
        await told.until(lambda: told.complete() and told.failures() == 1)
        first = told.tasks()
        assert {first[f"node-{at}-one"]["region"] for at in (0, 1)} == {"dc-a", "dc-b"}
        assert first["store-0-peer"]["region"] == "dc-a"
        assert first["job-0-once"]["state"] == "TASK_FINISHED"
        # Subscribed with less than that, and raised when the framework's id was stored.
        assert shown(master)["failover_timeout"] == told.settings.failover_timeout

        await told.end()
        told.start()
        await told.until(lambda: told.scheduler.snapshot()["connected"])
        await told.until(told.complete)
        assert told.tasks() == first

        await told.scheduler.delete()
        await told.running
        told.store.close()

    asyncio.run(story())
    state = master.get("/state").json
    assert ROLE not in [framework["name"] for framework in state["frameworks"]]
    for slave in master.get("/slaves").json["slaves"]:
        assert ROLE not in slave["reserved_resources"]
