"""What the tables of a master's state say, held against a scan of their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.master.tables import Index, Ledger
from kubedcos.mesos.messages import TERMINAL_STATES
from kubedcos.mesos.resources import Resources
from kubedcos.mesos.tally import Tally

Holding = tuple[str, str, str, Resources]
"""Agent, framework, role, and what is held."""


def assert_consistent(state: MasterState) -> None:
    """Every index and every sum is what a scan of the rows gives, and nothing is left over."""
    tasks, offers = state.tasks, state.offers
    for index, rows, owner in (
        (tasks.by_agent, tasks, lambda row: row.agent_id.value),
        (tasks.by_framework, tasks, lambda row: row.framework_id.value),
        (offers.by_agent, offers, lambda row: row.agent_id),
        (offers.by_framework, offers, lambda row: row.framework_id),
    ):
        _check_index(index, rows.items(), owner)
    used = [
        (
            task.agent_id.value,
            task.framework_id.value,
            task.resources[0].allocation_info.role or "*"
            if task.resources and task.resources[0].allocation_info
            else "*",
            Resources(task.resources),
        )
        for task in tasks.values()
        if task.state not in TERMINAL_STATES
    ]
    used += [
        (
            key.agent_id,
            key.framework_id,
            executor.resources[0].allocation_info.role or "*"
            if executor.resources and executor.resources[0].allocation_info
            else "*",
            Resources(executor.resources),
        )
        for key, executor in state.executors.items()
    ]
    offered = [(o.agent_id, o.framework_id, o.role, o.resources) for o in offers.values()]
    _check_ledger(tasks.used, used)
    _check_ledger(offers.offered, offered)
    for agent in state.agents.values():
        taken = _sum(held for of, *_, held in [*used, *offered] if of == agent.id)
        assert state.free(agent) == agent.total - taken.unallocated()
        assert state.agents.of_session(agent.session) is agent
        assert state.agents.at(agent.address, agent.info.port) == [agent]


def _check_index(index: Index[Any, Any], rows: Iterable[tuple[Any, Any]], owner: Any) -> None:
    scanned: dict[str, dict[Any, Any]] = defaultdict(dict)
    for key, row in rows:
        scanned[owner(row)][key] = row
    assert len(index) == len(scanned)
    for shared, found in scanned.items():
        assert index.get(shared) == found


def _check_ledger(ledger: Ledger, holdings: list[Holding]) -> None:
    groups: dict[str, dict[Any, list[Resources]]] = {
        name: defaultdict(list) for name in ("agent", "framework", "role", "share")
    }
    for agent_id, framework_id, role, held in holdings:
        groups["agent"][agent_id].append(held)
        groups["framework"][framework_id].append(held)
        groups["role"][role].append(held)
        groups["share"][role, framework_id].append(held)
    for key, held in groups["agent"].items():
        _check_tally(ledger.agent(key), held)
    for key, held in groups["framework"].items():
        _check_tally(ledger.framework(key), held)
    for key, held in groups["role"].items():
        _check_tally(ledger.role(key), held)
    for (role, framework_id), held in groups["share"].items():
        _check_tally(ledger.share(role, framework_id), held)
    _check_tally(ledger.total, [held for *_, held in holdings])
    assert ledger.holders() == {name: len(group) for name, group in groups.items()}


def _check_tally(tally: Tally, held: list[Resources]) -> None:
    total = _sum(held)
    assert tally.resources == total
    assert tally.quantities == total.quantities
    assert tally.holders == len(held)


def _sum(held: Iterable[Resources]) -> Resources:
    return Resources(resource for resources in held for resource in resources)
