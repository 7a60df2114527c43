"""A bare HTTP client for Mesos: no library between the test and the wire."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Json = dict[str, Any]

CAPABILITIES = (
    "MULTI_ROLE",
    "PARTITION_AWARE",
    "RESERVATION_REFINEMENT",
    "REGION_AWARE",
    "TASK_KILLING_STATE",
)
DEADLINE = 30.0


class Answer:
    """An HTTP answer: status, headers, body as bytes."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Http:
    """Requests to one host and port."""

    def __init__(
        self,
        address: str,
        credential: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port = host, int(port)
        self.credential = credential
        self.tls = tls

    def connection(self, timeout: float = DEADLINE) -> http.client.HTTPConnection:
        if self.tls is not None:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout, context=self.tls
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def headers(self, extra: dict[str, str] | None, *, anonymous: bool = False) -> dict[str, str]:
        headers = dict(extra or {})
        if self.credential and not anonymous:
            joined = ":".join(self.credential)
            headers["Authorization"] = "Basic " + base64.b64encode(joined.encode()).decode()
        return headers

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        anonymous: bool = False,
    ) -> Answer:
        connection = self.connection()
        try:
            connection.request(method, path, body, self.headers(headers, anonymous=anonymous))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def call(self, path: str, value: Any, headers: dict[str, str] | None = None) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = {"Content-Type": "application/json", "Accept": "application/json"}
        return self.request("POST", path, body, kind | (headers or {}))

    def operator(self, kind: str, **parts: Any) -> Answer:
        return self.call("/api/v1", {"type": kind, **parts})


def _brief(event: Json) -> str:
    status = event.get("update", {}).get("status")
    return f"{status['task_id']['value']}:{status['state']}" if status else event["type"]


class Framework:
    """A subscription and the calls that belong to it.

    Attributes:
        who: the principal that it subscribed with, for a FrameworkInfo of the same framework.
        asked: how many events there were when offers were accepted last.
    """

    def __init__(self, master: Http, answer: Answer, response: Any, connection: Any) -> None:
        self.master = master
        self.answer = answer
        self.stream_id = answer.headers.get("mesos-stream-id", "")
        self.id = ""
        self.who: Json = {}
        self.asked = 0
        self.events: list[Json] = []
        self.ended = False
        self.arrived = threading.Condition()
        self._taken: set[int] = set()
        self._acknowledged: set[int] = set()
        self._connection = connection
        self._response = response
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while (event := self._record()) is not None:
                with self.arrived:
                    self.events.append(event)
                    self.arrived.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        with self.arrived:
            self.ended = True
            self.arrived.notify_all()

    def _record(self) -> Json | None:
        digits = b""
        while not digits.endswith(b"\n"):
            byte = self._response.read(1)
            if not byte:
                return None
            digits += byte
        wanted, data = int(digits), b""
        while len(data) < wanted:
            piece = self._response.read(wanted - len(data))
            if not piece:
                return None
            data += piece
        return json.loads(data)

    def wait(self, wanted: Callable[[Json], bool], deadline: float = DEADLINE) -> Json:
        """The first wanted event that no earlier wait returned; others stay for later waits."""
        end = time.monotonic() + deadline
        with self.arrived:
            while True:
                for index, event in enumerate(self.events):
                    if index not in self._taken and wanted(event):
                        self._taken.add(index)
                        return event
                rest = end - time.monotonic()
                if rest <= 0 or self.ended:
                    seen = [_brief(event) for event in self.events]
                    raise AssertionError(f"no such event within {deadline} s; seen: {seen}")
                self.arrived.wait(rest)

    def wait_type(self, kind: str, deadline: float = DEADLINE) -> Json:
        return self.wait(lambda event: event["type"] == kind, deadline)

    def wait_end(self, deadline: float = DEADLINE) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.ended, deadline), "the stream goes on"

    def status(self, task_id: str, state: str | None = None, deadline: float = DEADLINE) -> Json:
        """The next status of a task; those before it count as taken; all are acknowledged."""
        passed: list[int] = []

        def wanted(event: Json) -> bool:
            if event["type"] != "UPDATE":
                return False
            status = event["update"]["status"]
            self.acknowledge(status)
            if status["task_id"]["value"] != task_id:
                return False
            passed.append(self.events.index(event))
            return state in (None, status["state"])

        found = self.wait(wanted, deadline)["update"]["status"]
        self._taken.update(passed)
        return found

    def acknowledge(self, status: Json) -> None:
        """Acknowledge a status that wants it, once for each time that it came."""
        if "uuid" not in status or id(status) in self._acknowledged:
            return
        self._acknowledged.add(id(status))
        body = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
        assert self.call("ACKNOWLEDGE", acknowledge=body).status == 202

    def offers(self, deadline: float = DEADLINE) -> list[Json]:
        return self.wait_type("OFFERS", deadline)["offers"]["offers"]

    def call(self, kind: str, **parts: Any) -> Answer:
        value = {"framework_id": {"value": self.id}, "type": kind, **parts}
        return self.master.call("/api/v1/scheduler", value, {"Mesos-Stream-Id": self.stream_id})

    def accept(self, offers: list[Json], operations: list[Json], refuse: float = 0) -> Answer:
        body = {
            "offer_ids": [offer["id"] for offer in offers],
            "operations": operations,
            "filters": {"refuse_seconds": refuse},
        }
        self.asked = len(self.events)
        return self.call("ACCEPT", accept=body)

    def close(self) -> None:
        """Break the connection, as a killed framework does."""
        sock = self._connection.sock or getattr(self._response.fp, "raw", None)
        raw = getattr(sock, "_sock", sock)
        if raw is not None:
            with suppress(OSError):
                raw.shutdown(2)
        self._thread.join(5)
        self._response.close()
        self._connection.close()


