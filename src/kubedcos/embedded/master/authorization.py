"""Which permission a call needs, and the words of a refusal.

`NEEDED` has what the calls of operators need, applied where they come in. What the operations and
tasks of a framework need is asked here as well, while an ACCEPT is carried out: each of them is
refused on its own. Source: `src/master/authorization.cpp`, `src/master/http.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from kubedcos.embedded.approvals import Approver, last_role, user_of
from kubedcos.embedded.master.machines import schedule_fault, transition_fault
from kubedcos.embedded.master.responses import BadRequest, forbidden
from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.protojson import encode_json, to_json
from kubedcos.mesos.messages import FrameworkInfo, Resource, TaskInfo

Needed = Iterable[tuple[str, str | None]]
"""Actions, each with the name of its object; None is any object, or the implicit one."""

_MESOS_NAMES: Final = {
    "reserve_resources": "RESERVE_RESOURCES",
    "unreserve_resources": "UNRESERVE_RESOURCES",
    "create_volumes": "CREATE_VOLUME",
    "destroy_volumes": "DESTROY_VOLUME",
    "resize_volumes": "RESIZE_VOLUME",
}


def _needed_by_operation(
    kind: str, resources: tuple[Resource, ...]
) -> Iterable[tuple[str, str | None, Resource | None]]:
    """What an operation on resources needs: action, name of the object, the resource."""
    if kind == "RESERVE":
        for role, resource in _one_by_role(resources):
            yield "reserve_resources", role, resource
    elif kind == "UNRESERVE":
        principals = [(r.reservations[-1].principal if r.reservations else None) for r in resources]
        for resource, principal in zip(resources, principals, strict=True):
            if principal is not None:
                yield "unreserve_resources", principal, resource
        if None in principals:
            yield "unreserve_resources", None, None
    elif kind == "CREATE":
        yield from (("create_volumes", role, volume) for role, volume in _one_by_role(resources))
        if not resources:
            yield "create_volumes", None, None
    elif kind in {"GROW_VOLUME", "SHRINK_VOLUME"}:
        yield from (("resize_volumes", last_role(volume), volume) for volume in resources)
    elif kind == "DESTROY":
        yield from _needed_to_destroy(resources)


def _needed_to_destroy(
    resources: tuple[Resource, ...],
) -> Iterable[tuple[str, str | None, Resource | None]]:
    volumes = [r for r in resources if r.disk is not None and r.disk.persistence is not None]
    for volume in volumes:
        assert volume.disk is not None
        assert volume.disk.persistence is not None
        yield "destroy_volumes", volume.disk.persistence.principal or "", volume
    if not volumes:
        yield "destroy_volumes", None, None


def _one_by_role(resources: tuple[Resource, ...]) -> Iterable[tuple[str, Resource]]:
    seen: dict[str, Resource] = {}
    for resource in resources:
        seen.setdefault(last_role(resource), resource)
    return seen.items()


def operation_refusal(approver: Approver, kind: str, resources: tuple[Resource, ...]) -> str | None:
    """Why a framework may not do an operation."""
    for action, name, resource in _needed_by_operation(kind, resources):
        if not approver.may(action, name):
            return _no_authorized(
                approver, f"perform action {_MESOS_NAMES[action]} on {_object(name, resource)}"
            )
    return None


def _object(name: str | None, resource: Resource | None) -> str:
    if resource is None:
        return "ANY object"
    shown = {"value": name, "resource": to_json(resource)}
    return f"object {encode_json(shown).decode()}"


def _no_authorized(approver: Approver, what: str) -> str:
    # The missing "t" is Mesos' own.
    return f"Principal '{approver.principal or ''}' no authorized to {what}"


def _launch(task: TaskInfo, framework: FrameworkInfo) -> str:
    framework_id = framework.id.value if framework.id is not None else ""
    user = user_of(task, framework)
    return f"launch task {task.task_id} of framework {framework_id} under user '{user}'"


def task_refusal(approver: Approver, task: TaskInfo, framework: FrameworkInfo) -> str | None:
    """Why a framework may not launch a task."""
    if approver.may("run_tasks", user_of(task, framework)):
        return None
    return _no_authorized(approver, _launch(task, framework))


def group_refusal(
    approver: Approver, tasks: Iterable[TaskInfo], framework: FrameworkInfo
) -> str | None:
    """Why a framework may not launch a task group; the last task that is denied is named."""
    refusal = None
    for task in tasks:
        if not approver.may("run_tasks", user_of(task, framework)):
            # The missing space is Mesos' own.
            refusal = f"Task '{task.task_id}' is not authorized to{_launch(task, framework)}"
    return refusal


def registration_refusal(
    approver: Approver, info: FrameworkInfo, roles: Iterable[str]
) -> str | None:
    """Why a framework may not subscribe for, or change to, its roles."""
    wanted = sorted(set(roles))
    if all(approver.may("register_frameworks", role) for role in wanted) and (
        wanted or approver.acls is None or approver.acls.permissive
    ):
        return None
    framework_id = info.id.value if info.id is not None else ""
    return (
        f"Not authorized to register framework {framework_id} with roles {{ {', '.join(wanted)} }}"
    )


# --- operators -----------------------------------------------------------------------------------


def _teardown(state: MasterState, body: Any) -> Needed:
    framework = state.frameworks.get(body.framework_id.value)
    return [("teardown_frameworks", framework.info.principal)] if framework is not None else []


def _operation(kind: str, field: str) -> Callable[[MasterState, Any], Needed]:
    """What an operation of an operator needs; of an unknown agent it says so first."""

    def needed(state: MasterState, body: Any) -> Needed:
        if body.agent_id is None or body.agent_id.value not in state.agents:
            return []
        resources = getattr(body, field)
        listed = resources if isinstance(resources, tuple) else (resources,)
        found = _needed_by_operation(kind, listed)
        return [(action, name) for action, name, _ in found]

    return needed


def _simply(action: str) -> Callable[[MasterState, Any], Needed]:
    return lambda _state, _body: [(action, None)]


def _schedule(state: MasterState, body: Any) -> Needed:
    """A wrong schedule is told first; Mesos lets everybody set an empty one, we do not."""
    if schedule_fault(body.schedule, state.machines) is not None:
        return []
    return [("update_maintenance_schedules", None)]


def _transition(
    action: str, wanted: Literal["DRAINING", "DOWN"]
) -> Callable[[MasterState, Any], Needed]:
    """What bringing machines down or up needs; what is wrong with the machines is told first."""

    def needed(state: MasterState, body: Any) -> Needed:
        fault = transition_fault(body.machines, state.machines, wanted)
        return [] if fault is not None else [(action, None)]

    return needed


def _drain(_state: MasterState, body: Any) -> Needed:
    gone = [("mark_agents_gone", None)] if body.mark_gone else []
    return [("drain_agents", None), *gone]


NEEDED: Final[Mapping[str, Callable[[MasterState, Any], Needed]]] = {
    "GET_FLAGS": _simply("view_flags"),
    "TEARDOWN": _teardown,
    "MARK_AGENT_GONE": _simply("mark_agents_gone"),
    "SET_LOGGING_LEVEL": _simply("set_log_level"),
    "RESERVE_RESOURCES": _operation("RESERVE", "resources"),
    "UPDATE_MAINTENANCE_SCHEDULE": _schedule,
    "START_MAINTENANCE": _transition("start_maintenances", "DRAINING"),
    "STOP_MAINTENANCE": _transition("stop_maintenances", "DOWN"),
    "DRAIN_AGENT": _drain,
    "DEACTIVATE_AGENT": _simply("deactivate_agents"),
    "REACTIVATE_AGENT": _simply("reactivate_agents"),
    "UNRESERVE_RESOURCES": _operation("UNRESERVE", "resources"),
    "CREATE_VOLUMES": _operation("CREATE", "volumes"),
    "DESTROY_VOLUMES": _operation("DESTROY", "volumes"),
    "GROW_VOLUME": _operation("GROW_VOLUME", "volume"),
    "SHRINK_VOLUME": _operation("SHRINK_VOLUME", "volume"),
}
"""What a call of the operator API needs, from the state and its body."""

ASKED_LATER: Final = frozenset(
    {
        *("UPDATE_QUOTA", "SET_QUOTA", "REMOVE_QUOTA", "UPDATE_WEIGHTS", "GET_WEIGHTS"),
        *("LIST_FILES", "READ_FILE", "SUBSCRIBE"),
    }
)
"""Calls that ask for permission themselves, once they know of what."""

OPEN: Final = frozenset(
    {"GET_HEALTH", "GET_VERSION", "GET_MASTER", "GET_METRICS", "GET_LOGGING_LEVEL"}
)
"""Calls that need no permission and show nothing that could be hidden, in Mesos too.

GET_METRICS escapes `get_endpoints`: that is about the path `/metrics/snapshot` alone.
"""


def require(approver: Approver, needed: Needed) -> None:
    """Go on only with all of these permissions.

    Raises:
        BadRequest: 403.
    """
    if approver.restricts and not all(approver.may(action, name) for action, name in needed):
        raise BadRequest(forbidden())


def require_call(approver: Approver, state: MasterState, kind: str, body: Any) -> None:
    """Go on only with what a call of the operator API needs.

    Raises:
        BadRequest: 403.
    """
    if approver.restricts and kind in NEEDED:
        require(approver, NEEDED[kind](state, body))
