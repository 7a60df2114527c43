"""The agent's operator API: `POST /api/v1`, JSON; the order of checks and the texts are Mesos'."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kubedcos.embedded.agent import views, visible
from kubedcos.embedded.approvals import EVERYTHING, Approver
from kubedcos.embedded.file_answers import list_files, read_file
from kubedcos.embedded.files import FileProblem
from kubedcos.embedded.master.name_rules import id_fault
from kubedcos.embedded.master.views import BUILD
from kubedcos.embedded.operator_bodies import (
    GetMetrics,
    ListFiles,
    ReadFile,
    SetLoggingLevel,
    envelope,
)
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json
from kubedcos.mesos.messages import ContainerID, Empty, Message
from kubedcos.mesos.recordio import RecordDecoder, RecordError

if TYPE_CHECKING:
    from kubedcos.embedded.agent.agent import Agent
    from kubedcos.embedded.agent.link import MasterLink
    from kubedcos.embedded.verbosity import Verbosity

Json = dict[str, Any]

_MEDIA: Final = "application/json or application/x-protobuf or application/recordio"
_STREAMS: Final = frozenset({"ATTACH_CONTAINER_OUTPUT", "LAUNCH_NESTED_CONTAINER_SESSION"})


@dataclass(frozen=True, slots=True)
class Shown:
    """The process whose API this is.

    Attributes:
        start_time: seconds since 1970.
    """

    agent: Agent
    link: MasterLink
    start_time: float
    verbosity: Verbosity

    def metrics(self) -> dict[str, float]:
        """All metrics, as of now."""
        uptime = time.time() - self.start_time
        return views.metrics_view(self.agent, uptime=uptime, registered=self.link.registered)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, and JSON or text."""

    status: int
    json: Json | None = None
    text: str = ""


class Bad(Exception):
    """The call ends with another answer than 200."""

    def __init__(self, status: int, text: str) -> None:
        self.answer = Answer(status, text=text)


@dataclass(frozen=True, slots=True)
class AgentCall:
    """One call.

    Attributes:
        answer: gives the body of the answer, `None` for one that has none; its second argument is
            the call's body.
        body: message in the field named like the call.
        optional: whether the body may be missing.
    """

    answer: Callable[[Shown, Any], Json | None]
    body: type[Message] | None = None
    optional: bool = False


class GetContainers(Message, frozen=True):
    """Body of GET_CONTAINERS; there are no standalone ones."""

    show_nested: bool | None = None
    show_standalone: bool | None = None


class OfContainer(Message, frozen=True):
    """Body of the calls about one container."""

    container_id: ContainerID
    signal: int | None = None


def _read(kind: str, shown: Callable[[Shown], Any]) -> AgentCall:
    return AgentCall(lambda process, _body: {kind.lower(): shown(process)})


def _refused(kind: str, body: type[Message] = Empty) -> AgentCall:
    def refuse(_process: Shown, _body: Any) -> Json | None:
        raise Bad(501, f"The embedded agent does not support the call {kind}")

    return AgentCall(refuse, body)


def _set_level(process: Shown, body: SetLoggingLevel) -> None:
    process.verbosity.set(body.level, body.duration.nanoseconds / 1e9)


def _metrics(process: Shown, _body: GetMetrics) -> Json:
    pairs = process.metrics().items()
    return {"get_metrics": {"metrics": [{"name": name, "value": value} for name, value in pairs]}}


def _list_files(process: Shown, body: ListFiles) -> Json:
    return {"list_files": list_files(views.files_of(process.agent), body.path)}


def _read_file(process: Shown, body: ReadFile) -> Json:
    files = views.files_of(process.agent)
    return {"read_file": read_file(files, body.path, body.offset, body.length)}


def _get_containers(process: Shown, body: GetContainers | None) -> Json:
    nested = body is not None and bool(body.show_nested)
    shown = views.get_containers_view(process.agent, time.time(), nested=nested)
    return {"get_containers": shown}


def _of_container(kind: str, unknown: str) -> AgentCall:
    """A call about a container: an unknown one is not found, the others are refused."""

    def answer(process: Shown, body: OfContainer) -> Json | None:
        name = body.container_id.value
        known = {run.run.container_id for run in views.running(process.agent)}
        if name not in known or body.container_id.parent is not None:
            raise Bad(404, unknown.format(_full_name(body.container_id)))
        raise Bad(501, f"The embedded agent does not support the call {kind} for a task")

    return AgentCall(answer, OfContainer)


def _full_name(container_id: ContainerID) -> str:
    above = container_id.parent
    return container_id.value if above is None else f"{_full_name(above)}.{container_id.value}"


def _whole_state(process: Shown) -> Json:
    return {
        "get_tasks": views.tasks_view(process.agent),
        "get_executors": views.executors_view(process.agent),
        "get_frameworks": views.frameworks_view(process.agent),
    }


