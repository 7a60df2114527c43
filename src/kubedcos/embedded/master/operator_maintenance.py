"""Maintenance by operators: calls of `/api/v1` and the older endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master import maintenance, visible
from kubedcos.embedded.master.authorization import require_call
from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.machines import MachineID, Schedule
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls, read
from kubedcos.embedded.master.responses import empty, json_answer, text
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json, to_json
from kubedcos.mesos.messages import Message


class UpdateMaintenanceSchedule(Message, frozen=True):
    """Body of UPDATE_MAINTENANCE_SCHEDULE."""

    schedule: Schedule


class MachineList(Message, frozen=True):
    """Body of START_MAINTENANCE and STOP_MAINTENANCE."""

    machines: tuple[MachineID, ...] = ()


def _decided(engine: Engine, decide: Callable[[], Effects]) -> Response:
    try:
        engine.perform(decide())
    except maintenance.MaintenanceRefused as error:
        return text(400, str(error))
    return empty(200)


def _update(engine: Engine, schedule: Schedule) -> Response:
    return _decided(engine, lambda: maintenance.update_schedule(engine.state, schedule))


def _start(engine: Engine, machines: tuple[MachineID, ...]) -> Response:
    now = engine.clock.time()
    return _decided(
        engine,
        lambda: maintenance.start(engine.state, engine.framework_rules, machines, now=now),
    )


def _stop(engine: Engine, machines: tuple[MachineID, ...]) -> Response:
    return _decided(engine, lambda: maintenance.stop(engine.state, machines))


CALLS: Final[OperatorCalls] = {
    "GET_MAINTENANCE_SCHEDULE": read(
        "GET_MAINTENANCE_SCHEDULE", lambda engine: {"schedule": engine.state.schedule}
    ),
    "GET_MAINTENANCE_STATUS": read(
        "GET_MAINTENANCE_STATUS", lambda engine: {"status": maintenance.status_view(engine.state)}
    ),
    "UPDATE_MAINTENANCE_SCHEDULE": OperatorCall(
        lambda engine, _caller, body: _update(engine, body.schedule), UpdateMaintenanceSchedule
    ),
    "START_MAINTENANCE": OperatorCall(
        lambda engine, _caller, body: _start(engine, body.machines), MachineList
    ),
    "STOP_MAINTENANCE": OperatorCall(
        lambda engine, _caller, body: _stop(engine, body.machines), MachineList
    ),
}


def sorted_json(value: Any) -> Any:
    """JSON with members in alphabetical order, as the older endpoints write these messages."""
    value = to_json(value)
    if isinstance(value, Mapping):
        return {name: sorted_json(value[name]) for name in sorted(value)}
    return [sorted_json(item) for item in value] if isinstance(value, list) else value


def _shown(engine: Engine, request: Request, caller: Caller, path: str, value: Any) -> Response:
    shown = sorted_json(value)
    if caller.approver.restricts:
        users = visible.framework_users(engine.state)
        shown = visible.endpoint(path, shown, users, caller.approver)
    return json_answer(shown, request)


def schedule_endpoint(engine: Engine, request: Request, body: bytes, caller: Caller) -> Response:
    """`/maintenance/schedule`: shown to GET, replaced by POST."""
    if request.method == "GET":
        return _shown(engine, request, caller, "/maintenance/schedule", engine.state.schedule)
    try:
        value = parse_json(body)
        if not isinstance(value, dict):
            return text(400, "Unexpected JSON type parsed")
        schedule = from_json(value, Schedule)
    except NotConvertible as error:
        return text(400, str(error))
    wanted = UpdateMaintenanceSchedule(schedule)
    require_call(caller.approver, engine.state, "UPDATE_MAINTENANCE_SCHEDULE", wanted)
    return _update(engine, schedule)


def status_endpoint(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
    """`/maintenance/status`."""
    status = maintenance.status_view(engine.state)
    return _shown(engine, request, caller, "/maintenance/status", status)


def down_endpoint(engine: Engine, _request: Request, body: bytes, caller: Caller) -> Response:
    """`/machine/down`: START_MAINTENANCE of the machines in the body, a list."""

    def down(machines: tuple[MachineID, ...]) -> Response:
        wanted = MachineList(machines)
        require_call(caller.approver, engine.state, "START_MAINTENANCE", wanted)
        return _start(engine, machines)

    return _with_machines(body, down)


def up_endpoint(engine: Engine, _request: Request, body: bytes, caller: Caller) -> Response:
    """`/machine/up`: STOP_MAINTENANCE of the machines in the body, a list."""

    def up(machines: tuple[MachineID, ...]) -> Response:
        wanted = MachineList(machines)
        require_call(caller.approver, engine.state, "STOP_MAINTENANCE", wanted)
        return _stop(engine, machines)

    return _with_machines(body, up)


def _with_machines(body: bytes, act: Callable[[tuple[MachineID, ...]], Response]) -> Response:
    try:
        value = parse_json(body)
        if not isinstance(value, list):
            return text(400, "Unexpected JSON type parsed")
        machines = tuple(from_json(item, MachineID) for item in value)
    except NotConvertible as error:
        return text(400, str(error))
    return act(machines)
