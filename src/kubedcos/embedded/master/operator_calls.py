"""What a call of the operator API is made of: its body, who sent it, how it is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kubedcos.embedded.approvals import EVERYTHING, Approver
from kubedcos.embedded.master import visible
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.responses import json_answer
from kubedcos.embedded.master.streams import Stream
from kubedcos.mesos.messages import Message


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        principal: by HTTP Basic; `None` when nobody has to authenticate.
        approver: what the ACLs permit.
    """

    principal: str | None = None
    approver: Approver = EVERYTHING


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """One call of `/api/v1`.

    Attributes:
        answer: gives the answer; its third argument is the body, `None` when the call has none.
        body: message in the field named like the call.
        optional: whether the body may be missing.
    """

    answer: Callable[[Engine, Caller, Any], Response | Stream]
    body: type[Message] | None = None
    optional: bool = False


OperatorCalls = Mapping[str, OperatorCall]
"""Calls by type."""


def read(kind: str, shown: Callable[[Engine], Any]) -> OperatorCall:
    """A call without a body that is answered by ``{"type": kind, "<kind>": shown}``."""

    def answer(engine: Engine, caller: Caller, _body: None) -> Response:
        part = shown(engine)
        if caller.approver.restricts:
            users = visible.framework_users(engine.state)
            part = visible.call(kind, part, users, caller.approver)
        return json_answer({"type": kind, kind.lower(): part})

    return OperatorCall(answer)
