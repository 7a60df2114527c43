"""Nothing is called at Mesos by a scheduler that cannot prove that it leads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubedcos.mesos import messages as wire
from kubedcos.scheduler import translate
from kubedcos.scheduler.fencing import FencedConnector
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.state.store import Deposed


class Mesos:
    """A way to Mesos that notes what goes along it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.subscribed = wire.Subscribed(wire.FrameworkID("F-1"))

    async def connect(self, subscribe: wire.CallSubscribe) -> Any:
        self.calls.append(subscribe)
        return self

    async def next_event(self) -> wire.Event:
        return wire.Event()

    async def call(self, call: wire.Call) -> None:
        self.calls.append(call)

    async def close(self) -> None:
        self.calls.append("close")


class Place:
    leads = True

    def prove(self) -> None:
        if not self.leads:
            raise Deposed("another scheduler may lead")


def test_a_deposed_scheduler_calls_nothing() -> None:
    async def story() -> None:
        mesos, place = Mesos(), Place()
        connector = FencedConnector(mesos, place.prove)
        info = translate.framework_info(FrameworkSettings("k", "k", "m:5050"), "")
        connection = await connector.connect(wire.CallSubscribe(framework_info=info))
        await connection.call(translate.kill("t", "S1"))
        assert connection.subscribed is mesos.subscribed
        assert len(mesos.calls) == 2

        place.leads = False
        with pytest.raises(Deposed):
            await connection.call(translate.kill("t", "S1"))
        with pytest.raises(Deposed):
            await connector.connect(wire.CallSubscribe(framework_info=info))
        assert len(mesos.calls) == 2
        await connection.close()

    asyncio.run(story())
