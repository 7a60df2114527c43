"""Many tasks while everything is killed at random, for as long as an option says."""

from __future__ import annotations

import contextlib
import http.client
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.mesos.client import launch, scalar, task
from tests.contracts.mesos.engine import Cluster, wait_for

from .lab import PATIENCE, Lab
from .scheduler import TERMINAL, Scheduler

Json = dict[str, Any]
LOST = (OSError, http.client.HTTPException)


class Crowd:
    """A framework with many tasks.

    Attributes:
        told: for each task that was ever launched, its states as they were told.
        log: what was done, for the message of a failure.
    """

    def __init__(self, lab: Lab, rng: random.Random) -> None:
        self.lab, self.rng = lab, rng
        self.scheduler = Scheduler(lab, "soak")
        self.told: dict[str, list[str]] = {}
        self.log: list[str] = []
        self.offers: dict[str, Json] = {}
        self.misers = 0.0
        self._read = 0

    def connect(self) -> None:
        self.scheduler.framework.close()
        self.offers.clear()
        self._read = 0
        self.scheduler.connect()

    def hear(self, seconds: float) -> None:
        """Take in what comes within that time; some updates are left unacknowledged."""
        framework = self.scheduler.framework
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0 and not framework.ended:
            with framework.arrived:
                framework.arrived.wait(rest)
            self._take_in()
        if framework.ended:
            self.connect()

    def _take_in(self) -> None:
        events = self.scheduler.framework.events
        while self._read < len(events):
            event = events[self._read]
            self._read += 1
            if event["type"] == "OFFERS":
                self.offers |= {one["id"]["value"]: one for one in event["offers"]["offers"]}
            elif event["type"] == "RESCIND":
                self.offers.pop(event["rescind"]["offer_id"]["value"], None)
            elif event["type"] == "UPDATE":
                status = event["update"]["status"]
                self.told.setdefault(status["task_id"]["value"], []).append(status["state"])
                if self.rng.random() >= self.misers:
                    with contextlib.suppress(*LOST):
                        self.scheduler.acknowledge(status)

    def launch(self) -> None:
        if not self.offers:
            return
        offer = self.offers.pop(next(iter(self.offers)))
        wanted = []
        for _ in range(self.rng.randint(1, 3)):
            task_id = f"t{len(self.told):05d}"
            self.told[task_id] = []
            duration = self.rng.choice(("0.1", "1", "1000", "1000"))
            script = f"echo $$ >> {self.lab.starts}/{task_id}; exec sleep {duration}"
            made = task(offer, task_id, script)
            made["resources"] = [scalar("cpus", 0.05), scalar("mem", 16)]
            wanted.append(made)
        with contextlib.suppress(*LOST):
            self.scheduler.framework.accept([offer], [launch(*wanted)])

    def open(self) -> list[str]:
        """Tasks of which no end was told."""
        return [name for name, states in self.told.items() if not TERMINAL & set(states)]

    def kill(self, task_ids: list[str]) -> None:
        for task_id in task_ids:
            with contextlib.suppress(*LOST):
                self.scheduler.framework.call("KILL", kill={"task_id": {"value": task_id}})

    def kill_some(self) -> None:
        running = [name for name in self.open() if "TASK_RUNNING" in self.told[name]]
        self.kill(self.rng.sample(running, min(2, len(running))))

    def kill_agent(self) -> None:
        self.lab.agent_process.kill()
        self.hear(self.rng.random())
        self.lab.agent_process.start()

    def kill_master(self) -> None:
        self.lab.master_process.kill()
        self.lab.master_process.start()
        self.hear(self.rng.random())

    def kill_executor(self) -> None:
        if executors := self.lab.executors():
            with contextlib.suppress(ProcessLookupError):
                self.lab.kill(self.rng.choice(executors))

    def die(self) -> None:
        self.connect()

    def cut(self) -> None:
        self.lab.agent_side.cut()
        self.lab.master_side.cut()
        self.hear(self.rng.choice((0.3, 5.0)))
        for side in (self.lab.agent_side, self.lab.master_side):
            side.heal()
            side.close_severed()

    def be_careless(self) -> None:
        self.misers = self.rng.choice((0.0, 0.0, 0.5))

    def finish(self) -> None:
        """Everything is up again; every task is brought to its end."""
        self.misers = 0.0
        wait_for(lambda: self.lab.master.get("/state").status == 200, "the master", PATIENCE)
        self.connect()
        self.lab.wait_for_agent()

        def over() -> bool:
            self.kill(self.open())
            self.hear(1.0)
            unknown = [name for name in self.open() if "TASK_UNKNOWN" not in self.told[name]]
            return not unknown

        wait_for(over, f"all of {len(self.told)} tasks ended", 120)


ACTIONS: dict[Callable[[Crowd], None], int] = {
    Crowd.launch: 12,
    Crowd.kill_some: 6,
    Crowd.kill_executor: 3,
    Crowd.kill_agent: 2,
    Crowd.kill_master: 1,
    Crowd.die: 2,
    Crowd.cut: 1,
    Crowd.be_careless: 2,
}


@pytest.mark.contract(behaviour="survival")
def test_random_kills(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seconds = request.config.getoption("--soak")
    if not seconds:
        pytest.skip("--soak SECONDS runs it")
    if not cluster.own:
        pytest.skip("kills agents and masters; runs only where the tests start them")
    seed = request.config.getoption("--soak-seed")
    rng = random.Random(seed)
    lab = Lab(tmp_path)
    try:
        crowd = Crowd(lab, rng)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            [action] = rng.choices(list(ACTIONS), list(ACTIONS.values()))
            crowd.log.append(action.__name__)
            action(crowd)
            crowd.hear(0.2)
        crowd.finish()
        counts = {name: crowd.log.count(name) for name in sorted(set(crowd.log))}
        summary = f"seed {seed}: {len(crowd.told)} tasks, {counts}"
        for task_id, states in crowd.told.items():
            ends = TERMINAL & set(states)
            starts = lab.started(task_id)
            assert len(ends) <= 1, f"{summary}; {task_id}: {states}"
            assert starts <= 1, f"{summary}; {task_id} started {starts} times: {states}"
            assert ends or not starts, f"{summary}; {task_id} ran and its end was never told"
        crowd.scheduler.tear_down()
        wait_for(lambda: not lab.leftovers(), f"nothing left of {lab.leftovers()}", PATIENCE)
        print(summary)  # noqa: T201  the figures of a run that lasts minutes
    finally:
        lab.close()
