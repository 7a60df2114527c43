"""Calls of the operator API that only read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from kubedcos.embedded.file_answers import list_files, read_file
from kubedcos.embedded.files import FileProblem
from kubedcos.embedded.master import operator_stream, operator_views, visible
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.executor_views import executors
from kubedcos.embedded.master.metrics import Process, snapshot
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls, read
from kubedcos.embedded.master.responses import empty, json_answer, text
from kubedcos.embedded.master.streams import Stream
from kubedcos.embedded.master.views import BUILD, Json
from kubedcos.embedded.operator_bodies import (
    GetMetrics,
    ListFiles,
    ReadFile,
    SetLoggingLevel,
)
from kubedcos.mesos.messages import Event


def metrics_of(engine: Engine) -> dict[str, float]:
    """Metrics as of now."""
    now = engine.clock.time()
    timers: dict[str, float] = {}
    for name, timer in engine.timers.items():
        timers |= timer.metrics(name)
    process = Process(
        elected=engine.elected,
        uptime=now - engine.state.start_time,
        operator_streams=len(engine.operators),
        registry_size=engine.registry_size(),
        replicated=not engine.options.in_memory,
        per_framework=engine.options.flags.boolean("publish_per_framework_metrics"),
        timers=timers,
    )
    return snapshot(engine.state, process, now=now)


def _metrics(engine: Engine, _caller: Caller, _body: GetMetrics) -> Response:
    pairs = metrics_of(engine).items()
    shown = {"metrics": [{"name": name, "value": value} for name, value in pairs]}
    return json_answer({"type": "GET_METRICS", "get_metrics": shown})


def _flags(engine: Engine) -> Any:
    shown = engine.options.flags.shown()
    return {"flags": [{"name": name, "value": value} for name, value in shown.items()]}


def _list_files(engine: Engine, caller: Caller, body: ListFiles) -> Response:
    if body.path in engine.files.attached and not caller.approver.may("access_mesos_logs"):
        return text(403, "")
    return _of_files("LIST_FILES", lambda: list_files(engine.files, body.path))


def _read_file(engine: Engine, caller: Caller, body: ReadFile) -> Response:
    if body.path in engine.files.attached and not caller.approver.may("access_mesos_logs"):
        return text(403, "")
    return _of_files(
        "READ_FILE", lambda: read_file(engine.files, body.path, body.offset, body.length)
    )


def _of_files(kind: str, shown: Callable[[], Any]) -> Response:
    try:
        return json_answer({"type": kind, kind.lower(): shown()})
    except FileProblem as problem:
        return text(problem.status, str(problem))


def _set_level(engine: Engine, _caller: Caller, body: SetLoggingLevel) -> Response:
    engine.verbosity.set(body.level, body.duration.nanoseconds / 1e9)
    return empty(200)


def _subscribe(engine: Engine, caller: Caller, _body: None) -> Stream:
    stream, state = engine.new_stream(announced=False), engine.state
    users = visible.framework_users(state)

    def send(event: Json) -> None:
        seen = visible.event(event, users, caller.approver) if caller.approver.restricts else event
        if seen is not None:
            stream.send(seen)

    send(operator_stream.first_event(state))
    stream.send(Event(type="HEARTBEAT"))
    engine.operators.add(stream.id, state, send, stream.close)
    return stream


CALLS: Final[OperatorCalls] = {
    "GET_HEALTH": read("GET_HEALTH", lambda _: {"healthy": True}),
    "GET_FLAGS": read("GET_FLAGS", _flags),
    "GET_VERSION": read("GET_VERSION", lambda _: {"version_info": BUILD}),
    "GET_METRICS": OperatorCall(_metrics, GetMetrics),
    "GET_STATE": read("GET_STATE", lambda engine: operator_views.whole_state(engine.state)),
    "GET_AGENTS": read("GET_AGENTS", lambda engine: operator_views.agents(engine.state)),
    "GET_FRAMEWORKS": read(
        "GET_FRAMEWORKS", lambda engine: operator_views.frameworks(engine.state)
    ),
    "GET_TASKS": read("GET_TASKS", lambda engine: operator_views.tasks(engine.state)),
    "GET_EXECUTORS": read("GET_EXECUTORS", lambda engine: executors(engine.state)),
    "GET_MASTER": read("GET_MASTER", lambda engine: operator_views.master(engine.state)),
    "GET_ROLES": read(
        "GET_ROLES", lambda engine: operator_views.roles(engine.state, engine.options.roles)
    ),
    "SUBSCRIBE": OperatorCall(_subscribe),
    "GET_OPERATIONS": read(
        "GET_OPERATIONS", lambda engine: operator_views.operations(engine.state)
    ),
    "GET_LOGGING_LEVEL": read(
        "GET_LOGGING_LEVEL", lambda engine: {"level": engine.verbosity.level}
    ),
    "SET_LOGGING_LEVEL": OperatorCall(_set_level, SetLoggingLevel),
    "LIST_FILES": OperatorCall(_list_files, ListFiles),
    "READ_FILE": OperatorCall(_read_file, ReadFile),
}
