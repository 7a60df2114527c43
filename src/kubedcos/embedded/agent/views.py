"""What the agent shows of itself: `/state`, `/containers`, metrics and the v1 operator calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from kubedcos.embedded.agent import group_views, visible
from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.container_rules import executor_name, limits_of
from kubedcos.embedded.agent.group_executor import GroupExecutor
from kubedcos.embedded.agent.paths import virtual_path
from kubedcos.embedded.agent.statistics import container_statistics, network_statistics
from kubedcos.embedded.agent.taskrun import TaskRun
from kubedcos.embedded.files import Files
from kubedcos.embedded.host_statistics import system_metrics
from kubedcos.embedded.log_files import log_file
from kubedcos.embedded.master.views import BUILD, amounts, full, task_view
from kubedcos.embedded.protocol import AGENT_CAPABILITIES
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import TERMINAL_STATES, Attribute, Resource
from kubedcos.mesos.resources import Resources, value_text

Json = dict[str, Any]
LOG: Final = "/slave/log"
"""Virtual path of the agent's log."""
Executor = TaskRun | GroupExecutor
_STATES: Final = ("finished", "failed", "killed", "lost", "gone")
_NEVER: Final = (
    *("containerizer/mesos/container_destroy_errors", "slave/container_launch_errors"),
    "containerizer/mesos/provisioner/bind/remove_rootfs_errors",
    "containerizer/mesos/provisioner/remove_container_errors",
    *("resource_provider_manager/events/disconnect", "resource_provider_manager/events/subscribe"),
    *("resource_provider_manager/subscribed", "slave/executors_preempted"),
    *("slave/executors_terminating", "slave/invalid_framework_messages"),
    *("slave/invalid_status_updates", "slave/recovery_errors", "slave/valid_framework_messages"),
    "slave/valid_status_updates",
)
"""Metrics of what this agent does not have or never counts: always 0 unless it counts them."""


def total_resources(agent: Agent) -> Resources:
    """Configured resources with the dynamic reservations and volumes put into them."""
    total = agent.settings.resources
    for resource in agent.resources:
        plain = replace(resource, reservations=_static(resource), disk=_plain_disk(resource))
        total = (total - [plain]) + [resource]
    return total


def _static(resource: Resource) -> tuple[Any, ...]:
    return tuple(level for level in resource.reservations if level.type == "STATIC")


def _plain_disk(resource: Resource) -> Any:
    disk = resource.disk
    return (
        None
        if disk is None or disk.source is None
        else replace(disk, persistence=None, volume=None)
    )


def _attribute(attribute: Attribute) -> Any:
    if attribute.text is not None:
        return attribute.text.value
    if attribute.scalar is not None:
        return attribute.scalar.value
    return value_text(Resource(attribute.name, attribute.type, ranges=attribute.ranges))


def used_resources(agent: Agent) -> Resources:
    """What tasks hold whose container is still there."""
    tasks = Resources(r for run in agent.live() if not run.ended for r in run.task.resources)
    return tasks + group_views.resources(agent)


def state_view(agent: Agent, *, start_time: float, pid: str, master_hostname: str | None) -> Json:
    """`/state`."""
    settings, total = agent.settings, total_resources(agent)
    used = used_resources(agent).unallocated()
    roles = sorted({r.reservations[-1].role or "*" for r in total.reserved()})
    view: Json = {**BUILD, "start_time": start_time, "id": agent.agent_id, "pid": pid}
    view |= {"hostname": settings.hostname, "capabilities": list(AGENT_CAPABILITIES)}
    if settings.domain is not None:
        view["domain"] = to_json(settings.domain)
    view |= {
        "resources": amounts(total),
        "reserved_resources": {role: amounts(total.reserved(role)) for role in roles},
        "unreserved_resources": amounts(total.unreserved()),
        "reserved_resources_full": {role: full(total.reserved(role)) for role in roles},
        "unreserved_resources_full": full(total.unreserved()),
        "reserved_resources_allocated": {
            role: amounts(used.reserved(role)) for role in roles if used.reserved(role)
        },
        "unreserved_resources_allocated": amounts(used.unreserved()),
        "resource_providers": [],
        "attributes": {a.name: _attribute(a) for a in settings.attributes},
    }
    if agent.draining.config is not None:
        view["drain_config"] = to_json(agent.draining.config)
        if agent.draining.started is not None:
            view["estimated_drain_start_time_seconds"] = int(agent.draining.started)
    if master_hostname is not None:
        view["master_hostname"] = master_hostname
    logs = {name: settings.flags.text(name) for name in ("log_dir", "external_log_file")}
    view |= {name: path for name, path in logs.items() if path is not None}
    view["flags"] = settings.flags.shown()
    ids = list(dict.fromkeys(run.run.framework_id for run in agent.live()))
    ids += [name for name in agent.groups.frameworks() if name not in ids]
    view["frameworks"] = [_framework_view(agent, framework_id) for framework_id in ids]
    over: list[Executor] = [*agent.completed, *agent.groups.completed]
    done = dict.fromkeys(entry.run.framework_id for entry in over)
    view["completed_frameworks"] = [
        _framework_view(agent, framework_id) for framework_id in done if framework_id not in ids
    ]
    return view


