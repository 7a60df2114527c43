"""`/metrics/snapshot`: Mesos' names for what this master knows.

What cannot happen here is told too, as 0: dashboards and alarms ask for these names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from kubedcos.embedded.host_statistics import system_metrics
from kubedcos.embedded.master.state import FrameworkRecord, MasterState
from kubedcos.mesos.messages import TERMINAL_STATES
from kubedcos.mesos.resources import Resources

_COUNTERS: Final = (
    *("dropped_messages", "http_cache_hits", "messages_authenticate"),
    *("messages_deactivate_framework", "messages_decline_offers", "messages_exited_executor"),
    *("messages_executor_to_framework", "messages_framework_to_executor", "messages_kill_task"),
    *("messages_launch_tasks", "messages_operation_status_update"),
    *("messages_operation_status_update_acknowledgement", "messages_reconcile_operations"),
    *("messages_reconcile_tasks", "messages_register_framework", "messages_register_slave"),
    *("messages_reregister_framework", "messages_reregister_slave", "messages_resource_request"),
    *("messages_revive_offers", "messages_status_update", "messages_status_update_acknowledgement"),
    *("messages_suppress_offers", "messages_unregister_framework", "messages_unregister_slave"),
    *("messages_update_slave", "recovery_slave_removals"),
    *("slave_registrations", "slave_removals", "slave_reregistrations"),
    *("slave_removals/reason_registered", "slave_removals/reason_unhealthy"),
    *("slave_removals/reason_unregistered", "slave_shutdowns_canceled"),
    *("slave_shutdowns_completed", "slave_shutdowns_scheduled", "slave_unreachable_canceled"),
    *("slave_unreachable_completed", "slave_unreachable_scheduled"),
    *("tasks_finished", "tasks_failed", "tasks_killed", "tasks_lost", "tasks_error"),
    *("tasks_dropped", "tasks_gone", "tasks_gone_by_operator"),
    *("event_queue_dispatches", "event_queue_http_requests", "event_queue_messages"),
    *(
        f"{verdict}_{what}"
        for verdict in ("valid", "invalid")
        for what in (
            *("executor_to_framework_messages", "framework_to_executor_messages"),
            *("operation_status_update_acknowledgements", "operation_status_updates"),
            *("status_update_acknowledgements", "status_updates"),
        )
    ),
)
_OPERATIONS: Final = (
    *("create", "create_disk", "destroy", "destroy_disk", "grow_volume", "reserve"),
    *("shrink_volume", "unreserve"),
)
_OPERATION_STATES: Final = (
    *("dropped", "error", "failed", "finished", "gone_by_operator", "pending", "recovering"),
    *("total", "unreachable"),
)
_LIVE: Final = ("staging", "starting", "running", "killing", "unreachable")
_CALLS: Final = (
    *("accept", "accept_inverse_offers", "acknowledge", "acknowledge_operation_status", "decline"),
    *("decline_inverse_offers", "kill", "message", "reconcile", "reconcile_operations", "request"),
    *("revive", "shutdown", "subscribe", "suppress", "teardown", "update_framework"),
)
_EVENTS: Final = (
    *("error", "failure", "heartbeat", "inverse_offers", "message", "offers", "rescind"),
    *("rescind_inverse_offer", "subscribed", "update", "update_operation_status"),
)
_FRAMEWORK_COUNTERS: Final = (
    *("calls", "events", "operations"),
    *("offers/accepted", "offers/declined", "offers/rescinded", "offers/sent"),
    *(f"calls/{name}" for name in _CALLS),
    *(f"events/{name}" for name in _EVENTS),
    *(f"operations/{name}" for name in (*_OPERATIONS, "launch", "launch_group")),
    *(f"tasks/terminal/{name.lower()}" for name in sorted(TERMINAL_STATES)),
)


@dataclass(frozen=True, slots=True)
class Process:
    """What the metrics tell about the process itself.

    Attributes:
        elected: whether it leads.
        uptime: in seconds.
        operator_streams: how many operators listen.
        registry_size: in bytes.
        replicated: whether its registry outlives it.
        per_framework: whether each framework has metrics of its own.
        timers: metrics of what was measured.
    """

    elected: bool
    uptime: float
    operator_streams: int = 0
    registry_size: int = 0
    replicated: bool = True
    per_framework: bool = True
    timers: Mapping[str, float] = field(default_factory=dict)


def snapshot(state: MasterState, process: Process, *, now: float) -> dict[str, float]:
    """All metrics, sorted by name."""
    agents = list(state.agents.values())
    frameworks = list(state.frameworks.values())
    active = sum(agent.active for agent in agents)
    linked = sum(agent.connected for agent in agents)
    connected = sum(framework.connected for framework in frameworks)
    numbers: dict[str, float] = {
        "master/elected": process.elected,
        "master/uptime_secs": process.uptime,
        "master/operator_event_stream_subscribers": process.operator_streams,
        "master/slaves_active": active,
        "master/slaves_connected": linked,
        "master/slaves_disconnected": len(agents) - linked,
        "master/slaves_inactive": len(agents) - active,
        "master/slaves_unreachable": len(state.unreachable),
        "master/frameworks_active": connected,
        "master/frameworks_connected": connected,
        "master/frameworks_disconnected": len(frameworks) - connected,
        "master/frameworks_inactive": len(frameworks) - connected,
        "master/outstanding_offers": len(state.offers),
        "registrar/queued_operations": 0,
        "registrar/registry_size_bytes": process.registry_size,
    }
    if process.replicated:
        # A standby has nothing to recover, as with Mesos, whose standbys follow the leader's log.
        numbers["registrar/log/recovered"] = 1
    numbers |= {f"master/{name}": state.counters.get(name, 0) for name in _COUNTERS}
    numbers |= _by_reason(state)
    numbers |= _operations(state)
    states = Counter(task.state.removeprefix("TASK_").lower() for task in state.tasks.values())
    states["unreachable"] = sum(len(framework.unreachable_tasks) for framework in frameworks)
    numbers |= {f"master/tasks_{name}": states[name] for name in _LIVE}
    numbers |= _resources(state) | _allocator(state, now)
    if process.per_framework:
        for framework in (*frameworks, *state.completed.values()):
            numbers |= _framework(state, framework)
    numbers |= dict(process.timers) | system_metrics()
    return {name: float(value) for name, value in sorted(numbers.items())}


def _by_reason(state: MasterState) -> dict[str, float]:
    """Ends of tasks by state, source and reason: only those that happened."""
    return {
        f"master/{name}": count
        for name, count in state.counters.items()
        if name.startswith("task_") and name.count("/") == 2
    }


def _operations(state: MasterState) -> dict[str, float]:
    kinds = ("", *(f"{kind}/" for kind in _OPERATIONS))
    names = [f"operations/{kind}{name}" for kind in kinds for name in _OPERATION_STATES]
    return {f"master/{name}": state.counters.get(name, 0) for name in names}


def _resources(state: MasterState) -> dict[str, float]:
    total = _total(state)
    used = state.used()
    shown: dict[str, float] = {}
    for name in ("cpus", "gpus", "mem", "disk"):
        have, taken = total.scalar(name), used.scalar(name)
        shown[f"master/{name}_total"] = have
        shown[f"master/{name}_used"] = taken
        shown[f"master/{name}_percent"] = taken / have if have else 0.0
        for part in ("total", "used", "percent"):
            shown[f"master/{name}_revocable_{part}"] = 0.0
    return shown


def _total(state: MasterState) -> Resources:
    total = Resources()
    for agent in state.agents.values():
        total += agent.total
    return total


def _allocator(state: MasterState, now: float) -> dict[str, float]:
    shown: dict[str, float] = {
        "allocator/event_queue_dispatches": 0,
        "allocator/mesos/event_queue_dispatches": 0,
    }
    runs = "allocator/mesos/allocation_runs"
    shown[runs] = state.counters.get(runs, 0)
    total, used, offered = _total(state), state.used(), state.offered()
    for name in ("cpus", "mem", "disk"):
        taken = used.scalar(name) + offered.scalar(name)
        shown[f"allocator/mesos/resources/{name}/total"] = total.scalar(name)
        shown[f"allocator/mesos/resources/{name}/offered_or_allocated"] = taken
    roles = {role for framework in state.frameworks.values() for role in framework.roles}
    active = Counter(
        role
        for framework in state.frameworks.values()
        for (role, _), filters in framework.filters.items()
        for entry in filters
        if entry.expires > now
    )
    for role in roles:
        shares = (
            (
                state.tasks.used.role(role).quantities.get(name, 0)
                + state.offers.offered.role(role).quantities.get(name, 0)
            )
            / amount
            for name, amount in total.quantities.items()
            if amount
        )
        shown[f"allocator/mesos/roles/{role}/shares/dominant"] = max(shares, default=0.0)
        shown[f"allocator/mesos/offer_filters/roles/{role}/active"] = active[role]
    return shown


def _framework(state: MasterState, framework: FrameworkRecord) -> dict[str, float]:
    prefix = f"master/frameworks/{quote(framework.info.name, safe='')}/{framework.id}/"
    shown: dict[str, float] = {"subscribed": framework.connected}
    shown |= {name: framework.counters.get(name, 0) for name in _FRAMEWORK_COUNTERS}
    states = Counter(task.state.lower() for task in state.tasks_of(framework_id=framework.id))
    states["task_unreachable"] = len(framework.unreachable_tasks)
    for name in (*_LIVE, "unknown"):
        shown[f"tasks/active/task_{name}"] = states[f"task_{name}"]
    for role in framework.roles:
        shown[f"roles/{role}/suppressed"] = role in framework.suppressed
    return {prefix + name: value for name, value in shown.items()}