_NOT_FOUND: Final = "Container {} cannot be found"
_NOT_KILLED: Final = "Container '{}' cannot be found (or is already killed)"

NOT_SUPPORTED: Final = {
    kind: _refused(kind)
    for kind in (
        *("LAUNCH_NESTED_CONTAINER", "LAUNCH_NESTED_CONTAINER_SESSION", "LAUNCH_CONTAINER"),
        *("ATTACH_CONTAINER_INPUT", "ATTACH_CONTAINER_OUTPUT"),
        *("ADD_RESOURCE_PROVIDER_CONFIG", "UPDATE_RESOURCE_PROVIDER_CONFIG"),
        *("REMOVE_RESOURCE_PROVIDER_CONFIG", "MARK_RESOURCE_PROVIDER_GONE"),
    )
} | {kind: _refused(kind, OfContainer) for kind in ("REMOVE_NESTED_CONTAINER", "REMOVE_CONTAINER")}
"""Calls of Mesos' agent that this one refuses with 501."""

CALLS: Final[Mapping[str, AgentCall]] = {
    "GET_HEALTH": _read("GET_HEALTH", lambda _: {"healthy": True}),
    "GET_VERSION": _read("GET_VERSION", lambda _: {"version_info": BUILD}),
    "GET_FLAGS": _read(
        "GET_FLAGS",
        lambda process: {"flags": views.flags_list(process.agent.settings.flags.shown())},
    ),
    "GET_METRICS": AgentCall(_metrics, GetMetrics),
    "GET_LOGGING_LEVEL": _read(
        "GET_LOGGING_LEVEL", lambda process: {"level": process.verbosity.level}
    ),
    "SET_LOGGING_LEVEL": AgentCall(_set_level, SetLoggingLevel),
    "GET_AGENT": _read("GET_AGENT", lambda process: views.agent_view(process.agent)),
    "GET_TASKS": _read("GET_TASKS", lambda process: views.tasks_view(process.agent)),
    "GET_EXECUTORS": _read("GET_EXECUTORS", lambda process: views.executors_view(process.agent)),
    "GET_FRAMEWORKS": _read("GET_FRAMEWORKS", lambda process: views.frameworks_view(process.agent)),
    "GET_CONTAINERS": AgentCall(
        _get_containers,
        GetContainers,
        optional=True,
    ),
    "GET_OPERATIONS": _read("GET_OPERATIONS", lambda _: {}),
    "GET_RESOURCE_PROVIDERS": _read("GET_RESOURCE_PROVIDERS", lambda _: {}),
    "GET_STATE": _read("GET_STATE", _whole_state),
    "LIST_FILES": AgentCall(_list_files, ListFiles),
    "READ_FILE": AgentCall(_read_file, ReadFile),
    "PRUNE_IMAGES": AgentCall(lambda _process, _body: None, Empty, optional=True),
    "WAIT_CONTAINER": _of_container("WAIT_CONTAINER", _NOT_FOUND),
    "WAIT_NESTED_CONTAINER": _of_container("WAIT_NESTED_CONTAINER", _NOT_FOUND),
    "KILL_CONTAINER": _of_container("KILL_CONTAINER", _NOT_KILLED),
    "KILL_NESTED_CONTAINER": _of_container("KILL_NESTED_CONTAINER", _NOT_KILLED),
    **NOT_SUPPORTED,
}
"""All calls that Mesos' agent has."""

_ENVELOPE: Final = envelope({kind: call.body for kind, call in CALLS.items()})


NEEDED: Final = {"GET_FLAGS": "view_flags", "SET_LOGGING_LEVEL": "set_log_level"}
"""Permissions that calls need as a whole; of what the others show, the caller sees his part."""


def answer(
    process: Shown, headers: Mapping[str, str], body: bytes, approver: Approver = EVERYTHING
) -> Answer:
    """The answer to a POST. `headers` by lower-case name."""
    try:
        streaming = _check_content(headers)
        accepts = _check_accept(headers)
        kind, given = _call(_first_record(body) if streaming else body)
        _check_streams(kind, streaming=streaming, accepts=accepts)
        if kind == "UNKNOWN":
            return Answer(501, text="501 Not Implemented.")
        if approver.restricts:
            shown = _restricted(process, kind, given, approver)
        else:
            shown = CALLS[kind].answer(process, given)
    except Bad as bad:
        return bad.answer
    except FileProblem as problem:
        return Answer(problem.status, text=str(problem))
    if shown is None:
        return Answer(200)
    # Of containers Mesos says nothing at all when there are none.
    nothing = kind == "GET_CONTAINERS" and not shown["get_containers"].get("containers")
    return Answer(200, {"type": kind} if nothing else {"type": kind} | shown)


