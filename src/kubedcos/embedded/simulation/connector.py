"""A framework's way to a master in the same event loop: no sockets, everything else as over HTTP.

Calls and events are encoded and checked as on the wire, and answered by the master's own code;
only the server is missing. So a virtual clock can drive both sides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master import api_scheduler
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.responses import JSON, BadRequest
from kubedcos.embedded.master.streams import Stream
from kubedcos.mesos.client import Connection, SubscriptionLost, check_answer, checked_event
from kubedcos.mesos.detector import NoMaster
from kubedcos.mesos.messages import Call, CallSubscribe, Event, Subscribed, decode, encode
from kubedcos.mesos.recordio import RecordDecoder

_HEADERS: Final = ((b"content-type", JSON.encode()), (b"accept", JSON.encode()))


class InProcessConnector:
    """Subscribes with an engine.

    Args:
        engine: of the master.
        principal: of the framework, as if it had authenticated.
    """

    def __init__(self, engine: Engine, principal: str | None = None) -> None:
        self._engine = engine
        self._principal = principal

    async def connect(self, subscribe: CallSubscribe) -> Connection:
        """Subscribe.

        Raises:
            NoMaster: the engine does not lead, or does not understand the call.
            SubscriptionEnded: it refused the framework.
        """
        if not self._engine.elected:
            raise NoMaster("no leading master: this one is not elected")
        call = Call(type="SUBSCRIBE", subscribe=subscribe, framework_id=subscribe.framework_info.id)
        answer = answered(self._engine, call, self._principal)
        if not isinstance(answer, Stream):
            raise NoMaster(f"no leading master: answered {answer.status_code} {_text(answer)}")
        events = answer.records()
        first = checked_event(await _next(events, self._engine, answer))
        assert first.subscribed is not None
        return InProcessConnection(self._engine, answer, events, first.subscribed, self._principal)


class InProcessConnection:
    """A subscription; made by `InProcessConnector`."""

    def __init__(
        self,
        engine: Engine,
        stream: Stream,
        events: AsyncGenerator[bytes, None],
        subscribed: Subscribed,
        principal: str | None,
    ) -> None:
        self.subscribed = subscribed
        self._engine = engine
        self._stream = stream
        self._events = events
        self._principal = principal

    async def next_event(self) -> Event:
        """The next event, heartbeats included; raises as `Connection` says."""
        return checked_event(await _next(self._events, self._engine, self._stream))

    async def call(self, call: Call) -> None:
        """Send a call; raises as `Connection` says."""
        whole = msgspec.structs.replace(call, framework_id=self.subscribed.framework_id)
        answer = answered(self._engine, whole, self._principal, self._stream.id)
        assert isinstance(answer, Response)
        check_answer(call, answer.status_code, _text(answer))

    async def close(self) -> None:
        """End the connection, as when the framework's process ends."""
        self._stream.close()
        self._engine.stream_ended(self._stream.id)


def answered(
    engine: Engine, call: Call, principal: str | None = None, stream_id: str = ""
) -> Response | Stream:
    """The master's answer to a call."""
    headers = [*_HEADERS]
    if stream_id:
        headers.append((api_scheduler.STREAM_HEADER.lower().encode(), stream_id.encode()))
    request = Request({"type": "http", "method": "POST", "headers": headers})
    try:
        return api_scheduler.handle(engine, request, encode(call), principal)
    except BadRequest as error:
        return error.response


async def _next(events: AsyncGenerator[bytes, None], engine: Engine, stream: Stream) -> Event:
    try:
        [record] = RecordDecoder().feed(await anext(events))
    except StopAsyncIteration:
        engine.stream_ended(stream.id)
        raise SubscriptionLost("the master closed the stream") from None
    return decode(record, Event)


def _text(answer: Response) -> str:
    return bytes(answer.body).decode(errors="replace").strip()
