"""Answers of the master, cut down to what the caller may see.

Mesos refuses no read for want of permission to see its objects: it leaves them out. These filters
work on the finished answers, in Mesos' own form, so that views need not know of permissions.
Source: `src/master/readonly_handler.cpp` and the handlers of quota, weights and maintenance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from kubedcos.embedded.approvals import Approver
from kubedcos.embedded.master.state import MasterState

Json = dict[str, Any]
Users = Callable[[str], str]
"""The user of a framework, by its id."""

_TASK_LISTS: Final = ("tasks", "unreachable_tasks", "completed_tasks")
_FRAMEWORK_LISTS: Final = ("frameworks", "completed_frameworks")


def framework_users(state: MasterState) -> Users:
    """Users of the frameworks that the master knows; an unknown one has the user ""."""

    def user(framework_id: str) -> str:
        record = state.frameworks.get(framework_id) or state.completed.get(framework_id)
        return record.info.user if record is not None else ""

    return user


def endpoint(path: str, shown: Any, users: Users, approver: Approver) -> Any:
    """What of an older endpoint's answer the caller may see."""
    return _ENDPOINTS[path](shown, users, approver) if path in _ENDPOINTS else shown


def call(kind: str, shown: Any, users: Users, approver: Approver) -> Any:
    """What of the body of an operator call's answer the caller may see."""
    return _CALLS[kind](shown, users, approver) if kind in _CALLS else shown


def event(shown: Json, users: Users, approver: Approver) -> Json | None:
    """What of an event of the operators' stream the caller may see; None for nothing."""
    kind = str(shown["type"]).lower()
    part = shown.get(kind, {})
    if kind == "subscribed":
        state = _whole_state(part["get_state"], users, approver)
        return shown | {kind: part | {"get_state": state}}
    if kind in {"task_added", "task_updated"}:
        task = part.get("task", part)
        return shown if _sees_task(task, users, approver) else None
    if kind in {"framework_added", "framework_updated"}:
        listed = _framework(part["framework"], approver)
        return None if listed is None else shown | {kind: part | {"framework": listed}}
    if kind == "framework_removed":
        return shown if approver.view_framework(part["framework_info"].get("user", "")) else None
    if kind == "agent_added":
        agent = _resources(part["agent"], ("total_resources",), approver)
        return shown | {kind: part | {"agent": agent}}
    return shown


def sees_task(user: str | None, framework_user: str, approver: Approver) -> bool:
    """Whether the caller sees a task, of which the users are known."""
    return approver.view_framework(framework_user) and approver.view_task(user, framework_user)


def _sees_task(task: Json, users: Users, approver: Approver) -> bool:
    return sees_task(task.get("user"), users(task["framework_id"]["value"]), approver)


def _resources(shown: Json, names: Iterable[str], approver: Approver) -> Json:
    """`shown` with lists of resources cut down; an empty list is left out, as in protobuf."""
    cut = dict(shown)
    for name in names:
        kept = [resource for resource in cut.get(name, ()) if approver.view_resource(resource)]
        if kept:
            cut[name] = kept
        else:
            cut.pop(name, None)
    return cut


# --- older endpoints -----------------------------------------------------------------------------


def _older_framework(shown: Json, users: Users, approver: Approver) -> Json:
    user = users(shown["id"])
    cut = dict(shown)
    for name in _TASK_LISTS:
        if name in cut:
            cut[name] = [task for task in cut[name] if approver.view_task(task.get("user"), user)]
    if "executors" in cut:
        # An executor that is hidden leaves an empty object behind, in Mesos too.
        cut["executors"] = [
            executor if approver.may("view_executors", _executor_user(executor, user)) else {}
            for executor in cut["executors"]
        ]
    return cut


def _executor_user(executor: Json, framework_user: str) -> str:
    return executor.get("command", {}).get("user") or framework_user


def _older_frameworks(shown: Json, users: Users, approver: Approver) -> Json:
    lists = {
        name: [
            _older_framework(framework, users, approver)
            for framework in shown[name]
            if approver.view_framework(users(framework["id"]))
        ]
        for name in _FRAMEWORK_LISTS
        if name in shown
    }
    return shown | lists


def _slave(shown: Json, approver: Approver) -> Json:
    cut = dict(shown)
    for name in ("reserved_resources", "reserved_resources_full"):
        if name in cut:
            cut[name] = {role: held for role, held in cut[name].items() if approver.view_role(role)}
    if "reserved_resources_full" in cut:
        full = cut["reserved_resources_full"].items()
        cut["reserved_resources_full"] = {
            role: list(filter(approver.view_resource, held)) for role, held in full
        }
    for name in ("unreserved", "used", "offered"):
        if f"{name}_resources_full" in cut:
            held = cut[f"{name}_resources_full"]
            cut[f"{name}_resources_full"] = list(filter(approver.view_resource, held))
    return cut


def _slaves(shown: Json, _users: Users, approver: Approver) -> Json:
    return shown | {"slaves": [_slave(slave, approver) for slave in shown["slaves"]]}


def _summary(shown: Json, users: Users, approver: Approver) -> Json:
    return _slaves(_older_frameworks(shown, users, approver), users, approver)


