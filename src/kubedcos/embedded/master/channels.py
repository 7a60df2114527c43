"""Calls to one agent: in order, one at a time, each awaited."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from kubedcos.embedded.post import post
from kubedcos.embedded.protocol import AGENT_PATH, SESSION_HEADER, MasterCall, encode
from kubedcos.embedded.tls import Tls

_log = logging.getLogger(__name__)

CALL_TIMEOUT: Final = 10.0
"""Seconds within which an agent must have answered a call."""


class Channel(Protocol):
    """The conversation of one session."""

    ended: asyncio.Event

    def send(self, call: MasterCall, taken: Callable[[], None] | None = None) -> None:
        """Append a call; `taken` is called when the agent has taken it."""
        ...

    def end(self) -> None:
        """End the conversation after what was sent."""
        ...

    async def ping(self, call: MasterCall, deadline: float) -> bool:
        """Send a ping past the queue; whether the agent answered within `deadline` seconds."""
        ...


class HttpChannel:
    """A conversation over HTTP.

    Args:
        host: address of the agent.
        port: its port.
        session: token of the session.
        on_failure: called once when a call could not be delivered.
        tls: None for plain HTTP.
    """

    def __init__(
        self,
        host: str,
        port: int,
        session: str,
        on_failure: Callable[[], None],
        tls: Tls | None = None,
    ) -> None:
        self.session = session
        self.ended = asyncio.Event()
        self._host, self._port = host, port
        self._on_failure = on_failure
        self._tls = tls
        self._queue: asyncio.Queue[tuple[MasterCall, Callable[[], None] | None] | None]
        self._queue = asyncio.Queue()
        self._worker = asyncio.create_task(self._work())

    def send(self, call: MasterCall, taken: Callable[[], None] | None = None) -> None:
        """Append a call; `taken` is called when the agent has taken it."""
        self._queue.put_nowait((call, taken))

    def end(self) -> None:
        """End the conversation after what was sent."""
        self._queue.put_nowait(None)

    async def ping(self, call: MasterCall, deadline: float) -> bool:
        """Send a ping past the queue; whether the agent answered."""
        return await self._deliver(call, deadline)

    async def _work(self) -> None:
        while (entry := await self._queue.get()) is not None:
            call, taken = entry
            if not await self._deliver(call, CALL_TIMEOUT):
                _log.warning("%s to %s:%d failed", call.type, self._host, self._port)
                self._on_failure()
                break
            if taken is not None:
                taken()
        self.ended.set()

    async def _deliver(self, call: MasterCall, deadline: float) -> bool:
        headers = {SESSION_HEADER: self.session}
        try:
            reply = await post(
                self._host,
                self._port,
                AGENT_PATH,
                encode(call),
                headers=headers,
                deadline=deadline,
                tls=self._tls,
            )
        except OSError as error:
            _log.info("%s to %s:%d: %s", call.type, self._host, self._port, error)
            return False
        return reply.status == 202
