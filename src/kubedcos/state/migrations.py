"""The steps from each version of the stored form to the next; `schema` says how they are taken.

A step that was released stays as it is: stores of its time are still about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kubedcos.state.store import Change

_COMMAND: Final = re.compile(r".* check http (https?)://127\.0\.0\.1:(\d+)(/\S*)")
"""What the first version asked of Mesos."""


def http_checks(documents: Mapping[tuple[str, str], bytes]) -> Sequence[Change]:
    """Version 1 to 2: a task's health check is Mesos' own HTTP check, and no command any more."""
    changes = []
    for (kind, key), value in documents.items():
        if kind != "task":
            continue
        record: dict[str, Any] = msgspec.json.decode(value)
        spec = record["spec"]
        if check := spec.get("health_check"):
            found = _COMMAND.fullmatch(check.pop("command", ""))
            where = {"scheme": found[1], "port": int(found[2]), "path": found[3]} if found else None
            spec["health_check"] = where and {**check, **where}
            changes.append(Change(kind, key, msgspec.json.encode(record)))
    return changes
