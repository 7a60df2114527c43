"""Asks components whether they are ready, all at once, each with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kubedcos.clock import Clock
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.workload import Readiness, RunningTask, Workload


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a component said."""

    task_id: str
    readiness: Readiness


class Prober:
    """Keeps one probe for each task that is not ready; answers go to `report`."""

    def __init__(
        self, workload: Workload, clock: Clock, pace: Pace, report: Callable[[ProbeResult], None]
    ) -> None:
        self._workload = workload
        self._clock = clock
        self._pace = pace
        self._report = report
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._next: dict[str, float] = {}

    def keep(self, tasks: Iterable[RunningTask], peers: Sequence[RunningTask]) -> None:
        """Probe these tasks and no others: starts, lets go on, and cancels as needed."""
        wanted = {task.launch.task_id: task for task in tasks}
        for task_id in [known for known in self._under_way if known not in wanted]:
            self._under_way.pop(task_id).cancel()
        self._next = {id_: at for id_, at in self._next.items() if id_ in wanted}
        now = self._clock.monotonic()
        for task_id, task in wanted.items():
            running = self._under_way.get(task_id)
            if (running is None or running.done()) and now >= self._next.get(task_id, 0.0):
                self._under_way[task_id] = asyncio.create_task(self._probe(task, peers))

    def redirect(self, report: Callable[[ProbeResult], None]) -> None:
        """Send answers elsewhere from now on."""
        self._report = report

    async def close(self) -> None:
        """Cancel all probes and wait until they are gone."""
        probes = list(self._under_way.values())
        self._under_way.clear()
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)

    async def _probe(self, task: RunningTask, peers: Sequence[RunningTask]) -> None:
        deadline = self._pace.probe_deadline
        try:
            async with asyncio.timeout(deadline):
                readiness = await self._workload.probe(task, peers)
        except TimeoutError:
            readiness = Readiness(ready=False, reason=f"no answer within {deadline:.0f} s")
        except Exception as error:
            readiness = Readiness(ready=False, reason=f"probe failed: {error!r}")
        task_id = task.launch.task_id
        self._next[task_id] = self._clock.monotonic() + self._pace.probe_interval
        self._report(ProbeResult(task_id, readiness))
