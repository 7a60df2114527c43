"""Asks the workload about departures, all at once, each try with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubedcos.clock import Clock
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.workload import Departure, Readiness, RunningTask, Workload


class Side(StrEnum):
    """Which side of the end of its tasks."""

    STOP = "stop"
    """Whether they may end at all: others may need them."""
    PREPARE = "prepare"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class DepartureResult:
    """How far a departure is.

    Attributes:
        since: tells it from an earlier one of the same pod instance.
        at: when the workload said so, by the monotonic clock.
    """

    pod_instance: str
    side: Side
    since: float
    readiness: Readiness
    at: float


class Departures:
    """Keeps one try for each departure; answers go to `report`."""

    def __init__(
        self,
        workload: Workload,
        clock: Clock,
        pace: Pace,
        report: Callable[[DepartureResult], None],
    ) -> None:
        self._workload = workload
        self._clock = clock
        self._pace = pace
        self._report = report
        self._under_way: dict[tuple[str, Side, float], asyncio.Task[None]] = {}
        self._next: dict[tuple[str, Side, float], float] = {}

    def keep(
        self, wanted: Mapping[str, tuple[Side, Departure]], peers: Sequence[RunningTask]
    ) -> None:
        """Carry on these departures and no others: starts, lets go on, and cancels as needed."""
        keys = {(name, side, leaves.since): leaves for name, (side, leaves) in wanted.items()}
        for key in [known for known in self._under_way if known not in keys]:
            self._under_way.pop(key).cancel()
        self._next = {key: at for key, at in self._next.items() if key in keys}
        now = self._clock.monotonic()
        for key, leaves in keys.items():
            running = self._under_way.get(key)
            if (running is None or running.done()) and now >= self._next.get(key, 0.0):
                self._under_way[key] = asyncio.create_task(self._try(key, leaves, peers))

    def redirect(self, report: Callable[[DepartureResult], None]) -> None:
        """Send answers elsewhere from now on."""
        self._report = report

    async def close(self) -> None:
        """Cancel all tries and wait until they are gone."""
        tries = list(self._under_way.values())
        self._under_way.clear()
        for one in tries:
            one.cancel()
        await asyncio.gather(*tries, return_exceptions=True)

    async def _try(
        self, key: tuple[str, Side, float], leaves: Departure, peers: Sequence[RunningTask]
    ) -> None:
        name, side, since = key
        deadline = self._pace.departure_deadline
        do = {
            Side.STOP: self._workload.may_stop,
            Side.PREPARE: self._workload.prepare_departure,
            Side.FINISH: self._workload.finish_departure,
        }
        try:
            async with asyncio.timeout(deadline):
                readiness = await do[side](leaves, peers)
        except TimeoutError:
            readiness = Readiness(ready=False, reason=f"no answer within {deadline:.0f} s")
        except Exception as error:
            readiness = Readiness(ready=False, reason=f"cannot {side} it: {error!r}")
        now = self._clock.monotonic()
        self._next[key] = now + self._pace.departure_interval
        self._report(DepartureResult(name, side, since, readiness, now))
