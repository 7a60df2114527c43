"""The way between scheduler and master, on which messages are lost, late, doubled, disordered.

Two kinds of trouble, as on a real network: status updates come from many agents and may be lost,
doubled and overtake each other; everything else is one ordered stream, which is late as a whole or
breaks. A call whose connection breaks may have arrived or not, and its sender does not learn which.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import CallRefused, Connection, Connector, SubscriptionLost
from kubedcos.mesos.detector import NoMaster

_NO_ANSWER: Final = 10.0
"""Seconds after which a client gives a call up, as `HttpConnector` does."""
_SILENCE: Final = 75.0
"""Seconds without an event, heartbeats included, after which it gives the stream up: five beats."""
_MAY_BE_LOST: Final = frozenset(
    {"ACCEPT", "ACKNOWLEDGE", "DECLINE", "KILL", "RECONCILE", "REVIVE", "SUPPRESS"}
)
"""Calls that Mesos answers with 202 and may then drop; it promises nothing about them."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls messages while it lasts; shares are probabilities, times seconds.

    Attributes:
        lose: share of status updates that do not arrive.
        double: share of status updates that arrive once more, up to `late` later.
        late: status updates take up to this long, each its own time, so that they overtake.
        lag: everything that the master sends is late by this much, in order.
        lose_calls: share of calls that are answered with 202 and come to nothing.
        slow_calls: a call takes up to this long.
        break_calls: share of calls with which the connection breaks, before or after they arrived.
        refuse_calls: share of calls that are answered with 429, as by a proxy, and come to nothing.
    """

    lose: float = 0.0
    double: float = 0.0
    late: float = 0.0
    lag: float = 0.0
    lose_calls: float = 0.0
    slow_calls: float = 0.0
    break_calls: float = 0.0
    refuse_calls: float = 0.0


CALM: Final = Trouble()


class Link:
    """What all connections of a run go through.

    Args:
        chance: decides what befalls a message.
        note: is told of every message that arrives, either way.
    """

    def __init__(self, chance: random.Random, note: Callable[[str, wire.Message], None]) -> None:
        self.trouble = CALM
        self.chance = chance
        self.note = note
        self.sending: Callable[[wire.Call], None] = lambda _: None
        """Looks at every call when it is sent."""
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        """Nothing passes from now on; what is under way arrives when the link is whole again."""
        self._whole.clear()

    def mend(self) -> None:
        """The link is whole again."""
        self._whole.set()

    async def whole(self) -> None:
        """Wait until the link is whole."""
        await self._whole.wait()

    async def pass_call(self) -> bool:
        """Whether a call gets through before its sender gives up."""
        try:
            async with asyncio.timeout(_NO_ANSWER):
                await self._whole.wait()
        except TimeoutError:
            return False
        return True


class TroubledConnector:
    """Makes connections over a link."""

    def __init__(self, link: Link, real: Connector) -> None:
        self._link = link
        self._real = real

    async def connect(self, subscribe: wire.CallSubscribe) -> Connection:
        self._link.note("subscribe", subscribe)
        if not await self._link.pass_call():
            raise NoMaster("no leading master: no answer")
        real = await self._real.connect(subscribe)
        self._link.note("subscribed", real.subscribed)
        return TroubledConnection(self._link, real)


class TroubledConnection:
    """A subscription over a link."""

    def __init__(self, link: Link, real: Connection) -> None:
        self.subscribed = real.subscribed
        self._link = link
        self._real = real
        self._arrived: asyncio.Queue[wire.Event | Exception] = asyncio.Queue()
        self._free_at = 0.0
        self._broken = False
        self._pump = asyncio.create_task(self._carry())

    async def next_event(self) -> wire.Event:
        try:
            async with asyncio.timeout(_SILENCE):
                item = await self._arrived.get()
        except TimeoutError:
            raise SubscriptionLost(f"no event for {_SILENCE:.0f} s") from None
        if isinstance(item, Exception):
            raise item
        self._link.note("event", item)
        return item

    async def call(self, call: wire.Call) -> None:
        self._link.sending(call)
        trouble, chance = self._link.trouble, self._link.chance
        if trouble.slow_calls:
            await asyncio.sleep(chance.uniform(0, trouble.slow_calls))
        if self._broken or not await self._link.pass_call():
            raise SubscriptionLost(f"{call.type}: the connection is gone")
        if trouble.break_calls and chance.random() < trouble.break_calls:
            if chance.random() < 0.5:
                self._link.note("call", call)
                await self._real.call(call)
            await self._break()
            raise SubscriptionLost(f"{call.type}: the connection broke")
        if trouble.refuse_calls and chance.random() < trouble.refuse_calls:
            raise CallRefused(f"{call.type}: 429 Too Many Requests")
        lost = trouble.lose_calls and call.type in _MAY_BE_LOST
        if lost and chance.random() < trouble.lose_calls:
            self._link.note("lost call", call)
            return
        self._link.note("call", call)
        await self._real.call(call)

    async def close(self) -> None:
        self._broken = True
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        await self._real.close()

    async def _break(self) -> None:
        self._broken = True
        self._pump.cancel()
        await self._real.close()
        self._arrived.put_nowait(SubscriptionLost("the connection broke"))

    async def _carry(self) -> None:
        try:
            while True:
                event = await self._real.next_event()
                await self._link.whole()
                self._send(event)
        except Exception as error:
            self._later(error, self._in_order(0.0))

    def _send(self, event: wire.Event) -> None:
        trouble, chance = self._link.trouble, self._link.chance
        if event.update is None or event.update.status.uuid is None:
            self._later(event, self._in_order(trouble.lag))
            return
        if trouble.lose and chance.random() < trouble.lose:
            self._link.note("lost event", event)
            return
        late = chance.uniform(0, trouble.late) if trouble.late else 0.0
        self._later(event, self._in_order(trouble.lag) + late)
        if trouble.double and chance.random() < trouble.double:
            self._later(event, self._in_order(trouble.lag) + chance.uniform(0, trouble.late or 2.0))

    def _in_order(self, lag: float) -> float:
        """Seconds until the next message of the ordered stream arrives."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now + lag)
        return self._free_at - now

    def _later(self, item: wire.Event | Exception, seconds: float) -> None:
        if seconds > 0:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._arrived.put_nowait, item)
        else:
            self._arrived.put_nowait(item)
