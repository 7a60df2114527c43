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
    """Asks each task that is not ready again and again; answers go to `report`."""

    def __init__(
        self, workload: Workload, clock: Clock, pace: Pace, report: Callable[[ProbeResult], None]
    ) -> None:
        self._workload = workload
        self._clock = clock
        self._pace = pace
        self._report = report
        self._asked: dict[str, RunningTask] = {}
        self._peers: Sequence[RunningTask] = ()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def keep(self, tasks: Iterable[RunningTask], peers: Sequence[RunningTask]) -> None:
        """Ask these tasks and no others: starts, goes on with what is known now, and cancels."""
        self._asked = {task.launch.task_id: task for task in tasks}
        self._peers = peers
        for task_id in [known for known in self._under_way if known not in self._asked]:
            self._under_way.pop(task_id).cancel()
        for task_id in self._asked:
            if task_id not in self._under_way:
                self._under_way[task_id] = asyncio.create_task(self._ask_on(task_id))

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

    async def _ask_on(self, task_id: str) -> None:
        begun = told_at = self._clock.monotonic()
        told = None
        while True:
            readiness = await self._ask(self._asked[task_id])
            now = self._clock.monotonic()
            # Each answer has a cycle follow it; one that says nothing new can wait.
            if readiness != told or now - told_at >= self._pace.probe_interval:
                told, told_at = readiness, now
                self._report(ProbeResult(task_id, readiness))
            await self._clock.sleep(self._pace.probe_pause(now - begun))

    async def _ask(self, task: RunningTask) -> Readiness:
        deadline = self._pace.probe_deadline
        try:
            async with asyncio.timeout(deadline):
                return await self._workload.probe(task, self._peers)
        except TimeoutError:
            return Readiness(ready=False, reason=f"no answer within {deadline:.0f} s")
        except Exception as error:
            return Readiness(ready=False, reason=f"probe failed: {error!r}")
