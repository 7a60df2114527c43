"""What deleted clusters left on lost agents: shown, collected when the agents return, forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from kubedcos.clock import Clock
from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.mesos.freeing import OperatorRefused
from kubedcos.scheduler.leaving_behind import Json, remains
from kubedcos.scheduler.settings import RELEASE_ARRIVES
from kubedcos.scheduler.views import moment
from kubedcos.state import documents, records
from kubedcos.state.records import LeftoverRecord
from kubedcos.state.store import Store

_log = logging.getLogger(__name__)
LOOK_EVERY: Final = 60.0
"""Seconds between two looks at agents that something was left on."""


class Operator(Protocol):
    """What is asked of the leading master; see `mesos.freeing.MasterOperator`."""

    async def agent(self, agent_id: str) -> Json | None:
        """A registered agent; None when it is not registered now."""
        ...

    async def destroy_volumes(self, agent_id: str, volumes: Sequence[Json]) -> None:
        """DESTROY_VOLUMES."""
        ...

    async def unreserve(self, agent_id: str, resources: Sequence[Json]) -> None:
        """UNRESERVE_RESOURCES."""
        ...

    async def tear_down(self, framework_id: str) -> bool:
        """TEARDOWN; whether there was such a framework."""
        ...


@dataclass(slots=True)
class Leftovers:
    """All leftovers of one store.

    Attributes:
        operator: the way to the masters that a leftover is known to.
        release_arrives: see `scheduler.settings.Pace`.
    """

    store: Store
    clock: Clock
    operator: Callable[[LeftoverRecord], Operator]
    release_arrives: float = RELEASE_ARRIVES
    _said: dict[str, str] = field(default_factory=dict)
    _heard: dict[str, float] = field(default_factory=dict)

    def view(self) -> list[dict[str, Any]]:
        """`kubedcos cluster leftovers --json`; what is only looked at once more is none."""
        return [
            {
                "id": record.id,
                "cluster": record.cluster,
                "role": record.role,
                "what": "tasks" if record.framework_id else "reservation",
                "pod": record.pod_instance,
                "agent": record.agent.id,
                "hostname": record.agent.hostname,
                "left_at": moment(record.left_at),
                "waits_for": self._said.get(record.id, "has not been looked at yet"),
            }
            for record in documents.leftovers(self.store).values()
            if not self._is_doubtful(record)
        ]

    def forget(self, id_: str) -> None:
        """Drop the note of a leftover whose agent will never return.

        Raises:
            InvalidInput: there is none with this id.
        """
        known = documents.leftovers(self.store)
        if id_ not in known:
            names = ", ".join(known) or "none"
            problem = Problem("leftover", repr(id_), f"one of: {names}", id="leftover-unknown")
            raise InvalidInput([problem])
        self._settle(known[id_], "was forgotten")

    async def run(self) -> None:
        """Look and collect, for ever."""
        while True:
            await self.collect()
            await self.clock.sleep(LOOK_EVERY)

    async def collect(self) -> None:
        """Look once at every agent that something was left on."""
        for record in documents.leftovers(self.store).values():
            try:
                self._said[record.id] = await self._collect(record)
            except OperatorRefused as error:
                # 409: tasks that Mesos is just ending still use it.
                self._said[record.id] = f"Mesos refused: {error}"
            except KubedcosError as error:
                self._said[record.id] = str(error)

    async def _collect(self, record: LeftoverRecord) -> str:
        """Free what there is of one leftover; says what it waits for."""
        operator, agent_id = self.operator(record), record.agent.id
        agent = await operator.agent(agent_id)
        if agent is None:
            return f"agent {record.agent.hostname} has not returned"
        if record.framework_id:
            ended = await operator.tear_down(record.framework_id)
            self._settle(record, "was torn down again" if ended else "is gone")
            return ""
        found = remains(record, agent)
        if not found and self._is_doubtful(record):
            return "was released; to be seen once more"
        if not found:
            self._settle(record, "is gone")
            return ""
        if found.volumes:
            await operator.destroy_volumes(agent_id, found.volumes)
        await operator.unreserve(agent_id, found.resources)
        _log.info("%s: released reservation %s on %s", record.cluster, record.id, agent_id)
        return "was released; to be seen once more"

    def _is_doubtful(self, record: LeftoverRecord) -> bool:
        """Whether it is too early to tell from the master's word that it is gone.

        By a clock that nobody sets, from when this program heard of it.
        """
        now = self.clock.monotonic()
        since = now - self._heard.setdefault(record.id, now)
        return record.released and since < self.release_arrives

    def _settle(self, record: LeftoverRecord, how: str) -> None:
        self.store.write(records.LEFTOVERS, [documents.remove(records.LEFTOVER, record.id)])
        self._said.pop(record.id, None)
        self._heard.pop(record.id, None)
        what = "framework of tasks" if record.framework_id else "reservation"
        _log.info("%s: %s %s %s", record.cluster, what, record.id, how)


async def keep_collecting(leftovers: Leftovers) -> None:
    """`Leftovers.run` as a task beside others: a defect is logged, and it goes on."""
    while True:
        try:
            await leftovers.run()
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("leftovers were not looked at")
            await leftovers.clock.sleep(LOOK_EVERY)
