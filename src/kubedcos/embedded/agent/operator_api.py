"""The agent's operator API: `POST /api/v1`, JSON; the order of checks and the texts are Mesos'."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubedcos.embedded.agent import views, visible
from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.files import FileProblem, file_info
from kubedcos.embedded.approvals import EVERYTHING, Approver
from kubedcos.embedded.master.views import BUILD
from kubedcos.embedded.protojson import NotConvertible, parse_json

Json = dict[str, Any]

_MEDIA: Final = "application/json or application/x-protobuf or application/recordio"
_OF_FILES: Final = frozenset({"LIST_FILES", "READ_FILE"})
_NEEDS_PART: Final = frozenset({"LIST_FILES", "READ_FILE", "SET_LOGGING_LEVEL"})
NOT_SUPPORTED: Final = frozenset(
    {
        "LAUNCH_NESTED_CONTAINER",
        "WAIT_NESTED_CONTAINER",
        "KILL_NESTED_CONTAINER",
        "REMOVE_NESTED_CONTAINER",
        "LAUNCH_NESTED_CONTAINER_SESSION",
        "LAUNCH_CONTAINER",
        "WAIT_CONTAINER",
        "KILL_CONTAINER",
        "REMOVE_CONTAINER",
        "ATTACH_CONTAINER_INPUT",
        "ATTACH_CONTAINER_OUTPUT",
        "ADD_RESOURCE_PROVIDER_CONFIG",
        "UPDATE_RESOURCE_PROVIDER_CONFIG",
        "REMOVE_RESOURCE_PROVIDER_CONFIG",
        "MARK_RESOURCE_PROVIDER_GONE",
        "GET_METRICS",
        "SET_LOGGING_LEVEL",
        "PRUNE_IMAGES",
    }
)
"""Calls of Mesos' agent that this one refuses."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, and JSON or text."""

    status: int
    json: Json | None = None
    text: str = ""


class _Bad(Exception):
    def __init__(self, status: int, text: str) -> None:
        self.answer = Answer(status, text=text)


NEEDED: Final = {"GET_FLAGS": "view_flags", "SET_LOGGING_LEVEL": "set_log_level"}
"""Permissions that calls need as a whole; of what the others show, the caller sees his part."""


def answer(
    agent: Agent, headers: Mapping[str, str], body: bytes, approver: Approver = EVERYTHING
) -> Answer:
    """The answer to a POST. `headers` by lower-case name."""
    try:
        return Answer(200, _carried_out(agent, _call(headers, body), approver))
    except _Bad as bad:
        return bad.answer
    except FileProblem as problem:
        return Answer(problem.status, text=str(problem))


def _call(headers: Mapping[str, str], body: bytes) -> Json:
    content_type = headers.get("content-type")
    if content_type is None:
        raise _Bad(400, "Expecting 'Content-Type' to be present")
    if content_type in {"application/x-protobuf", "application/recordio"}:
        raise _Bad(415, "The embedded agent only understands application/json")
    if content_type != "application/json":
        raise _Bad(415, f"Expecting 'Content-Type' of {_MEDIA}")
    if "message-content-type" in headers:
        text = "Expecting 'Message-Content-Type' to be not set for non-streaming requests"
        raise _Bad(415, text)
    try:
        call = parse_json(body)
    except NotConvertible as error:
        raise _Bad(400, f"Failed to parse body into JSON: {error}") from error
    if not isinstance(call, dict):
        raise _Bad(400, "Expecting a JSON object")
    _check_type(call)
    if not _accepts_json(headers.get("accept")):
        raise _Bad(406, f"Expecting 'Accept' to allow {_MEDIA}")
    if "message-accept" in headers:
        raise _Bad(406, "Expecting 'Message-Accept' to be not set for non-streaming responses")
    return call


def _check_type(call: Json) -> None:
    kind = call.get("type")
    if isinstance(kind, bool | int | float):
        word = "boolean" if isinstance(kind, bool) else "number"
        raise _Bad(400, f"Not expecting a JSON {word} for field 'type'")
    if kind == "UNKNOWN":
        raise _Bad(501, "501 Not Implemented.")
    if kind not in READS and kind not in NOT_SUPPORTED:
        raise _Bad(400, "Failed to validate agent::Call: Expecting 'type' to be present")
    part = str(kind).lower()
    if kind in _NEEDS_PART and not isinstance(call.get(part), dict):
        raise _Bad(400, f"Failed to validate agent::Call: Expecting '{part}' to be present")
    if kind in NOT_SUPPORTED:
        raise _Bad(501, f"The embedded agent does not support the call {kind}")


