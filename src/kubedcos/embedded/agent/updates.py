"""The stream of status updates of one task: one on its way, repeated until acknowledged.

Pure but for an injected `store`, which gets every record before it takes effect, so that a new
agent process continues exactly here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from kubedcos.mesos.messages import TERMINAL_STATES, TaskStatus

FIRST_RETRY: Final = 10.0
"""Seconds until an unacknowledged update is sent again; doubles each time."""
LONGEST_RETRY: Final = 600.0

Record = dict[str, Any]


class UpdateStream:
    """Updates of one task, in order.

    Attributes:
        statuses: all that were ever added, oldest first.
    """

    def __init__(self, store: Callable[[Record], None]) -> None:
        self._store = store
        self._pending: deque[TaskStatus] = deque()
        self._uuids: set[str | None] = set()
        self._due = 0.0
        self._retry = FIRST_RETRY
        self.statuses: list[TaskStatus] = []
        self.acknowledged_terminal = False

    @classmethod
    def recover(cls, records: Iterable[Record], store: Callable[[Record], None]) -> UpdateStream:
        """The stream that wrote `records`; its first pending update is due at once."""
        stream = cls(store)
        for record in records:
            stream._apply(record)
        return stream

    def add(self, status: TaskStatus) -> None:
        """Append an update; one whose uuid is known, and any after the end, is dropped.

        So an executor's journal may be read again from its beginning.
        """
        if status.uuid in self._uuids or self.terminated:
            return
        record: Record = {"status": msgspec.to_builtins(status)}
        self._store(record)
        self._apply(record)

    def acknowledge(self, uuid: str) -> bool:
        """The framework has the update; False when this is not the one on its way."""
        if not self._pending or self._pending[0].uuid != uuid:
            return False
        record = {"ack": uuid}
        self._store(record)
        self._apply(record)
        return True

    def _apply(self, record: Record) -> None:
        if "status" in record:
            status = msgspec.convert(record["status"], TaskStatus)
            self.statuses.append(status)
            self._uuids.add(status.uuid)
            self._pending.append(status)
        elif self._pending and self._pending[0].uuid == record.get("ack"):
            done = self._pending.popleft()
            self._due, self._retry = 0.0, FIRST_RETRY
            self.acknowledged_terminal = done.state in TERMINAL_STATES

    @property
    def terminated(self) -> bool:
        """Whether the stream's last update is terminal; nothing may follow it."""
        return bool(self.statuses) and self.statuses[-1].state in TERMINAL_STATES

    @property
    def front(self) -> TaskStatus | None:
        """The update that is on its way."""
        return self._pending[0] if self._pending else None

    @property
    def forwarded(self) -> TaskStatus | None:
        """The update that was sent last, or is to be sent next when none was yet."""
        if self._pending:
            return self._pending[0]
        return self.statuses[-1] if self.statuses else None

    def due_at(self) -> float | None:
        """When `take` gives the update again; None when nothing is on its way."""
        return self._due if self._pending else None

    def take(self, now: float) -> TaskStatus | None:
        """The update that must be sent now; it will be due again later."""
        if not self._pending or now < self._due:
            return None
        self._due = now + self._retry
        self._retry = min(self._retry * 2, LONGEST_RETRY)
        return self._pending[0]

    def resend(self) -> None:
        """The framework or the master is new: what is on its way is due at once."""
        self._due, self._retry = 0.0, FIRST_RETRY
