"""`/metrics/snapshot`: Mesos' names for what this master knows."""

from __future__ import annotations

from collections import Counter
from typing import Final

from kubedcos.embedded.master.state import MasterState
from kubedcos.mesos.resources import Resources

_COUNTERS: Final = (
    *("messages_register_framework", "messages_reregister_framework", "messages_register_slave"),
    *("messages_reregister_slave", "messages_unregister_slave", "messages_launch_tasks"),
    *("messages_status_update", "messages_revive_offers", "messages_suppress_offers"),
    *("messages_decline_offers", "messages_kill_task", "messages_reconcile_tasks"),
    *("messages_status_update_acknowledgement", "messages_unregister_framework"),
    *("slave_registrations", "slave_removals", "slave_reregistrations"),
    *("task_finished", "task_failed", "task_killed", "task_lost", "task_error", "task_dropped"),
)
_PLURAL: Final = {name: name.replace("task_", "tasks_") for name in _COUNTERS if "task_" in name}
_LIVE: Final = ("staging", "starting", "running", "killing", "unreachable")


def snapshot(
    state: MasterState, *, elected: bool, recovered: bool, uptime: float
) -> dict[str, float]:
    """All metrics, sorted by name."""
    agents = list(state.agents.values())
    frameworks = list(state.frameworks.values())
    active = sum(agent.active for agent in agents)
    linked = sum(agent.connected for agent in agents)
    connected = sum(framework.connected for framework in frameworks)
    shown: dict[str, float] = {
        "master/elected": float(elected),
        "master/uptime_secs": uptime,
        # As with Mesos, whose standbys follow the leader's log: a standby has nothing to recover.
        "registrar/log/recovered": float(recovered or not elected),
        "master/slaves_active": float(active),
        "master/slaves_connected": float(linked),
        "master/slaves_disconnected": float(len(agents) - linked),
        "master/slaves_inactive": float(len(agents) - active),
        "master/slaves_unreachable": float(len(state.unreachable)),
        "master/frameworks_active": float(connected),
        "master/frameworks_connected": float(connected),
        "master/frameworks_disconnected": float(len(frameworks) - connected),
        "master/frameworks_inactive": float(len(frameworks) - connected),
        "master/outstanding_offers": float(len(state.offers)),
    }
    for name in _COUNTERS:
        shown[f"master/{_metric(name)}"] = float(state.counters.get(name, 0))
    states = Counter(task.state.removeprefix("TASK_").lower() for task in state.tasks.values())
    states["unreachable"] = sum(len(framework.unreachable_tasks) for framework in frameworks)
    shown |= {f"master/tasks_{name}": float(states[name]) for name in _LIVE}
    return dict(sorted((shown | _resources(state)).items()))


def _metric(counter: str) -> str:
    # Counters of task states are kept under the state's name, which is singular.
    return _PLURAL[counter] if counter.startswith("task_") else counter


def _resources(state: MasterState) -> dict[str, float]:
    total = Resources()
    for agent in state.agents.values():
        total += agent.total
    used, offered = state.used(), state.offered()
    shown = {}
    for name in ("cpus", "gpus", "mem", "disk"):
        have, taken = total.scalar(name), used.scalar(name)
        shown[f"master/{name}_total"] = have
        shown[f"master/{name}_used"] = taken
        shown[f"master/{name}_percent"] = taken / have if have else 0.0
        shown[f"allocator/mesos/resources/{name}/total"] = have
        shown[f"allocator/mesos/resources/{name}/offered_or_allocated"] = taken + offered.scalar(
            name
        )
    return shown
