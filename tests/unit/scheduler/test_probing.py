"""Components that start quickly are seen to be ready quickly; slow ones are asked with patience."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from kubedcos.embedded.simulation.virtual_time import LoopClock, VirtualLoop
from kubedcos.model.service import TaskSpec
from kubedcos.scheduler.probing import Prober, ProbeResult
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.workload import AgentPlace, Launch, Readiness, RunningTask

PACE = Pace(probe_first=0.2, probe_interval=1.0)
SPEC = TaskSpec("peer", "etcd", 1.0, 128, 128)


def task(task_id: str = "t0") -> RunningTask:
    launch = Launch(task_id, "etcd", 0, SPEC, AgentPlace("S1", "a1", "10.0.0.1"), {}, {})
    return RunningTask(launch, "TASK_RUNNING")


class Component:
    """Ready after some seconds of the loop's time; remembers when it was asked, and beside whom."""

    def __init__(self, after: float, reason: str = "starting") -> None:
        self.after = after
        self.reason = reason
        self.asked: list[float] = []
        self.peers: list[Sequence[RunningTask]] = []

    async def probe(self, _task: RunningTask, peers: Sequence[RunningTask]) -> Readiness:
        now = asyncio.get_running_loop().time()
        self.asked.append(round(now, 6))
        self.peers.append(peers)
        return Readiness(ready=now >= self.after, reason=self.reason)


def seconds(component: Any, *, until: float, told: list[ProbeResult]) -> None:
    """Have a component asked for so long, and then no more."""
    prober = Prober(component, LoopClock(), PACE, told.append)

    async def watch() -> None:
        prober.keep([task()], ())
        await asyncio.sleep(until)
        await prober.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(watch())


def test_pauses_grow_with_the_time_that_it_takes() -> None:
    component, told = Component(after=1000.0), list[ProbeResult]()
    seconds(component, until=30.0, told=told)
    asked = component.asked
    pauses = [round(later - at, 6) for at, later in itertools.pairwise(asked)]
    assert pauses[0] == 0.2
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0


def test_who_is_ready_is_told_within_a_tenth_of_its_time() -> None:
    told = list[ProbeResult]()
    component = Component(after=3.0)
    seconds(component, until=3.3, told=told)
    assert told[-1].readiness.ready


def test_the_same_reason_is_told_once_in_each_interval_and_a_new_one_at_once() -> None:
    component, told = Component(after=1000.0), list[ProbeResult]()
    seconds(component, until=1.9, told=told)
    assert len(component.asked) == 10
    assert len(told) == 2


def test_questions_go_on_with_what_is_known_by_then() -> None:
    component = Component(after=1000.0)

    async def watch() -> None:
        prober = Prober(component, LoopClock(), PACE, lambda _: None)  # type: ignore[arg-type]
        prober.keep([task()], ())
        await asyncio.sleep(0.5)
        prober.keep([task()], [task("t1")])
        await asyncio.sleep(0.4)
        prober.keep([], ())
        await asyncio.sleep(5.0)
        await prober.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(watch())
    assert [len(peers) for peers in component.peers] == [0] * 3 + [1] * 2
