"""What Apache Mesos answered, as recorded, and how answers are compared with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[2] / "fixtures" / "mesos"

Json = dict[str, Any]


def book(name: str) -> list[Json]:
    """A list of exchanges."""
    return json.loads((FIXTURES / name).read_text())


def story(name: str) -> list[Json]:
    """The lines of a story."""
    return [json.loads(line) for line in (FIXTURES / name).read_text().splitlines()]


def recorded(name: str) -> Json:
    """One recorded answer."""
    return json.loads((FIXTURES / name).read_text())


def events(name: str, kind: str) -> list[Json]:
    """Events of one type, in order."""
    return [
        line["body"]
        for line in story(name)
        if line["dir"] == "event" and line["body"]["type"] == kind
    ]


def status_of(name: str, task_id: str, state: str, position: int = 0) -> Json:
    """The status of a task in a story."""
    found = [
        event["update"]["status"]
        for event in events(name, "UPDATE")
        if event["update"]["status"]["task_id"]["value"] == task_id
        and event["update"]["status"]["state"] == state
    ]
    return found[position]


def shape(value: Any) -> Any:
    """Names and types: what clients parse. Lists are as long as their first element's shape."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where the shape of an answer departs from the recorded one.

    An empty list or object matches any: it says nothing about its elements. Attributes of agents
    are whatever they were given, or not there; so are principals of frameworks.
    """
    if path.endswith("/attributes") and type(ours) is type(theirs):
        return []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        given = {"attributes", "principal"}
        found = [f"{path}/{key}: ours alone" for key in ours.keys() - theirs.keys() - given]
        found += [f"{path}/{key}: missing" for key in theirs.keys() - ours.keys() - given]
        for key in ours.keys() & theirs.keys():
            found += differences(ours[key], theirs[key], f"{path}/{key}")
        return sorted(found)
    if isinstance(ours, list) and isinstance(theirs, list):
        if not ours or not theirs:
            return []
        return differences(ours[0], theirs[0], f"{path}[]")
    mine, recorded_shape = shape(ours), shape(theirs)
    return [] if mine == recorded_shape else [f"{path}: {mine}, recorded {recorded_shape}"]


def anonymous(value: Any) -> Any:
    """A text with identifiers of agents and offers made equal."""
    if not isinstance(value, str):
        return value
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[SO]\d+", "ID", value)


def status_differences(ours: Json, theirs: Json) -> list[str]:
    """Where a task status says something else: texts to the letter, ids and times by shape."""
    told = ("state", "message", "source", "reason", "healthy")
    pairs = [(key, anonymous(ours.get(key)), anonymous(theirs.get(key))) for key in told]
    found = [f"{key}: {mine!r}, recorded {kept!r}" for key, mine, kept in pairs if mine != kept]
    return found + differences(_settled(ours), _settled(theirs))


def differences_but_for_the_signal(ours: Json, theirs: Json) -> list[str]:
    """The same; but the command may have ended by TERM or by the KILL right behind it."""
    start = "Command terminated with signal "
    if ours["message"] not in {start + "Terminated", start + "Killed"}:
        return [f"message: {ours['message']!r}, wanted {start}Terminated or Killed"]
    return status_differences(ours | {"message": theirs["message"]}, theirs)


def _settled(status: Json) -> Json:
    # The container's process is told or not, by the phase of its start.
    copy = json.loads(json.dumps(status))
    copy.get("container_status", {}).pop("executor_pid", None)
    return copy