def framework_info(name: str, **changes: Any) -> Json:
    info: Json = {
        "user": "root",
        "name": name,
        "roles": ["lab"],
        "failover_timeout": 0.0,
        "checkpoint": True,
        "capabilities": [{"type": capability} for capability in CAPABILITIES],
    }
    info |= changes
    return {key: value for key, value in info.items() if value is not None}


def open_subscription(
    master: Http, call: Json, headers: dict[str, str] | None = None, path: str = "/api/v1/scheduler"
) -> Framework:
    """POST a SUBSCRIBE and read what comes."""
    connection = master.connection(timeout=120)
    kind = {"Content-Type": "application/json", "Accept": "application/json"}
    connection.request(
        "POST",
        path,
        json.dumps(call).encode(),
        master.headers(kind | (headers or {})),
    )
    response = connection.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Framework(master, Answer(response.status, found, b""), response, connection)


@contextmanager
def listening(master: Http) -> Iterator[Framework]:
    """The event stream of operators, its first two events taken."""
    stream = open_subscription(master, {"type": "SUBSCRIBE"}, path="/api/v1")
    try:
        assert stream.answer.status == 200
        stream.wait_type("SUBSCRIBED")
        stream.wait_type("HEARTBEAT")
        yield stream
    finally:
        stream.close()


@contextmanager
def subscribed(
    master: Http,
    name: str,
    *,
    suppressed: list[str] | None = None,
    offer_constraints: Json | None = None,
    **changes: Any,
) -> Iterator[Framework]:
    """A framework that is torn down at the end."""
    info = framework_info(name, **changes)
    if master.credential:
        info.setdefault("principal", master.credential[0])
    call: Json = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
    if suppressed:
        call["subscribe"]["suppressed_roles"] = suppressed
    if offer_constraints:
        call["subscribe"]["offer_constraints"] = offer_constraints
    if "id" in info:
        call["framework_id"] = info["id"]
    framework = open_subscription(master, call)
    framework.who = {name: info[name] for name in ("principal",) if name in info}
    try:
        if framework.answer.status == 200:
            first = framework.wait(lambda event: event["type"] in {"SUBSCRIBED", "ERROR"})
            if first["type"] == "SUBSCRIBED":
                framework.id = first["subscribed"]["framework_id"]["value"]
        yield framework
    finally:
        if framework.id and not framework.ended:
            framework.call("TEARDOWN")
        framework.close()


def scalar(name: str, value: float, role: str = "lab", **more: Any) -> Json:
    return {
        "name": name,
        "type": "SCALAR",
        "scalar": {"value": value},
        "allocation_info": {"role": role},
        **more,
    }


def task(offer: Json, task_id: str, command: str, **changes: Any) -> Json:
    return {
        "name": task_id,
        "task_id": {"value": task_id},
        "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        "command": {"value": command, "shell": True},
    } | changes


def launch(*tasks: Json) -> Json:
    return {"type": "LAUNCH", "launch": {"task_infos": list(tasks)}}


def launch_group(executor: Json, *tasks: Json) -> Json:
    group = {"executor": executor, "task_group": {"tasks": list(tasks)}}
    return {"type": "LAUNCH_GROUP", "launch_group": group}


def status_less_racy(status: Json) -> Json:
    """What is told of a nested container that begins or ends has its network by chance."""
    told = status["container_status"]
    return status | {"container_status": {"container_id": told["container_id"]}}