def _state(shown: Json, users: Users, approver: Approver) -> Json:
    cut = _summary(shown, users, approver)
    if not approver.may("view_flags"):
        for name in ("cluster", "log_dir", "external_log_file", "flags"):
            cut.pop(name, None)
    return cut


def _role_of(entry: Json) -> str:
    return str(entry.get("role") or entry.get("name") or "*")


def _roles_endpoint(shown: Json, _users: Users, approver: Approver) -> Json:
    return {"roles": [role for role in shown["roles"] if approver.view_role(role["name"])]}


def _quota_status(shown: Json, _users: Users, approver: Approver) -> Json:
    cut = dict(shown)
    for name in ("infos", "configs"):
        kept = [entry for entry in cut.get(name, ()) if approver.may("get_quotas", entry["role"])]
        if kept:
            cut[name] = kept
        else:
            cut.pop(name, None)
    return cut


def _hidden_machines(action: str) -> Callable[[Json, Users, Approver], Json]:
    return lambda shown, _users, approver: shown if approver.may(action) else {}


_Filter = Callable[[Any, Users, Approver], Any]

_ENDPOINTS: Final[Mapping[str, _Filter]] = {
    "/state": _state,
    "/state-summary": _summary,
    "/slaves": _slaves,
    "/frameworks": _older_frameworks,
    "/roles": _roles_endpoint,
    "/quota": _quota_status,
    "/maintenance/schedule": _hidden_machines("get_maintenance_schedules"),
    "/maintenance/status": _hidden_machines("get_maintenance_statuses"),
}


# --- operator API --------------------------------------------------------------------------------


def _framework(shown: Json, approver: Approver) -> Json | None:
    """A framework in an event: its resources are cut down too."""
    if not approver.view_framework(shown["framework_info"].get("user", "")):
        return None
    return _resources(shown, ("allocated_resources", "offered_resources"), approver)


def _frameworks(shown: Json, _users: Users, approver: Approver) -> Json:
    return shown | {
        name: [
            framework
            for framework in shown[name]
            if approver.view_framework(framework["framework_info"].get("user", ""))
        ]
        for name in _FRAMEWORK_LISTS
    }


def _agent(shown: Json, approver: Approver) -> Json:
    held = ("total_resources", "allocated_resources", "offered_resources")
    cut = _resources(shown, held, approver)
    return cut | {"agent_info": _resources(shown["agent_info"], ("resources",), approver)}


def _agents(shown: Json, _users: Users, approver: Approver) -> Json:
    return shown | {
        "agents": [_agent(agent, approver) for agent in shown["agents"]],
        "recovered_agents": [
            _resources(info, ("resources",), approver) for info in shown["recovered_agents"]
        ],
    }


def _tasks(shown: Json, users: Users, approver: Approver) -> Json:
    return {
        name: [task for task in tasks if _sees_task(task, users, approver)]
        for name, tasks in shown.items()
    }


def _executors(shown: Json, users: Users, approver: Approver) -> Json:
    def seen(executor: Json) -> bool:
        info = executor["executor_info"]
        user = users(info.get("framework_id", {}).get("value", ""))
        return approver.view_framework(user) and approver.may(
            "view_executors", _executor_user(info, user)
        )

    return {name: list(filter(seen, executors)) for name, executors in shown.items()}


def _whole_state(shown: Json, users: Users, approver: Approver) -> Json:
    return {name: call(name.upper(), part, users, approver) for name, part in shown.items()}


def _listed_roles(key: str, action: str = "view_roles") -> _Filter:
    """A filter of the list `key` by role; without anything left the list is left out."""

    def cut(shown: Json, _users: Users, approver: Approver) -> Json:
        rest = {name: value for name, value in shown.items() if name != key}
        kept = [entry for entry in shown.get(key, ()) if approver.may(action, _role_of(entry))]
        return rest | {key: kept} if kept else rest

    return cut


def _operations(shown: Json, _users: Users, approver: Approver) -> Json:
    def seen(operation: Json) -> bool:
        part = operation["info"].get(str(operation["info"].get("type", "")).lower(), {})
        held = [*part.get("resources", ()), *part.get("volumes", ())]
        held += [part[name] for name in ("volume", "source") if isinstance(part.get(name), dict)]
        return all(map(approver.view_resource, held))

    kept = list(filter(seen, shown.get("operations", ())))
    return {"operations": kept} if kept else {}


_CALLS: Final[Mapping[str, _Filter]] = {
    "GET_STATE": _whole_state,
    "GET_AGENTS": _agents,
    "GET_FRAMEWORKS": _frameworks,
    "GET_TASKS": _tasks,
    "GET_EXECUTORS": _executors,
    "GET_ROLES": _listed_roles("roles"),
    "GET_OPERATIONS": _operations,
    "GET_QUOTA": lambda shown, users, approver: (
        shown | {"status": _quota_status(shown.get("status", {}), users, approver)}
    ),
    "GET_MAINTENANCE_SCHEDULE": lambda shown, _users, approver: (
        shown if approver.may("get_maintenance_schedules") else {"schedule": {}}
    ),
    "GET_MAINTENANCE_STATUS": lambda shown, _users, approver: (
        shown if approver.may("get_maintenance_statuses") else {"status": {}}
    ),
}
