"""The framework's side of the scheduler API: one subscription, and calls that belong to it.

Two connections, as Mesos wants it: the answer to SUBSCRIBE is a stream of events that does not
end, every other call goes over a second one. All calls carry the stream id of the subscription,
so a call that was under way when a newer subscription began is refused by the master.

What may happen, and what it means for the caller:

=====================  =============================================================
`NoMaster`             nobody leads or answers; try again later
`SubscriptionLost`     the stream is gone, or calls no longer reach it; subscribe anew.
                       Whether a call that raised it took effect is not known
`SubscriptionEnded`    Mesos said ERROR; do not subscribe again as if nothing had been
`CallRefused`          the master answered 4xx; the call had no effect, the stream is well
=====================  =============================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import httpx2
import msgspec

from kubedcos.errors import KubedcosError
from kubedcos.mesos.detector import Detector, NoMaster
from kubedcos.mesos.leading_master import JSON, LeadingMaster, address, refusal
from kubedcos.mesos.messages import (
    Call,
    CallSubscribe,
    Event,
    FrameworkID,
    Subscribed,
    decode,
    encode,
)
from kubedcos.mesos.recordio import RecordDecoder, RecordError

_PATH: Final = "/api/v1/scheduler"
_STREAM_ID: Final = "Mesos-Stream-Id"
_MISSED_HEARTBEATS: Final = 5
_DEFAULT_HEARTBEAT_SECONDS: Final = 15.0


class SubscriptionLost(KubedcosError):
    """The subscription is gone; subscribe anew."""


class SubscriptionEnded(KubedcosError):
    """Mesos ended the subscription with an ERROR event; the text is Mesos' own."""

    @property
    def taken_over(self) -> bool:
        """Another instance has subscribed with this framework id: never subscribe again."""
        return "failed over" in str(self).lower()

    @property
    def removed(self) -> bool:
        """The framework is no more, by TEARDOWN or because its failover timeout passed."""
        text = str(self).lower()
        return "has been removed" in text or "completed" in text


class CallRefused(KubedcosError):
    """The master refused a call as such; it had no effect."""


class Connection(Protocol):
    """One subscription."""

    @property
    def subscribed(self) -> Subscribed:
        """The first event."""
        ...

    async def next_event(self) -> Event:
        """The next event.

        Raises:
            SubscriptionLost: the stream broke, or heartbeats stayed away.
            SubscriptionEnded: Mesos sent ERROR.
        """
        ...

    async def call(self, call: Call) -> None:
        """Send a call; calls are sent one after the other. The framework id is filled in.

        Raises:
            SubscriptionLost: see the module's table.
            CallRefused: likewise.
        """
        ...

    async def close(self) -> None:
        """End the connection; the framework stays until its failover timeout."""
        ...


class Connector(Protocol):
    """Makes subscriptions."""

    async def connect(self, subscribe: CallSubscribe) -> Connection:
        """Subscribe with the leading master; the framework's id is taken from its info.

        Raises:
            NoMaster: nobody answered as leader.
            SubscriptionEnded: Mesos refused the framework.
        """
        ...


