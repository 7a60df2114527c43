"""Event streams of frameworks and operators: RecordIO with a heartbeat, each fed from a queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from kubedcos.embedded.protojson import encode_json
from kubedcos.mesos.messages import Event
from kubedcos.mesos.recordio import encode_record

_HEARTBEAT = encode_record(encode_json(Event(type="HEARTBEAT")))


class Stream:
    """One subscription. Events are kept until the client has taken them.

    Args:
        stream_id: names it.
        interval: seconds between heartbeats.
        announced: whether the client is told the name, which it then has to send along.
    """

    def __init__(self, stream_id: str, interval: float, *, announced: bool = True) -> None:
        self.id = stream_id
        self.announced = announced
        self._interval = interval
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, event: Event | dict[str, Any]) -> None:
        """Append an event."""
        self._queue.put_nowait(encode_record(encode_json(event)))

    def close(self) -> None:
        """End the stream after what was sent."""
        self._queue.put_nowait(None)

    async def records(self) -> AsyncGenerator[bytes, None]:
        """Everything sent, and a heartbeat each interval, until the stream is closed."""
        loop = asyncio.get_running_loop()
        beat = loop.time() + self._interval
        while True:
            try:
                async with asyncio.timeout_at(beat):
                    record = await self._queue.get()
            except TimeoutError:
                beat += self._interval
                yield _HEARTBEAT
                continue
            if record is None:
                return
            yield record