def _accepts_json(accept: str | None) -> bool:
    if not accept:
        return True
    kinds = {entry.partition(";")[0].strip() for entry in accept.split(",")}
    return bool(kinds & {"application/json", "application/*", "*/*", "*"})


def _carried_out(agent: Agent, call: Json, approver: Approver) -> Json:
    kind = str(call["type"])
    part = call.get(kind.lower())
    part = part if isinstance(part, dict) else {}
    users = views.users(agent) if approver.restricts else None
    if users is None:
        return _with_type(kind, READS[kind](agent, part))
    if kind in NEEDED and not approver.may(NEEDED[kind]):
        raise _Bad(403, "403 Forbidden.")
    path = str(part.get("path", ""))
    if kind in _OF_FILES and not visible.may_read_sandbox(path, users, approver):
        raise _Bad(403, "")
    shown = READS[kind](agent, part)
    return _with_type(
        kind, {name: visible.call(kind, body, users, approver) for name, body in shown.items()}
    )


def _with_type(kind: str, shown: Json) -> Json:
    """The answer; of containers Mesos says nothing at all when there are none."""
    if kind == "GET_CONTAINERS" and not shown["get_containers"].get("containers"):
        return {"type": kind}
    return {"type": kind} | shown


def _list_files(agent: Agent, part: Json) -> Json:
    files = views.files_of(agent)
    path = str(part.get("path", ""))
    entries = files.browse(path)
    if not entries:
        return {"list_files": {}}
    infos = [file_info(entry, files.resolve(entry["path"])) for entry in _inside(files, entries)]
    return {"list_files": {"file_infos": infos}}


def _inside(files: Any, entries: list[Json]) -> list[Json]:
    """Entries without links that lead out."""
    kept = []
    for entry in entries:
        try:
            files.resolve(entry["path"])
        except FileProblem:
            continue
        kept.append(entry)
    return kept


def _read_file(agent: Agent, part: Json) -> Json:
    for name in ("path", "offset"):
        if name not in part:
            raise _Bad(400, f"Missing required fields: read_file.{name}")
    length = part.get("length")
    data, _, size = views.files_of(agent).read(
        str(part["path"]), int(part["offset"]), None if length is None else int(length)
    )
    return {"read_file": {"size": size, "data": base64.b64encode(data).decode()}}


def _whole_state(agent: Agent, _part: Json) -> Json:
    return {
        "get_state": {
            "get_tasks": views.tasks_view(agent),
            "get_executors": views.executors_view(agent),
            "get_frameworks": views.frameworks_view(agent),
        }
    }


READS: Final[dict[str, Callable[[Agent, Json], Json]]] = {
    "GET_HEALTH": lambda _agent, _part: {"get_health": {"healthy": True}},
    "GET_VERSION": lambda _agent, _part: {"get_version": {"version_info": BUILD}},
    "GET_FLAGS": lambda agent, _part: {
        "get_flags": {"flags": views.flags_list(agent.settings.flags.shown())}
    },
    "GET_LOGGING_LEVEL": lambda _agent, _part: {"get_logging_level": {"level": 0}},
    "GET_AGENT": lambda agent, _part: {"get_agent": views.agent_view(agent)},
    "GET_TASKS": lambda agent, _part: {"get_tasks": views.tasks_view(agent)},
    "GET_EXECUTORS": lambda agent, _part: {"get_executors": views.executors_view(agent)},
    "GET_FRAMEWORKS": lambda agent, _part: {"get_frameworks": views.frameworks_view(agent)},
    "GET_CONTAINERS": lambda agent, part: {
        "get_containers": views.get_containers_view(
            agent, time.time(), nested=bool(part.get("show_nested"))
        )
    },
    "GET_OPERATIONS": lambda _agent, _part: {"get_operations": {}},
    "GET_RESOURCE_PROVIDERS": lambda _agent, _part: {"get_resource_providers": {}},
    "GET_STATE": _whole_state,
    "LIST_FILES": _list_files,
    "READ_FILE": _read_file,
}
