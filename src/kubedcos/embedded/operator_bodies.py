"""Bodies of operator calls that master and agent both have, and the message that holds any call.

`POST /api/v1` of both takes ``{"type": KIND, "<kind>": body}`` (`master.proto`, `agent.proto`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from kubedcos.mesos.messages import DurationInfo, Message


class GetMetrics(Message, frozen=True):
    """Body of GET_METRICS."""

    timeout: DurationInfo | None = None


class SetLoggingLevel(Message, frozen=True):
    """Body of SET_LOGGING_LEVEL."""

    level: int
    duration: DurationInfo


class ListFiles(Message, frozen=True):
    """Body of LIST_FILES."""

    path: str


class ReadFile(Message, frozen=True):
    """Body of READ_FILE; `offset` and `length` in bytes, without a length to the end."""

    path: str
    offset: int
    length: int | None = None


def envelope(bodies: Mapping[str, type[Message] | None]) -> type[Message]:
    """One message with the bodies of all calls: Mesos refuses a misshapen one of another call, too.

    Args:
        bodies: by kind of call; None for a call without a body.
    """
    made = msgspec.defstruct(
        "Call",
        [
            ("type", str | None, None),
            *((kind.lower(), body | None, None) for kind, body in bodies.items() if body),
        ],
        bases=(Message,),
        frozen=True,
    )
    return cast("type[Message]", made)
