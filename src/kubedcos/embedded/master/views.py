"""The older endpoints: `/state`, `/state-summary`, `/slaves`, `/frameworks`, `/tasks`."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from kubedcos.embedded.master.draining import drain_info
from kubedcos.embedded.master.executor_views import executor_view
from kubedcos.embedded.master.options import MasterOptions
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import (
    AgentInfo,
    Attribute,
    ReservationInfo,
    Resource,
    Task,
    TaskStatus,
)
from kubedcos.mesos.resources import Resources, value_text
from kubedcos.mesos.values import spans_text

Json = dict[str, Any]

BUILD: Final[Json] = {
    "version": "1.12.0",
    "build_date": "2024-08-01 00:00:00 UTC",
    "build_time": 1722470400.0,
    "build_user": "kubedcos-embedded",
}
"""What `/version` says: the Mesos that this engine was measured against, and who built this."""

_WHOLE: Final = re.compile(r"[+-]?[0-9]+")
_COUNTED: Final = (
    *("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_FINISHED"),
    *("TASK_KILLED", "TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_UNREACHABLE"),
)


def amounts(resources: Iterable[Resource]) -> Json:
    """Resources as the older endpoints sum them up."""
    total = resources if isinstance(resources, Resources) else Resources(resources)
    shown: Json = {name: total.scalar(name) for name in ("disk", "mem", "gpus", "cpus")}
    for name in total.names():
        spans = total.spans(name)
        if spans:
            shown[name] = spans_text(spans)
        elif name not in shown:
            shown[name] = total.scalar(name)
    return shown


def endpoint_form(resource: Resource) -> Resource:
    """A resource with `role` and `reservation` of the old form beside the stack."""
    if not resource.reservations:
        return replace(resource, role="*")
    if len(resource.reservations) > 1:
        return resource
    level = resource.reservations[0]
    dynamic = None
    if level.type == "DYNAMIC":
        dynamic = ReservationInfo(principal=level.principal, labels=level.labels)
    return replace(resource, role=level.role, reservation=dynamic)


def full(resources: Iterable[Resource]) -> list[Any]:
    """Resources in all detail, in the form of endpoints."""
    return [to_json(endpoint_form(resource)) for resource in resources]


def reserved_by_role(resources: Resources) -> dict[str, Resources]:
    """Reserved resources by the role of their most refined reservation."""
    roles = {r.reservations[-1].role or "*" for r in resources.reserved()}
    return {role: resources.reserved(role) for role in sorted(roles)}


def _attribute(attribute: Attribute) -> Any:
    if attribute.text is not None:
        return attribute.text.value
    if attribute.scalar is not None:
        return attribute.scalar.value
    return value_text(Resource(attribute.name, attribute.type, ranges=attribute.ranges))


def agent_view(state: MasterState, agent: AgentRecord, *, detailed: bool = False) -> Json:
    """One agent; `detailed` as `/slaves` shows it."""
    used, offered = state.used(agent_id=agent.id), state.offered(agent_id=agent.id)
    view: Json = {
        "id": agent.id,
        "hostname": agent.info.hostname,
        "port": agent.info.port,
        "attributes": {a.name: _attribute(a) for a in agent.info.attributes},
    }
    if agent.info.domain is not None:
        view["domain"] = to_json(agent.info.domain)
    view |= {"pid": agent.pid, "registered_time": agent.registered_time}
    if agent.reregistered_time is not None:
        view["reregistered_time"] = agent.reregistered_time
    reserved = reserved_by_role(agent.total)
    view |= {
        "resources": amounts(agent.total),
        "used_resources": amounts(used),
        "offered_resources": amounts(offered),
        "reserved_resources": {role: amounts(held) for role, held in reserved.items()},
        "unreserved_resources": amounts(agent.total.unreserved()),
        "active": agent.active,
        "deactivated": agent.deactivated,
        "version": agent.version,
        "capabilities": [capability.type for capability in agent.capabilities],
    }
    drain = drain_info(state, agent.id)
    if drain is not None:
        view["drain_info"] = drain
        if agent.drain_started is not None:
            view["estimated_drain_start_time_seconds"] = agent.drain_started
    if detailed:
        view |= {
            "reserved_resources_full": {role: full(held) for role, held in reserved.items()},
            "unreserved_resources_full": full(agent.total.unreserved()),
            "used_resources_full": full(used),
            "offered_resources_full": full(offered),
        }
    return view


def _recovered_view(info: AgentInfo) -> Json:
    return {
        "id": info.id.value if info.id else "",
        "hostname": info.hostname,
        "port": info.port,
        "attributes": {a.name: _attribute(a) for a in info.attributes},
        **({"domain": to_json(info.domain)} if info.domain is not None else {}),
    }


def _status_view(status: TaskStatus) -> Json:
    view: Json = {"state": status.state, "timestamp": status.timestamp or 0.0}
    if status.labels is not None:
        view["labels"] = to_json(status.labels)["labels"]
    if status.container_status is not None:
        container = to_json(status.container_status)
        container.pop("executor_pid", None)
        view["container_status"] = container
    if status.healthy is not None:
        view["healthy"] = status.healthy
    return view


def task_view(task: Task) -> Json:
    """One task."""
    first = task.resources[0] if task.resources else None
    role = first.allocation_info.role if first and first.allocation_info else "*"
    view: Json = {
        "id": task.task_id.value,
        "name": task.name,
        "framework_id": task.framework_id.value,
        "executor_id": task.executor_id.value if task.executor_id else "",
        "slave_id": task.agent_id.value,
        "state": task.state,
        "resources": amounts(task.resources),
        "role": role,
        "statuses": [_status_view(status) for status in task.statuses],
    }
    if task.user is not None:
        view["user"] = task.user
    if task.labels is not None:
        view["labels"] = to_json(task.labels).get("labels", [])
    if task.limits:
        view["limits"] = {name: to_json(limit.value) for name, limit in task.limits.items()}
    for name in ("discovery", "container", "health_check"):
        value = getattr(task, name)
        if value is not None:
            view[name] = to_json(value)
    return view


def _framework_summary(state: MasterState, framework: FrameworkRecord) -> Json:
    info = framework.info
    view: Json = {
        "id": framework.id,
        "name": info.name,
        "used_resources": amounts(state.used(framework_id=framework.id)),
        "offered_resources": amounts(state.offered(framework_id=framework.id)),
        "capabilities": [entry.type or "UNKNOWN" for entry in info.capabilities],
        "hostname": info.hostname or "",
        "webui_url": info.webui_url or "",
        "active": framework.connected,
        "connected": framework.connected,
        "recovered": framework.recovered,
    }
    return view


def framework_view(state: MasterState, framework: FrameworkRecord) -> Json:
    """One framework with all its tasks."""
    info, again = framework.info, framework.reregistered_time
    used = state.used(framework_id=framework.id)
    view = _framework_summary(state, framework)
    view |= {
        "user": info.user,
        "failover_timeout": info.failover_timeout,
        "checkpoint": info.checkpoint,
        "registered_time": framework.registered_time,
        "unregistered_time": framework.unregistered_time or 0.0,
    }
    if info.principal is not None:
        view["principal"] = info.principal
    if again is not None and again != framework.registered_time:
        view["reregistered_time"] = again
    view["resources"] = amounts(used + state.offered(framework_id=framework.id))
    view |= (
        {"roles": list(info.roles)} if framework.can("MULTI_ROLE") else {"role": info.role or "*"}
    )
    view |= {
        "tasks": [task_view(task) for task in state.tasks_of(framework_id=framework.id)],
        "unreachable_tasks": [task_view(task) for task in framework.unreachable_tasks.values()],
        "completed_tasks": [task_view(task) for task in framework.completed_tasks],
        "offers": [
            {
                "id": record.id,
                "framework_id": record.framework_id,
                "allocation_info": {"role": record.role},
                "slave_id": record.agent_id,
                "resources": amounts(record.resources),
            }
            for record in state.offers_of(framework_id=framework.id)
        ],
        "executors": [
            executor_view(executor, amounts(executor.resources), framework.id, key.agent_id)
            for key, executor in state.executors_of(framework_id=framework.id)
        ],
        "offer_constraints": to_json(framework.constraints.constraints),
    }
    if info.labels is not None:
        view["labels"] = to_json(info.labels).get("labels", [])
    return view


def state_view(state: MasterState, options: MasterOptions) -> Json:
    """`/state`."""
    info = state.info
    domain = {"domain": to_json(info.domain)} if info.domain is not None else {}
    view: Json = {**BUILD, "start_time": state.start_time}
    if state.elected_time is not None:
        view["elected_time"] = state.elected_time
    active = sum(agent.active for agent in state.agents.values())
    view |= {
        "id": info.id,
        "pid": info.pid,
        "hostname": info.hostname,
        "capabilities": [capability.type for capability in info.capabilities],
        "activated_slaves": float(active),
        "deactivated_slaves": float(len(state.agents) - active),
        "unreachable_slaves": float(len(state.unreachable)),
        **domain,
        "leader": info.pid,
        "leader_info": {
            "id": info.id,
            "pid": info.pid,
            "port": info.port,
            "hostname": info.hostname,
            **domain,
        },
    }
    if options.cluster is not None:
        view["cluster"] = options.cluster
    logs = {name: options.flags.text(name) for name in ("log_dir", "external_log_file")}
    view |= {name: path for name, path in logs.items() if path is not None}
    view |= {"flags": options.flags.shown(), **slaves_view(state, {}, detailed=False)}
    view |= frameworks_view(state, {})
    return view | {"orphan_tasks": [], "unregistered_frameworks": []}


def slaves_view(state: MasterState, query: Mapping[str, str], *, detailed: bool = True) -> Json:
    """`/slaves`, of one agent when `slave_id` is given."""
    wanted = query.get("slave_id")
    return {
        "slaves": [
            agent_view(state, agent, detailed=detailed)
            for agent in state.agents.values()
            if wanted in (None, agent.id)
        ],
        "recovered_slaves": [
            _recovered_view(info)
            for agent_id, info in state.recovered.items()
            if wanted in (None, agent_id)
        ],
    }


def frameworks_view(state: MasterState, query: Mapping[str, str]) -> Json:
    """`/frameworks`, one when `framework_id` is given."""
    wanted = query.get("framework_id")
    return {
        "frameworks": [
            framework_view(state, framework)
            for framework in state.frameworks.values()
            if wanted in (None, framework.id)
        ],
        "completed_frameworks": [
            framework_view(state, framework)
            for framework in state.completed.values()
            if wanted in (None, framework.id)
        ],
        "unregistered_frameworks": [],
    }


def _all_tasks(state: MasterState, framework: FrameworkRecord) -> list[Task]:
    return [
        *state.tasks_of(framework_id=framework.id),
        *framework.unreachable_tasks.values(),
        *framework.completed_tasks,
    ]


def tasks_view(
    state: MasterState, query: Mapping[str, str], *, sees: Callable[[Task], bool]
) -> Json:
    """`/tasks`: `framework_id`, `task_id`, `limit`, `offset`, `order` as in Mesos.

    `limit` and `offset` count the tasks that the caller `sees`.
    """
    frameworks = [*state.frameworks.values(), *state.completed.values()]
    tasks = [
        task
        for framework in frameworks
        if query.get("framework_id") in (None, framework.id)
        for task in _all_tasks(state, framework)
        if query.get("task_id") in (None, task.task_id.value) and sees(task)
    ]
    tasks.sort(
        key=lambda task: task.statuses[0].timestamp or 0.0 if task.statuses else 0.0,
        reverse=query.get("order") != "asc",
    )
    offset, limit = _number(query.get("offset"), 0), _number(query.get("limit"), 100)
    return {"tasks": [task_view(task) for task in tasks[offset:][:limit]]}


def _number(text: str | None, default: int) -> int:
    """A number as Mesos reads it: its default for what is none, the largest for one below zero."""
    if text is None or not _WHOLE.fullmatch(text):
        return default
    return int(text) if int(text) >= 0 else sys.maxsize


def _counts(tasks: Iterable[Task]) -> Json:
    counted = Counter(task.state for task in tasks)
    return {name: counted.get(name, 0) for name in _COUNTED}


def summary_view(state: MasterState, options: MasterOptions) -> Json:
    """`/state-summary`."""
    tasks = [task for f in state.frameworks.values() for task in _all_tasks(state, f)]
    by_agent: dict[str, list[Task]] = defaultdict(list)
    by_framework: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        by_agent[task.agent_id.value].append(task)
        by_framework[task.framework_id.value].append(task)
    slaves, frameworks = [], []
    for agent in state.agents.values():
        mine = by_agent[agent.id]
        ids = sorted({task.framework_id.value for task in mine})
        slaves.append(agent_view(state, agent) | _counts(mine) | {"framework_ids": ids})
    for framework in state.frameworks.values():
        mine = by_framework[framework.id]
        ids = sorted({task.agent_id.value for task in mine})
        frameworks.append(_framework_summary(state, framework) | _counts(mine) | {"slave_ids": ids})
    view: Json = {"hostname": state.info.hostname}
    if options.cluster is not None:
        view["cluster"] = options.cluster
    return view | {"slaves": slaves, "frameworks": frameworks}
