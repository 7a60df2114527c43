"""A way to Mesos that only the scheduler which leads can go.

Mesos itself drops the older of two subscriptions of a framework, but only once the newer one is
there. Until then a scheduler that was deposed without noticing could still kill or accept: so it
proves its place before each call. What is stored needs no such care, the store proves it itself.
"""

from __future__ import annotations

from collections.abc import Callable

from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import Connection, Connector


class FencedConnector:
    """Makes subscriptions on which nothing is called without proof.

    Args:
        connector: makes the subscriptions.
        prove: returns if nobody else can lead at this moment, and raises a StateError otherwise.
    """

    def __init__(self, connector: Connector, prove: Callable[[], None]) -> None:
        self._connector = connector
        self._prove = prove

    async def connect(self, subscribe: wire.CallSubscribe) -> Connection:
        """Subscribe; see `Connector`.

        Raises:
            StateError: another scheduler may lead.
        """
        self._prove()
        return FencedConnection(await self._connector.connect(subscribe), self._prove)


class FencedConnection:
    """One subscription."""

    def __init__(self, connection: Connection, prove: Callable[[], None]) -> None:
        self._connection = connection
        self._prove = prove

    @property
    def subscribed(self) -> wire.Subscribed:
        """The first event."""
        return self._connection.subscribed

    async def next_event(self) -> wire.Event:
        """The next event; see `Connection`."""
        return await self._connection.next_event()

    async def call(self, call: wire.Call) -> None:
        """Send a call; see `Connection`.

        Raises:
            StateError: another scheduler may lead; nothing was sent.
        """
        self._prove()
        await self._connection.call(call)

    async def close(self) -> None:
        """End the connection."""
        await self._connection.close()