def _framework_view(agent: Agent, framework_id: str) -> Json:
    live = [run for run in commands(agent) if run.run.framework_id == framework_id]
    done = [run for run in agent.completed if run.run.framework_id == framework_id]
    executors, completed = (
        [entry for entry in listed if entry.run.framework_id == framework_id]
        for listed in (agent.groups.executors.values(), agent.groups.completed)
    )
    everything: list[Executor] = [*done, *completed, *live, *executors]
    info = everything[-1].framework
    view: Json = {
        "id": framework_id,
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout,
        "checkpoint": info.checkpoint,
        "hostname": info.hostname or "",
    }
    if info.principal is not None:
        view["principal"] = info.principal
    view |= {"roles": list(info.roles)} if info.roles else {"role": info.role or "*"}
    view["executors"] = [_executor_view(agent, run) for run in live]
    view["executors"] += [group_views.executor_view(agent, entry) for entry in executors]
    view["completed_executors"] = [_executor_view(agent, run) for run in done]
    view["completed_executors"] += [group_views.executor_view(agent, entry) for entry in completed]
    return view


def _executor_view(agent: Agent, run: TaskRun) -> Json:
    task = replace(run.view(), statuses=run.newest_by_state())
    shown = task_view(task)
    resources = Resources(run.task.resources)
    executor = amounts(resources.where(lambda r: r.name != "ports"))
    limits = limits_of(run.task)
    executor |= {"cpus": round(limits.cpus, 3), "mem": limits.memory_mb}
    terminated = task.state in TERMINAL_STATES
    queued = not terminated and run.executor_pid is None
    return {
        "id": run.run.executor_id,
        "name": executor_name(run.task),
        "source": run.run.executor_id,
        "container": run.run.container_id,
        "directory": str(agent.store.layout.sandbox(run.agent_id, run.run)),
        "resources": executor,
        "role": shown["role"],
        "tasks": [] if terminated or queued else [shown],
        "queued_tasks": [shown] if queued else [],
        "completed_tasks": [shown] if terminated else [],
    }


def containers_view(agent: Agent, now: float) -> list[Json]:
    """`/containers`."""
    return [
        {
            "container_id": run.run.container_id,
            "executor_id": run.run.executor_id,
            "executor_name": executor_name(run.task),
            "framework_id": run.run.framework_id,
            "source": run.run.executor_id,
            "statistics": statistics_of(agent, run, now),
            "status": _container_status(run),
        }
        for run in running(agent)
    ] + [group_views.container_view(agent, entry, now) for entry in group_views.running(agent)]


def commands(agent: Agent) -> list[TaskRun]:
    """Command tasks whose end nobody has acknowledged yet."""
    return [run for run in agent.live() if run.group is None]


def running(agent: Agent) -> list[TaskRun]:
    """Command tasks that have a container now."""
    return [run for run in commands(agent) if run.executor_pid is not None and not run.ended]


def _container_status(run: TaskRun) -> Json:
    status: Json = to_json(run.container_status())
    if not run.networks:
        status.pop("network_infos", None)
    return status


def statistics_of(agent: Agent, run: TaskRun, now: float) -> Json:
    """ResourceStatistics of a task's container."""
    cgroups, flags = agent.containers.cgroups, agent.settings.flags
    values = container_statistics(
        now,
        cgroups.plan,
        cgroups.root,
        run.run.container_id,
        run.executor_pid,
        limits_of(run.task),
    )
    if flags.boolean("network_cni_metrics"):
        values |= network_statistics(run.executor_pid, len(run.networks))
    if agent.disk is not None:
        values |= agent.disk.statistics(agent.commands.watched_of(run))
    return values


def statistics_view(agent: Agent, now: float) -> list[Json]:
    """`/monitor/statistics`."""
    names = ("executor_id", "executor_name", "framework_id", "source", "statistics")
    return [{name: entry[name] for name in names} for entry in containers_view(agent, now)]


def users(agent: Agent) -> visible.Users:
    """Whose everything on this agent is, for permissions."""
    return visible.users_of((*agent.completed, *agent.live()), agent.frameworks)


def files_of(agent: Agent) -> Files:
    """The log, and all sandboxes under their real and their virtual paths."""
    flags = agent.settings.flags
    log_dir, external = flags.text("log_dir"), flags.text("external_log_file")
    attached = log_file(LOG, "mesos-agent", flags.required("logging_level"), log_dir, external)
    everything: list[Executor] = [*agent.completed, *agent.groups.completed]
    everything += [*agent.groups.executors.values(), *commands(agent)]
    for run in everything:
        sandbox = agent.store.layout.sandbox(run.agent_id, run.run)
        attached[str(sandbox)] = sandbox
        attached[virtual_path(run.run)] = sandbox
    return Files(attached)


