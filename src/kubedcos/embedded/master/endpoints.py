"""The older endpoints of the master: which paths there are, who may ask, and what answers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded import file_answers
from kubedcos.embedded.host_statistics import system_statistics
from kubedcos.embedded.master import (
    operator_agents,
    operator_maintenance,
    operator_quota,
    operator_reads,
    operator_resources,
    role_views,
    views,
    visible,
)
from kubedcos.embedded.master.authorization import require, require_call
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operator_calls import Caller
from kubedcos.embedded.master.registry_view import registry_view
from kubedcos.embedded.master.responses import empty, json_answer, not_allowed, text
from kubedcos.embedded.verbosity import duration_fault
from kubedcos.mesos.messages import FrameworkID

Answer = Callable[[Engine, Request, bytes, Caller], Response]

READONLY: Final = "mesos-master-readonly"
READWRITE: Final = "mesos-master-readwrite"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path.

    Attributes:
        answer: gives the answer to a request with that body.
        realm: whose credentials are wanted, if the flags demand any; `None`: nobody's.
        leader: whether others than the leader redirect.
        methods: the allowed ones; none means any, as Mesos' read endpoints take them.
    """

    answer: Answer
    realm: str | None = READONLY
    leader: bool = False
    methods: tuple[str, ...] = ()


def _view(path: str, view: Callable[[Engine, Request], Any], *, leader: bool = True) -> Endpoint:
    def answer(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
        shown = view(engine, request)
        if caller.approver.restricts:
            users = visible.framework_users(engine.state)
            shown = visible.endpoint(path, shown, users, caller.approver)
        return json_answer(shown, request)

    return Endpoint(answer, leader=leader)


def _tasks(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
    users = visible.framework_users(engine.state)
    shown = views.tasks_view(
        engine.state,
        request.query_params,
        sees=lambda task: (
            not caller.approver.restricts
            or visible.sees_task(task.user, users(task.framework_id.value), caller.approver)
        ),
    )
    return json_answer(shown, request)


def _flags(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
    if caller.approver.restricts and request.method != "GET":
        return not_allowed(request.method, "GET")
    require(caller.approver, [("view_flags", None)])
    return json_answer({"flags": engine.options.flags.shown()}, request)


def _open(answer: Callable[[Engine, Request], Response]) -> Endpoint:
    return Endpoint(lambda engine, request, _body, _caller: answer(engine, request), realm=None)


def _write(answer: Answer) -> Endpoint:
    return Endpoint(answer, READWRITE, leader=True, methods=("POST",))


def _redirect(engine: Engine, _request: Request) -> Response:
    leader = engine.leader
    if leader is None:
        return text(503, "No leader elected")
    return empty(307, {"Location": f"//{leader.hostname}:{leader.port}"})


def _front_page(_engine: Engine, _request: Request) -> Response:
    return text(200, "The embedded Mesos master of kubedcos. It has no web interface.\n")


def _metrics(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
    require(caller.approver, [("get_endpoints", "/metrics/snapshot")])
    timeout = request.query_params.get("timeout")
    if timeout is not None:
        fault = duration_fault(timeout)
        if fault is not None:
            return text(400, f"Invalid timeout '{timeout}': {fault}.\n")
    return json_answer(operator_reads.metrics_of(engine), request)


def _file(name: str) -> Endpoint:
    def answer(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
        query = request.query_params
        if name == "debug":
            require(caller.approver, [("get_endpoints", "/files/debug")])
        elif query.get("path") in engine.files.attached and not caller.approver.may(
            "access_mesos_logs"
        ):
            return text(403, "")
        return file_answers.answer(
            engine.files, name, query, lambda value: json_answer(value, request)
        )

    return Endpoint(answer)


def _toggle(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
    require(caller.approver, [("get_endpoints", "/logging/toggle")])
    status, said = engine.verbosity.toggle(request.query_params)
    return text(status, said) if said else empty(status)


def _constraints(engine: Engine, request: Request, _body: bytes, caller: Caller) -> Response:
    """Which agents are kept from which roles of a framework by its own constraints."""
    agents = engine.state.agents.values()
    frameworks = {
        framework.id: {
            "suppressed_roles": sorted(framework.suppressed),
            "excluded_by_attribute_constraints": {
                role: [
                    each.id for each in agents if framework.constraints.excludes(role, each.info)
                ]
                for role in sorted(framework.roles)
            },
        }
        for framework in engine.state.frameworks.values()
        if caller.approver.view_framework(framework.info.user or "")
    }
    return json_answer({"frameworks": frameworks}, request)


def _teardown(engine: Engine, _request: Request, body: bytes, caller: Caller) -> Response:
    values = parse_qs(body.decode("utf-8", "replace"))
    if "frameworkId" not in values:
        return text(400, "Missing 'frameworkId' query parameter in the request body")
    wanted = operator_agents.Teardown(FrameworkID(values["frameworkId"][0]))
    require_call(caller.approver, engine.state, "TEARDOWN", wanted)
    return operator_agents.teardown(engine, wanted.framework_id.value)


ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "/": _open(_front_page),
    "/health": _open(lambda _engine, _request: empty(200)),
    "/version": _open(
        lambda _engine, request: json_answer(dict(sorted(views.BUILD.items())), request)
    ),
    "/redirect": _open(_redirect),
    "/flags": Endpoint(_flags),
    "/state": _view("/state", lambda engine, _: views.state_view(engine.state, engine.options)),
    "/state-summary": _view(
        "/state-summary", lambda engine, _: views.summary_view(engine.state, engine.options)
    ),
    "/slaves": _view(
        "/slaves", lambda engine, request: views.slaves_view(engine.state, request.query_params)
    ),
    "/frameworks": _view(
        "/frameworks",
        lambda engine, request: views.frameworks_view(engine.state, request.query_params),
    ),
    "/tasks": Endpoint(_tasks, leader=True),
    "/roles": _view(
        "/roles", lambda engine, _: role_views.roles_view(engine.state, engine.options.roles)
    ),
    "/metrics/snapshot": Endpoint(_metrics),
    **{f"/files/{name}": _file(name) for name in file_answers.NAMES},
    **{f"/files/{name}.json": _file(name) for name in file_answers.NAMES},
    "/allocator/offer_constraints_debug": Endpoint(_constraints),
    "/logging/toggle": Endpoint(_toggle, READWRITE),
    "/system/stats.json": _open(lambda _, request: json_answer(system_statistics(), request)),
    "/registrar(1)/registry": Endpoint(
        lambda engine, request, _body, _caller: json_answer(registry_view(engine.state), request)
    ),
    "/quota": Endpoint(
        operator_quota.quota_endpoint, READWRITE, leader=True, methods=("GET", "POST", "DELETE")
    ),
    "/weights": Endpoint(
        operator_quota.weights_endpoint, READWRITE, leader=True, methods=("GET", "PUT")
    ),
    "/maintenance/schedule": Endpoint(
        operator_maintenance.schedule_endpoint, READWRITE, leader=True, methods=("GET", "POST")
    ),
    "/maintenance/status": Endpoint(
        operator_maintenance.status_endpoint, leader=True, methods=("GET",)
    ),
    "/machine/down": _write(operator_maintenance.down_endpoint),
    "/machine/up": _write(operator_maintenance.up_endpoint),
    "/teardown": _write(_teardown),
    "/reserve": _write(operator_resources.reserve),
    "/unreserve": _write(operator_resources.unreserve),
    "/create-volumes": _write(operator_resources.create_volumes),
    "/destroy-volumes": _write(operator_resources.destroy_volumes),
}
"""By path; each is also below ``/master``."""
