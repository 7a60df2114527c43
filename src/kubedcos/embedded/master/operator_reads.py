"""Calls of the operator API that only read."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from kubedcos.embedded.master import operator_views
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.executor_views import executors
from kubedcos.embedded.master.metrics import snapshot
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls, read
from kubedcos.embedded.master.responses import json_answer, text
from kubedcos.embedded.master.views import BUILD
from kubedcos.mesos.messages import DurationInfo, Message


class GetMetrics(Message, frozen=True):
    """Body of GET_METRICS."""

    timeout: DurationInfo | None = None


class ListFiles(Message, frozen=True):
    """Body of LIST_FILES."""

    path: str


class ReadFile(Message, frozen=True):
    """Body of READ_FILE."""

    path: str
    offset: int
    length: int | None = None


def metrics_of(engine: Engine) -> dict[str, float]:
    """Metrics as of now."""
    uptime = engine.clock.time() - engine.state.start_time
    return snapshot(engine.state, elected=engine.elected, recovered=engine.elected, uptime=uptime)


def _metrics(engine: Engine, _caller: Caller, _body: GetMetrics) -> Response:
    pairs = metrics_of(engine).items()
    shown = {"metrics": [{"name": name, "value": value} for name, value in pairs]}
    return json_answer({"type": "GET_METRICS", "get_metrics": shown})


def _flags(engine: Engine) -> Any:
    shown = engine.options.flags.shown()
    return {"flags": [{"name": name, "value": value} for name, value in shown.items()]}


def _no_file(_engine: Engine, _caller: Caller, _body: ListFiles | ReadFile) -> Response:
    return text(404, "")  # the master keeps no log file, and Mesos says no more than this


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
    "LIST_FILES": OperatorCall(_no_file, ListFiles),
    "READ_FILE": OperatorCall(_no_file, ReadFile),
}