class HttpConnector:
    """Subscribes over HTTP.

    Args:
        detector: where the masters are.
        credentials: principal and secret for Basic authentication; None without.
        transport: in place of the network, for tests.
        timeout_seconds: for connecting and for the answer to a call.
        tls: for masters that speak HTTPS; None for plain HTTP.
    """

    def __init__(
        self,
        detector: Detector,
        credentials: tuple[str, str] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        logins = (credentials,) if credentials else ()
        self._leader = LeadingMaster(detector, logins, tls, transport, timeout_seconds)
        self._timeout = timeout_seconds

    async def connect(self, subscribe: CallSubscribe) -> Connection:
        """Subscribe with the leading master; calls go to whoever led then."""
        call = Call(type="SUBSCRIBE", subscribe=subscribe, framework_id=subscribe.framework_info.id)
        async with contextlib.AsyncExitStack() as stack:
            response, client = await stack.enter_async_context(
                self._leader.stream(_PATH, encode(call))
            )
            if response.status_code != 200:
                raise NoMaster(refusal(response))
            stream = _EventStream(response)
            try:
                first = await stream.next(self._timeout)
            except SubscriptionLost as error:
                raise NoMaster(f"{address(response)}: {error}") from error
            if first.type != "SUBSCRIBED" or first.subscribed is None:
                raise NoMaster(f"{address(response)} sent {first.type} before SUBSCRIBED")
            return HttpConnection(
                first.subscribed,
                stream,
                client,
                str(response.url),
                response.headers.get(_STREAM_ID, ""),
                self._timeout,
                stack.pop_all(),
            )


class HttpConnection:
    """A subscription over HTTP; made by `HttpConnector`."""

    def __init__(
        self,
        subscribed: Subscribed,
        stream: _EventStream,
        client: httpx2.AsyncClient,
        url: str,
        stream_id: str,
        timeout_seconds: float,
        resources: contextlib.AsyncExitStack,
    ) -> None:
        self._subscribed = subscribed
        self._stream = stream
        self._client = client
        self._url = url
        self._headers = {"Content-Type": JSON, "Accept": JSON, _STREAM_ID: stream_id}
        self._timeout = timeout_seconds
        self._resources = resources
        self._one_at_a_time = asyncio.Lock()

    @property
    def subscribed(self) -> Subscribed:
        """The first event."""
        return self._subscribed

    async def next_event(self) -> Event:
        """The next event, heartbeats included."""
        interval = self._subscribed.heartbeat_interval_seconds or _DEFAULT_HEARTBEAT_SECONDS
        return await self._stream.next(interval * _MISSED_HEARTBEATS)

    async def call(self, call: Call) -> None:
        """Send a call and wait until the master has queued it."""
        framework_id: FrameworkID = self._subscribed.framework_id
        content = encode(msgspec.structs.replace(call, framework_id=framework_id))
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(self._timeout):
                    response = await self._client.post(
                        self._url, content=content, headers=self._headers
                    )
            except (httpx2.HTTPError, TimeoutError) as error:
                raise SubscriptionLost(f"{call.type}: {_describe(error)}") from error
        check_answer(call, response.status_code, response.text)

    async def close(self) -> None:
        """Close both connections."""
        await self._resources.aclose()


class _EventStream:
    """Events out of the body of an answer."""

    def __init__(self, response: httpx2.Response) -> None:
        self._chunks: AsyncIterator[bytes] = response.aiter_raw()
        self._decoder = RecordDecoder()
        self._ready: deque[bytes] = deque()

    async def next(self, within_seconds: float) -> Event:
        while not self._ready:
            try:
                async with asyncio.timeout(within_seconds):
                    chunk = await anext(self._chunks)
                self._ready.extend(self._decoder.feed(chunk))
            except StopAsyncIteration:
                raise SubscriptionLost("the master closed the stream") from None
            except TimeoutError:
                raise SubscriptionLost(f"no event for {within_seconds:.0f} s") from None
            except (httpx2.HTTPError, RecordError) as error:
                raise SubscriptionLost(f"the stream broke: {_describe(error)}") from error
        try:
            event = decode(self._ready.popleft(), Event)
        except msgspec.MsgspecError as error:
            raise SubscriptionLost(f"an event makes no sense: {error}") from error
        return checked_event(event)


class Backoff:
    """Growing, jittered waits between attempts: about 1, 2, 4 … up to 15 seconds.

    Args:
        jitter: gives a factor between 0.5 and 1.5; the default is random.
    """

    def __init__(
        self,
        first_seconds: float = 1.0,
        most_seconds: float = 15.0,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._jitter = jitter or _random_factor
        self._attempt = 0

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        seconds = min(self._first * 2.0**self._attempt, self._most)
        self._attempt = min(self._attempt + 1, 16)
        return min(seconds * self._jitter(), self._most)

    def reset(self) -> None:
        """An attempt went well."""
        self._attempt = 0


def _random_factor() -> float:
    return random.uniform(0.5, 1.5)  # noqa: S311  spreads load, guards nothing


def check_answer(call: Call, status: int, text: str) -> None:
    """What the answer to a call means, whatever way it came.

    Raises:
        SubscriptionLost: see the module's table.
        CallRefused: likewise.
    """
    if status in (200, 202):
        return
    words = f"{call.type}: {status} {text.strip()}"
    if _subscription_gone(status, text):
        raise SubscriptionLost(words)
    raise CallRefused(words)


def checked_event(event: Event) -> Event:
    """The event, unless it ends the subscription.

    Raises:
        SubscriptionEnded: Mesos sent ERROR.
    """
    if event.type == "ERROR":
        raise SubscriptionEnded(event.error.message if event.error else "ERROR without text")
    return event


def _subscription_gone(status: int, text: str) -> bool:
    if status == 400:
        lowered = text.lower()
        return "cannot be found" in lowered or "stream" in lowered
    return status in (307, 403, 503) or status >= 500


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
