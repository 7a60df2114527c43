"""What Mesos-DNS reads in Mesos' state: where agents and tasks are, and what it does not survive.

Pure. Held to recordings of Mesos-DNS in `tests/contracts/mesos_dns`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

State = Mapping[str, Any]
"""`/master/state`, or an object in it."""
MAX_PORT: Final = 65535
RUNNING: Final = "TASK_RUNNING"


class BadState(ValueError):
    """A state that Mesos-DNS refuses as a whole; the old records stay."""


def list_of(value: object, what: str) -> list[Any]:
    """A list that may be missing or null.

    Raises:
        BadState: it is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadState(f"{what} is no list")
    return value


def object_of(value: object) -> State:
    """An object that may be missing or null; errors as in `list_of`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadState(f"{value!r} is no object")
    return value


def pid_host_port(pid: object) -> tuple[str, int]:
    """Host and port of a libprocess id such as ``slave(1)@10.0.0.1:5051``.

    Raises:
        BadState: not of that form.
    """
    if not isinstance(pid, str):
        raise BadState(f"pid {pid!r} is no text")
    _, at, place = pid.partition("@")
    host, colon, port = place.rpartition(":")
    if not at or "@" in place or not colon or not port.isdigit() or int(port) > MAX_PORT:
        raise BadState(f"pid {pid!r} is not of the form name@host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def plain_address(address: str) -> str:
    """`address` in its shortest form; an IPv4 address in IPv6 clothes becomes IPv4."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(ip)


def task_ports(task: State) -> Iterable[int]:
    """Ports among a task's resources, `[31000-31001, 31005-31005]`.

    Raises:
        BadState: not of that form.
    """
    text = (task.get("resources") or {}).get("ports") or ""
    if not isinstance(text, str):
        raise BadState(f"ports {text!r} is no text")
    if text in {"", "[]"}:
        return ()
    _, bracket, rest = text.partition("[")
    if not bracket:
        raise BadState(f"ports {text!r} have no brackets")
    found: list[int] = []
    for piece in rest.partition("]")[0].split(","):
        low, dash, high = piece.strip().partition("-")
        if not dash:
            raise BadState(f"ports {text!r} are no ranges")
        found.extend(range(_number(low), _number(high.partition("-")[0]) + 1))
    return found


def _number(text: str) -> int:
    """A number as Mesos-DNS reads it: what is none counts as 0."""
    return int(text) if text.isascii() and text.isdigit() else 0


def task_addresses(task: State, sources: Sequence[str], agent: Sequence[str]) -> list[str]:
    """Addresses of a task by the first of Mesos-DNS' `IPSources` that has any.

    Raises:
        BadState: a status has a timestamp that is no number.
    """
    for source in sources:
        match source:
            case "host":
                found = list(agent)
            case "netinfo":
                found = _status_addresses(task, _network_infos)
            case "docker":
                found = _status_addresses(task, _label("Docker.NetworkSettings.IPAddress"))
            case _:
                found = _status_addresses(
                    task, _label("MesosContainerizer.NetworkSettings.IPAddress")
                )
        if found:
            return found
    return []


def _status_addresses(task: State, read: Callable[[State], list[str]]) -> list[str]:
    newest: State | None = None
    for status in task.get("statuses") or ():
        if not isinstance(status.get("timestamp", 0), int | float):
            raise BadState(f"timestamp {status['timestamp']!r} is no number")
        if status.get("state") != RUNNING:
            continue
        if newest is None or status.get("timestamp", 0) > newest.get("timestamp", 0):
            newest = status
    if newest is None:
        return []
    return [plain_address(text) for text in read(newest) if _is_address(text)]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _network_infos(status: State) -> list[str]:
    found: list[str] = []
    for info in (status.get("container_status") or {}).get("network_infos") or ():
        entries = info.get("ip_addresses") or ()
        found.extend(entry["ip_address"] for entry in entries if entry.get("ip_address"))
        if info.get("ip_address") and not info.get("ip_addresses"):
            found.append(info["ip_address"])
    return found


def _label(key: str) -> Callable[[State], list[str]]:
    def read(status: State) -> list[str]:
        return [
            label["value"]
            for label in status.get("labels") or ()
            if label.get("key") == key and label.get("value")
        ]

    return read
