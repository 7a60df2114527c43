"""Tables of agents, tasks and offers with their indices and sums, which cannot drift.

A table is a mapping; whatever enters, changes or leaves it does so by `__setitem__` and
`__delitem__`, which keep indices and sums along. Every question here costs what its answer costs,
not what the cluster costs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from kubedcos.mesos.messages import TERMINAL_STATES, ExecutorInfo, Resource, Task
from kubedcos.mesos.resources import Resources
from kubedcos.mesos.tally import Tally

if TYPE_CHECKING:
    from collections.abc import ItemsView, Mapping, ValuesView

    from kubedcos.embedded.master.state import AgentRecord, OfferRecord

_K = TypeVar("_K")
_V = TypeVar("_V")

TaskKey = tuple[str, str]
"""Framework id and task id."""


class ExecutorKey(NamedTuple):
    """Which executor of task groups."""

    agent_id: str
    framework_id: str
    executor_id: str


_EMPTY: Final = Tally()


class Table(MutableMapping[_K, _V], Generic[_K, _V]):
    """Rows in order of entry; a replaced row keeps its place.

    Args:
        watched: whether somebody takes the changes.
    """

    def __init__(self, *, watched: bool = False) -> None:
        self._rows: dict[_K, _V] = {}
        self._watched = watched
        self._before: dict[_K, _V | None] = {}

    def take_changes(self) -> dict[_K, _V | None]:
        """Keys whose row changed since the last call, each with its row at that time."""
        if not self._before:
            return {}
        changes, self._before = self._before, {}
        return changes

    @abstractmethod
    def _entered(self, key: _K, row: _V) -> None:
        """A row came."""

    @abstractmethod
    def _left(self, key: _K, row: _V) -> None:
        """A row went."""

    def _replaced(self, key: _K, old: _V, new: _V) -> None:
        """A row took the place of another."""
        self._left(key, old)
        self._entered(key, new)

    def __getitem__(self, key: _K) -> _V:
        return self._rows[key]

    def __setitem__(self, key: _K, row: _V) -> None:
        old = self._rows.get(key)
        if self._watched:
            self._before.setdefault(key, old)
        self._rows[key] = row
        if old is None:
            self._entered(key, row)
        else:
            self._replaced(key, old, row)

    def __delitem__(self, key: _K) -> None:
        row = self._rows.pop(key)
        if self._watched:
            self._before.setdefault(key, row)
        self._left(key, row)

    def __iter__(self) -> Iterator[_K]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def values(self) -> ValuesView[_V]:
        """All rows."""
        return self._rows.values()

    def items(self) -> ItemsView[_K, _V]:
        """Keys and rows."""
        return self._rows.items()


class Index(Generic[_K, _V]):
    """Rows by something that several of them share."""

    def __init__(self) -> None:
        self._found: dict[str, dict[_K, _V]] = {}

    def set(self, shared: str, key: _K, row: _V) -> None:
        """A row came, or changed."""
        self._found.setdefault(shared, {})[key] = row

    def drop(self, shared: str, key: _K) -> None:
        """A row went."""
        rows = self._found[shared]
        del rows[key]
        if not rows:
            del self._found[shared]

    def get(self, shared: str) -> Mapping[_K, _V]:
        """The rows."""
        return self._found.get(shared, {})

    def __len__(self) -> int:
        return len(self._found)


class Ledger:
    """Who holds how much: sums by agent, by framework, by role, by both, and of everything.

    Each answer is a `Tally`: `resources` with the marks of allocation, `quantities` of scalars,
    `holders` (tasks or offers).
    """

    def __init__(self) -> None:
        self._agents: dict[str, Tally] = {}
        self._frameworks: dict[str, Tally] = {}
        self._roles: dict[str, Tally] = {}
        self._shares: dict[tuple[str, str], Tally] = {}
        self.total = Tally()

    def enter(self, agent_id: str, framework_id: str, role: str, resources: Resources) -> None:
        """Somebody holds more."""
        share = (role, framework_id)
        self._agents.setdefault(agent_id, Tally()).add(resources)
        self._frameworks.setdefault(framework_id, Tally()).add(resources)
        self._roles.setdefault(role, Tally()).add(resources)
        self._shares.setdefault(share, Tally()).add(resources)
        self.total.add(resources)

    def leave(self, agent_id: str, framework_id: str, role: str, resources: Resources) -> None:
        """Somebody holds less by what was entered once."""
        share = (role, framework_id)
        _take(self._agents, agent_id, resources)
        _take(self._frameworks, framework_id, resources)
        _take(self._roles, role, resources)
        _take(self._shares, share, resources)
        self.total.take(resources)

    def agent(self, agent_id: str) -> Tally:
        """What is held of an agent."""
        return self._agents.get(agent_id, _EMPTY)

    def framework(self, framework_id: str) -> Tally:
        """What a framework holds."""
        return self._frameworks.get(framework_id, _EMPTY)

    def role(self, role: str) -> Tally:
        """What is allocated to a role, without the roles below it."""
        return self._roles.get(role, _EMPTY)

    def share(self, role: str, framework_id: str) -> Tally:
        """What a framework holds in a role."""
        return self._shares.get((role, framework_id), _EMPTY)

    def shares(self) -> ItemsView[tuple[str, str], Tally]:
        """Role and framework id of everybody who holds something, with what they hold."""
        return self._shares.items()

    def roles(self) -> ItemsView[str, Tally]:
        """All roles that hold something, with what they hold."""
        return self._roles.items()

    def holders(self) -> dict[str, int]:
        """How many agents, frameworks, roles and shares have a sum."""
        kinds = {"agent": self._agents, "framework": self._frameworks, "role": self._roles}
        return {kind: len(found) for kind, found in kinds.items()} | {"share": len(self._shares)}


def _take(tallies: dict[_K, Tally], key: _K, resources: Resources) -> None:
    tally = tallies[key]
    tally.take(resources)
    if not tally.holders:
        del tallies[key]


def role_of(resources: tuple[Resource, ...]) -> str:
    """The role that a task's resources are allocated to: all of them to the same."""
    allocation = resources[0].allocation_info if resources else None
    return (allocation.role if allocation else None) or "*"


