"""Times as Mesos' flags have them, and what follows from some of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}
_NUMBER_AND_UNIT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]+)")
_FLAG: Final = re.compile(r"--([^=]+)=(.*)", re.DOTALL)
_PINGS: Final = {"agent_ping_timeout": "15secs", "max_agent_ping_timeouts": "5"}
_SLACK_SECONDS: Final = 30.0
"""For the registry's write, and until the scheduler has heard of it."""


def duration(text: str) -> float:
    """Seconds from ``15secs``, ``1.5mins`` and so on.

    Raises:
        ValueError: no such duration.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no duration such as 15secs, 5mins, 2hrs or 1days")
    return float(match[1]) * _UNITS[match[2]]


def agent_lost_seconds(*flags: Mapping[str, object] | Sequence[str]) -> float:
    """How long after its last answer an agent is known to be lost.

    A master pings each ``--agent_ping_timeout``, and gives an agent up that has missed
    ``--max_agent_ping_timeouts`` pings in a row; the first of them may begin right after an answer
    (``SlaveObserver`` in Mesos' ``src/master/master.cpp``).

    Args:
        flags: of a master, as a dictionary or as arguments; later ones count. Those that are not
            there have Mesos' defaults.

    Raises:
        ValueError: a flag has no such value.
    """
    given: dict[str, object] = dict(_PINGS)
    for some in flags:
        given |= some if isinstance(some, Mapping) else _by_name(some)
    pings = int(str(given["max_agent_ping_timeouts"])) + 1
    return duration(str(given["agent_ping_timeout"])) * pings + _SLACK_SECONDS


def _by_name(arguments: Sequence[str]) -> dict[str, object]:
    matches = (_FLAG.fullmatch(argument) for argument in arguments)
    return {match[1]: match[2] for match in matches if match is not None}