def tasks_view(agent: Agent) -> Json:
    """GET_TASKS."""
    groups: dict[str, list[Any]] = {
        name: [] for name in ("pending", "queued", "launched", "terminated", "completed")
    }
    for run in agent.live():
        if run.state in TERMINAL_STATES:
            group = "terminated"
        else:
            group = "queued" if run.executor_pid is None else "launched"
        groups[group].append(_task(run))
    settled = [run for entry in agent.groups.completed for run in entry.settled]
    settled += [run for entry in agent.groups.executors.values() for run in entry.settled]
    groups["completed"] = [_task(run) for run in (*agent.completed, *settled)]
    return {f"{name}_tasks": tasks for name, tasks in groups.items()}


def _task(run: TaskRun) -> Json:
    shown: Json = to_json(replace(run.view(), statuses=run.newest_by_state()))
    return shown


def executors_view(agent: Agent) -> Json:
    """GET_EXECUTORS."""
    live, done = group_views.executor_infos(agent)
    return {
        "executors": [*live, *map(_executor_info, running(agent))],
        "completed_executors": [*done, *map(_executor_info, agent.completed)],
    }


def _executor_info(run: TaskRun) -> Json:
    info = {
        "executor_id": {"value": run.run.executor_id},
        "framework_id": {"value": run.run.framework_id},
        "command": {"shell": False, "value": "kubedcos-executor"},
        "resources": to_json(run.task.resources),
        "name": executor_name(run.task),
        "source": run.run.executor_id,
    }
    return {"executor_info": info}


def frameworks_view(agent: Agent) -> Json:
    """GET_FRAMEWORKS."""
    ids = set(agent.frameworks)
    done = {r.run.framework_id: r.framework for r in agent.completed}
    return {
        "frameworks": [{"framework_info": to_json(f)} for f in agent.frameworks.values()],
        "completed_frameworks": [
            {"framework_info": to_json(f)} for name, f in done.items() if name not in ids
        ],
    }


def agent_view(agent: Agent) -> Json:
    """GET_AGENT."""
    if agent.info is None:
        return {}
    view: Json = {"agent_info": to_json(replace(agent.info, checkpoint=False))}
    drain = agent.draining
    if drain.config is not None and drain.started is not None:
        view["drain_config"] = to_json(drain.config)
        started = int(drain.started) * 10**9  # whole seconds, as Mesos tells it here
        view["estimated_drain_start_time"] = {"nanoseconds": started}
    return view


def get_containers_view(agent: Agent, now: float, *, nested: bool) -> Json:
    """GET_CONTAINERS; `nested`: also those of the tasks of a group."""
    groups = group_views.get_containers(agent, now, nested=nested)
    return {
        "containers": [
            {
                "framework_id": {"value": run.run.framework_id},
                "executor_id": {"value": run.run.executor_id},
                "executor_name": executor_name(run.task),
                "container_id": {"value": run.run.container_id},
                "container_status": _container_status(run),
                "resource_statistics": statistics_of(agent, run, now),
            }
            for run in running(agent)
        ]
        + groups
    }


def metrics_view(agent: Agent, *, uptime: float, registered: bool) -> dict[str, float]:
    """`/metrics/snapshot`."""
    fetcher, gc = agent.fetcher, agent.gc
    values: dict[str, float] = {
        "containerizer/fetcher/cache_size_total_bytes": fetcher.cache.capacity,
        "containerizer/fetcher/cache_size_used_bytes": fetcher.cache.used,
        "containerizer/fetcher/task_fetches_failed": fetcher.failed,
        "containerizer/fetcher/task_fetches_succeeded": fetcher.succeeded,
        **dict.fromkeys(_NEVER, 0),
        "gc/path_removals_failed": gc.failed,
        "gc/path_removals_pending": gc.pending,
        "gc/path_removals_succeeded": gc.removed,
        "slave/executor_directory_max_allowed_age_secs": gc.allowed_age(),
        "slave/executors_registering": sum(run.executor_pid is None for run in commands(agent)),
        "slave/executors_running": len(running(agent)) + len(group_views.running(agent)),
        "slave/executors_terminated": len(agent.completed) + len(agent.groups.completed),
        "slave/frameworks_active": len(agent.frameworks),
        "slave/registered": float(registered),
        "slave/uptime_secs": uptime,
        **{f"slave/tasks_{name}": 0 for name in _STATES},
    }
    states = [run.state.removeprefix("TASK_").lower() for run in agent.live()]
    for name in ("staging", "starting", "running", "killing"):
        values[f"slave/tasks_{name}"] = states.count(name)
    values |= agent.counters
    values |= _resource_metrics(total_resources(agent), used_resources(agent))
    return dict(sorted((values | system_metrics()).items()))


def _resource_metrics(total: Resources, used: Resources) -> dict[str, float]:
    values = {}
    for name in ("cpus", "gpus", "mem", "disk"):
        whole, taken = total.scalar(name), used.scalar(name)
        values[f"slave/{name}_total"] = whole
        values[f"slave/{name}_used"] = taken
        values[f"slave/{name}_percent"] = taken / whole if whole else 0.0
        for part in ("total", "used", "percent"):
            values[f"slave/{name}_revocable_{part}"] = 0.0
    return values


def flags_list(flags: dict[str, str]) -> Sequence[Json]:
    """GET_FLAGS."""
    return [{"name": name, "value": value} for name, value in flags.items()]
