"""The watcher sees what a scheduler must not do."""

from __future__ import annotations

import asyncio

import pytest

from kubedcos.mesos import messages as wire

from .machines import SimulatedAgent, scalar
from .simulated_connection import SimulatedConnection
from .simulated_mesos import SimulatedMesos
from .stage import play


async def _connected(mesos: SimulatedMesos) -> tuple[SimulatedConnection, wire.Offer]:
    names = ("MULTI_ROLE", "RESERVATION_REFINEMENT")
    capabilities = tuple(map(wire.FrameworkCapability, names))
    info = wire.FrameworkInfo("root", "f", roles=("lab",), capabilities=capabilities)
    connection = await mesos.connect(wire.CallSubscribe(info))
    return connection, await _offer(connection)


async def _offer(connection: SimulatedConnection) -> wire.Offer:
    while True:
        event = await connection.next_event()
        if event.offers is not None:
            return event.offers.offers[0]


async def _launch(
    connection: SimulatedConnection, offer: wire.Offer, task_id: str, cpus: float
) -> None:
    resources = (scalar("cpus", cpus), scalar("mem", 64))
    info = wire.TaskInfo(
        "t",
        wire.TaskID(task_id),
        offer.agent_id,
        resources=resources,
        command=wire.CommandInfo(value="serve"),
    )
    operation = wire.Operation("LAUNCH", launch=wire.OperationLaunch((info,)))
    body = wire.CallAccept((offer.id,), (operation,), wire.Filters(0.0))
    await connection.call(wire.Call("ACCEPT", accept=body))
    await asyncio.sleep(2)


def test_what_a_scheduler_must_not_do_is_seen() -> None:
    async def story() -> None:
        mesos = SimulatedMesos([SimulatedAgent("a1", "dc-a", "a-1")])
        connection, offer = await _connected(mesos)
        await _launch(connection, offer, "t1", 1)
        assert mesos.violations == []
        await _launch(connection, await _offer(connection), "t2", 1)
        assert mesos.violations.pop() == "t is launched while another runs"
        await _launch(connection, await _offer(connection), "t3", 64)
        assert "needs cpus:64; mem:64; offered cpus:2" in mesos.violations.pop()
        unreserve = wire.OperationResources((scalar("mem", 99999),))
        body = wire.CallAccept(
            ((await _offer(connection)).id,), (wire.Operation("UNRESERVE", unreserve=unreserve),)
        )
        await connection.call(wire.Call("ACCEPT", accept=body))
        assert mesos.violations.pop().startswith("UNRESERVE: ")
        await connection.call(wire.Call("TEARDOWN"))
        assert mesos.violations == ["t was left to TEARDOWN"]
        assert mesos.removed
        await mesos.stop()

    play(story)


@pytest.mark.parametrize("again", [True, False])
def test_a_framework_that_comes_without_its_id_is_seen(*, again: bool) -> None:
    async def story() -> None:
        mesos = SimulatedMesos([SimulatedAgent("a1", "dc-a", "a-1")])
        connection, offer = await _connected(mesos)
        if again:
            await _launch(connection, offer, "t1", 1)
        await mesos.disconnect()
        await _connected(mesos) if again else None
        wanted = ["subscribed as a new framework, leaving its tasks behind"] if again else []
        assert mesos.violations == wanted
        await mesos.stop()

    play(story)
