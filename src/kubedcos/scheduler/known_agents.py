"""What the records of agents become with what is heard of the agents. Pure but for the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from kubedcos.model.offer import Agent, Resource
from kubedcos.offers.pool import size
from kubedcos.state.records import AgentRecord, TaskRecord

_LOST_LONG: Final = 30 * 24 * 3600.0


class Addresses:
    """Who was ever heard of at an address; agents without one are at none.

    An agent process has an address and a port for itself. Another id there means that the earlier
    agent is no more: Mesos removes it then, or has given it up before.
    """

    def __init__(self, known: Iterable[AgentRecord]) -> None:
        self._ids: dict[tuple[str, int], set[str]] = {}
        for record in known:
            self.note(None, record)

    def note(self, old: AgentRecord | None, new: AgentRecord | None) -> None:
        """A record takes the place of another one of the same agent, appears or goes."""
        before, after = _address(old), _address(new)
        if before == after:
            return
        if old is not None and before is not None:
            self._ids[before].discard(old.agent.id)
            if not self._ids[before]:
                del self._ids[before]
        if new is not None and after is not None:
            self._ids.setdefault(after, set()).add(new.agent.id)

    def others(self, record: AgentRecord) -> tuple[str, ...]:
        """Ids of other agents at this one's address."""
        address = _address(record)
        found = self._ids.get(address, set()) if address is not None else set()
        return tuple(sorted(found - {record.agent.id}))


def offered(
    known: AgentRecord | None, agent: Agent, port: int, resources: Iterable[Resource]
) -> AgentRecord:
    """The record of an agent that has made an offer."""
    largest = _largest(known.largest if known is not None else {}, resources)
    return replace(known or AgentRecord(agent), agent=agent, largest=largest, port=port)


def returned(known: AgentRecord, at: float) -> AgentRecord:
    """The record of an agent that is in reach again."""
    return replace(known, lost_at=None, returned_at=at, was_lost_at=known.lost_at, gave_up=False)


def giving_up(
    known: Mapping[str, AgentRecord], tasks: Iterable[TaskRecord]
) -> tuple[AgentRecord, ...]:
    """Records of agents whose tasks are given up: they may run on there."""
    ids = sorted({task.agent.id for task in tasks} & set(known))
    return tuple(replace(known[id_], gave_up=True) for id_ in ids if not known[id_].gave_up)


def long_lost(known: Iterable[AgentRecord], now: float) -> list[AgentRecord]:
    """Agents that were lost so long ago that they are of no interest."""
    return [
        found for found in known if found.lost_at is not None and now - found.lost_at > _LOST_LONG
    ]


def _address(record: AgentRecord | None) -> tuple[str, int] | None:
    if record is None or not record.agent.address or not record.port:
        return None
    return record.agent.address, record.port


def _largest(known: Mapping[str, int], resources: Iterable[Resource]) -> dict[str, int]:
    found: dict[str, int] = {}
    for resource in resources:
        if resource.name in ("cpus", "mem", "disk"):
            found[resource.name] = found.get(resource.name, 0) + size(resource)
    return {name: max(known.get(name, 0), found.get(name, 0)) for name in sorted({*known, *found})}
