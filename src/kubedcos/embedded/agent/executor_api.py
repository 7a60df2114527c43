"""`POST /api/v1/executor`: for executors of frameworks, which the embedded agent does not launch.

So nobody can have a reason to call; whoever does is answered as Mesos answers a call that is
malformed, of an unknown framework, of an unknown executor, or of one that is not subscribed.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Final

from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json
from kubedcos.mesos.base_messages import Empty, enum_of
from kubedcos.mesos.messages import ExecutorID, FrameworkID, Message, TaskStatus

_MEDIA: Final = "application/json or application/x-protobuf"
_PARTS: Final = ("SUBSCRIBE", "UPDATE", "MESSAGE")


class ExecutorUpdate(Message, frozen=True):
    """Body of UPDATE."""

    status: TaskStatus


class ExecutorMessage(Message, frozen=True):
    """Body of MESSAGE."""

    data: str


class ExecutorCall(Message, frozen=True):
    """A call of an executor."""

    executor_id: ExecutorID
    framework_id: FrameworkID
    type: Annotated[str, enum_of("UNKNOWN", "HEARTBEAT", *_PARTS)] | None = None
    subscribe: Empty | None = None
    update: ExecutorUpdate | None = None
    message: ExecutorMessage | None = None


def answer(agent: Agent, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
    """Status and text of the answer to a POST. `headers` by lower-case name."""
    content_type = headers.get("content-type")
    if content_type is None:
        return 400, "Expecting 'Content-Type' to be present"
    if content_type == "application/x-protobuf":
        return 400, "Failed to parse body into Call protobuf"
    if content_type != "application/json":
        return 415, f"Expecting 'Content-Type' of {_MEDIA}"
    try:
        value = parse_json(body)
    except NotConvertible as error:
        return 400, f"Failed to parse body into JSON: {error}"
    try:
        call = from_json(value, ExecutorCall)
    except NotConvertible as error:
        return 400, f"Failed to convert JSON into Call protobuf: {error}"
    if fault := call_fault(call):
        return 400, f"Failed to validate Executor::Call: {fault}"
    if call.type == "UNKNOWN":
        return 501, "501 Not Implemented."
    framework_id, executor_id = call.framework_id.value, call.executor_id.value
    if framework_id not in agent.frameworks:
        return 400, "Framework cannot be found"
    known = (framework_id, executor_id)
    if known not in agent.groups.executors and known not in agent.runs:
        return 400, "Executor cannot be found"
    return 403, "Executor is not subscribed"


def call_fault(call: ExecutorCall) -> str | None:
    """What Mesos has to say against a call before it looks at who calls."""
    if call.type is None:
        return "Expecting 'type' to be present"
    if call.type in _PARTS and getattr(call, call.type.lower()) is None:
        return f"Expecting '{call.type.lower()}' to be present"
    if call.type != "UPDATE" or call.update is None:
        return None
    status, name = call.update.status, f"executor {call.executor_id} of framework "
    name += str(call.framework_id)
    if status.uuid is None:
        return "Expecting 'uuid' to be present"
    if len(base64.b64decode(status.uuid)) != 16:
        return "Not a valid UUID"
    if status.executor_id not in (None, call.executor_id):
        return (
            f"ExecutorID in Call: {call.executor_id} does not match ExecutorID in TaskStatus: "
            f"{status.executor_id}"
        )
    if status.source != "SOURCE_EXECUTOR":
        return f"Received Call from {name} with invalid source, expecting 'SOURCE_EXECUTOR'"
    if status.state == "TASK_STAGING":
        return f"Received TASK_STAGING from {name} which is not allowed"
    return None
