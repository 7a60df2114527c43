"""The way of a scheduler to the simulated Mesos, and what an ACCEPT may take from an offer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubedcos.mesos import messages as wire
from kubedcos.mesos import operations as convert
from kubedcos.mesos.client import Connection, SubscriptionLost
from kubedcos.mesos.resources import Resources

if TYPE_CHECKING:
    from .simulated_mesos import SimulatedMesos


class SimulatedConnection:
    """What the scheduler holds; updates may be lost or come twice here."""

    def __init__(self, mesos: SimulatedMesos, real: Connection) -> None:
        self._mesos = mesos
        self.real = real
        self.subscribed = real.subscribed
        self._again: wire.Event | None = None

    async def next_event(self) -> wire.Event:
        if self._again is not None:
            event, self._again = self._again, None
            return event
        while True:
            event = await self.real.next_event()
            status = event.update.status if event.update is not None else None
            if status is None or status.uuid is None:
                return event
            if self._mesos.lose_update(status):
                continue
            if self._mesos.duplicate_updates:
                self._again = event
            return event

    async def call(self, call: wire.Call) -> None:
        await asyncio.sleep(0)
        if self._mesos.connection is not self:
            raise SubscriptionLost(f"{call.type}: the connection is gone")
        await self._mesos.take(call)

    async def close(self) -> None:
        await self.real.close()


def left_after(operation: wire.Operation, pool: Resources) -> Resources:
    """What is left of an offer; raises ValueError when the operation asks for more."""
    if operation.launch is None:
        steps = convert.conversions(operation)
        return convert.applied(pool, (step.unallocated() for step in steps))
    for info in operation.launch.task_infos:
        needs = Resources(info.resources).unallocated()
        if not pool.contains(needs):
            raise ValueError(f"{info.name} needs {needs}; offered {pool}")
        pool -= needs
    return pool
