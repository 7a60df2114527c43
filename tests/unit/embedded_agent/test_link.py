"""The agent's way to its master, beside which something else happens at the same moment."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from kubedcos.clock import SystemClock
from kubedcos.embedded.agent.detector import Master
from kubedcos.embedded.agent.link import MasterLink


@pytest.mark.parametrize("turns", range(5))
def test_a_session_that_is_lost_with_news_at_the_door_ends(turns: int) -> None:
    """An acknowledgement wakes the sender of updates, and the master dies right after it."""
    clock = SystemClock()
    stream = SimpleNamespace(take=lambda _now: None, due_at=lambda: clock.monotonic() + 60)
    agent: Any = SimpleNamespace(
        info=None,
        groups=SimpleNamespace(exits=[]),
        live=lambda: [SimpleNamespace(silent=False, stream=stream)],
        settings=SimpleNamespace(flags=SimpleNamespace(seconds=lambda _name: 1.0)),
    )

    async def story() -> None:
        link = object.__new__(MasterLink)
        link.agent, link.clock, link._wake = agent, clock, asyncio.Event()
        sending = asyncio.create_task(link._send_updates(Master("127.0.0.1", 1), "session"))
        for _ in range(5):
            await asyncio.sleep(0)
        link._wake.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        sending.cancel()
        _, unfinished = await asyncio.wait({sending}, timeout=2)
        assert not unfinished
        assert sending.cancelled()

    asyncio.run(story())