def _restricted(process: Shown, kind: str, given: Any, approver: Approver) -> Json | None:
    """What a caller may see of an answer."""
    users = views.users(process.agent)
    if kind in NEEDED and not approver.may(NEEDED[kind]):
        raise Bad(403, "403 Forbidden.")
    if isinstance(given, ListFiles | ReadFile) and not may_read(given.path, users, approver):
        raise Bad(403, "")
    shown = CALLS[kind].answer(process, given)
    if shown is None:
        return None
    return {name: visible.call(kind, body, users, approver) for name, body in shown.items()}


def may_read(path: str, users: visible.Users, approver: Approver) -> bool:
    """Whether the caller may read a virtual path: of a sandbox, or the log."""
    if path == views.LOG:
        return approver.may("access_mesos_logs")
    return visible.may_read_sandbox(path, users, approver)


def _check_content(headers: Mapping[str, str]) -> bool:
    """Whether the body is a stream of records."""
    content_type, inner = headers.get("content-type"), headers.get("message-content-type")
    if content_type is None:
        raise Bad(400, "Expecting 'Content-Type' to be present")
    if content_type == "application/x-protobuf":
        raise Bad(415, "The embedded agent has no application/x-protobuf")
    if content_type not in {"application/json", "application/recordio"}:
        raise Bad(415, f"Expecting 'Content-Type' of {_MEDIA}")
    if content_type == "application/json":
        if inner is not None:
            wanted = "Expecting 'Message-Content-Type' to be not set for non-streaming requests"
            raise Bad(415, wanted)
        return False
    if inner is None:
        wanted = "Expecting 'Message-Content-Type' to be set for streaming requests"
        raise Bad(400, wanted)
    if inner != "application/json":
        wanted = "application/json: the embedded agent has no application/x-protobuf"
        raise Bad(415, f"Expecting 'Message-Content-Type' of {wanted}")
    return True


def _check_accept(headers: Mapping[str, str]) -> str:
    """The kind of answer that is wanted."""
    accept = headers.get("accept")
    kinds = {entry.partition(";")[0].strip() for entry in (accept or "*/*").split(",")}
    if kinds & {"application/json", "application/*", "*/*", "*"}:
        if "message-accept" in headers:
            wanted = "Expecting 'Message-Accept' to be not set for non-streaming responses"
            raise Bad(406, wanted)
        return "application/json"
    if "application/recordio" in kinds:
        return "application/recordio"
    raise Bad(406, f"Expecting 'Accept' to allow {_MEDIA}")


def _first_record(body: bytes) -> bytes:
    try:
        records = RecordDecoder().feed(body)
    except RecordError:
        length = body.partition(b"\n")[0].decode("utf-8", "replace")
        words = f"Failed to decode length '{length}': Failed to convert '{length}' to number"
        raise Bad(500, f"Decoder failure: {words}") from None
    if not records:
        raise Bad(400, "Received EOF while reading request body")
    return records[0]


def _call(body: bytes) -> tuple[str, Any]:
    try:
        value = parse_json(body)
    except NotConvertible as error:
        raise Bad(400, f"Failed to parse body into JSON: {error}") from None
    try:
        call = from_json(value, _ENVELOPE)
    except NotConvertible as error:
        raise Bad(400, str(error)) from None
    prefix = "Failed to validate agent::Call: "
    kind: str | None = getattr(call, "type")  # noqa: B009  the class is made at run time
    if kind == "UNKNOWN":
        return kind, None
    if kind is None or kind not in CALLS:
        raise Bad(400, prefix + "Expecting 'type' to be present")
    part, needs = kind.lower(), CALLS[kind]
    given = getattr(call, part) if needs.body is not None else None
    if needs.body is not None and given is None and not needs.optional:
        raise Bad(400, f"{prefix}Expecting '{part}' to be present")
    if isinstance(given, OfContainer):
        _check_container(kind, given.container_id, prefix)
    return kind, given


def _check_container(kind: str, container_id: ContainerID, prefix: str) -> None:
    field = f"{kind.lower()}.container_id"
    fault = id_fault(container_id.value)
    if fault is not None:
        raise Bad(400, f"{prefix}'{field}' is invalid: {fault}")
    if "NESTED" in kind and container_id.parent is None:
        raise Bad(400, f"{prefix}Expecting '{field}.parent' to be present")


def _check_streams(kind: str, *, streaming: bool, accepts: str) -> None:
    if streaming and kind != "ATTACH_CONTAINER_INPUT":
        what = f"Streaming 'Content-Type' application/recordio is not supported for {kind} call"
        raise Bad(415, what)
    if not streaming and kind == "ATTACH_CONTAINER_INPUT":
        what = f"Expecting 'Content-Type' to be application/recordio for {kind} call"
        raise Bad(415, what)
    if accepts == "application/recordio" and kind not in _STREAMS:
        raise Bad(406, f"Streaming response is not supported for {kind} call")