class TaskTable(Table[TaskKey, Task]):
    """Tasks; the resources of those that have not ended are in `used`."""

    def __init__(self) -> None:
        super().__init__(watched=True)
        self.by_agent: Index[TaskKey, Task] = Index()
        self.by_framework: Index[TaskKey, Task] = Index()
        self.used = Ledger()

    def _entered(self, key: TaskKey, row: Task) -> None:
        self._index(key, row)
        if row.state not in TERMINAL_STATES:
            self._enter(row)

    def _left(self, key: TaskKey, row: Task) -> None:
        self.by_agent.drop(row.agent_id.value, key)
        self.by_framework.drop(row.framework_id.value, key)
        if row.state not in TERMINAL_STATES:
            self._leave(row)

    def _replaced(self, key: TaskKey, old: Task, new: Task) -> None:
        if (old.agent_id, old.framework_id) != (new.agent_id, new.framework_id):
            super()._replaced(key, old, new)
            return
        self._index(key, new)
        lived, lives = old.state not in TERMINAL_STATES, new.state not in TERMINAL_STATES
        if lived and lives and old.resources == new.resources:
            return
        if lived:
            self._leave(old)
        if lives:
            self._enter(new)

    def _index(self, key: TaskKey, row: Task) -> None:
        self.by_agent.set(row.agent_id.value, key, row)
        self.by_framework.set(row.framework_id.value, key, row)

    def _enter(self, row: Task) -> None:
        holder = (row.agent_id.value, row.framework_id.value, role_of(row.resources))
        self.used.enter(*holder, Resources(row.resources))

    def _leave(self, row: Task) -> None:
        holder = (row.agent_id.value, row.framework_id.value, role_of(row.resources))
        self.used.leave(*holder, Resources(row.resources))


class ExecutorTable(Table[ExecutorKey, ExecutorInfo]):
    """Executors of task groups; what they hold is entered where that of their tasks is."""

    def __init__(self, used: Ledger) -> None:
        super().__init__()
        self.by_agent: Index[ExecutorKey, ExecutorInfo] = Index()
        self.by_framework: Index[ExecutorKey, ExecutorInfo] = Index()
        self._used = used

    def _entered(self, key: ExecutorKey, row: ExecutorInfo) -> None:
        self.by_agent.set(key.agent_id, key, row)
        self.by_framework.set(key.framework_id, key, row)
        holder = (key.agent_id, key.framework_id, role_of(row.resources))
        self._used.enter(*holder, Resources(row.resources))

    def _left(self, key: ExecutorKey, row: ExecutorInfo) -> None:
        self.by_agent.drop(key.agent_id, key)
        self.by_framework.drop(key.framework_id, key)
        holder = (key.agent_id, key.framework_id, role_of(row.resources))
        self._used.leave(*holder, Resources(row.resources))


class OfferTable(Table[str, "OfferRecord"]):
    """Offers that are out; their resources are in `offered`."""

    def __init__(self) -> None:
        super().__init__()
        self.by_agent: Index[str, OfferRecord] = Index()
        self.by_framework: Index[str, OfferRecord] = Index()
        self.offered = Ledger()

    def _entered(self, key: str, row: OfferRecord) -> None:
        self.by_agent.set(row.agent_id, key, row)
        self.by_framework.set(row.framework_id, key, row)
        self.offered.enter(row.agent_id, row.framework_id, row.role, row.resources)

    def _left(self, key: str, row: OfferRecord) -> None:
        self.by_agent.drop(row.agent_id, key)
        self.by_framework.drop(row.framework_id, key)
        self.offered.leave(row.agent_id, row.framework_id, row.role, row.resources)


class AgentTable(Table[str, "AgentRecord"]):
    """Registered agents, found by their address and by their session too."""

    def __init__(self) -> None:
        super().__init__(watched=True)
        self._by_session: dict[str, AgentRecord] = {}
        self._by_address: Index[str, AgentRecord] = Index()

    def _entered(self, key: str, row: AgentRecord) -> None:
        self._by_session[row.session] = row
        self._by_address.set(f"{row.address}:{row.info.port}", key, row)

    def _left(self, key: str, row: AgentRecord) -> None:
        if self._by_session.get(row.session) is row:
            del self._by_session[row.session]
        self._by_address.drop(f"{row.address}:{row.info.port}", key)

    def of_session(self, session: str) -> AgentRecord | None:
        """The agent whose session it is."""
        return self._by_session.get(session)

    def at(self, address: str, port: int) -> list[AgentRecord]:
        """Agents that are registered at that address."""
        return list(self._by_address.get(f"{address}:{port}").values())
