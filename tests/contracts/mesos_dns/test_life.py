"""What a running server makes of odd states and odd masters, held to recordings.

A refused load leaves the records as they were. Where Mesos-DNS itself ends, ours refuses the load.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.contracts.mesos_dns.recordings import read_recording
from tests.ports import free_port

from kubedcos.embedded.mesos_dns import config, records
from kubedcos.embedded.mesos_dns.server import Server
from kubedcos.mesos.zookeeper import candidates, master_address

LIFE = {step["step"]: step for step in read_recording("life.json")["steps"]}
MASTERS = read_recording("masters.json")["cases"]

State = dict[str, Any]
Change = Callable[[State], object]

BEFORE, AFTER = "10.30.1.1", "10.30.1.2"
WEB = "web.kubernetes.mesos."


def state_with(address: str, leader: str = "master@10.20.0.1:5050") -> State:
    """Two agents, one framework, one task with a port."""
    infos = [{"ip_addresses": [{"protocol": "IPv4", "ip_address": address}]}]
    status = {
        "state": "TASK_RUNNING",
        "timestamp": 1.0,
        "container_status": {"network_infos": infos},
    }
    task = {
        "id": "web.1",
        "name": "web",
        "slave_id": "m-S0",
        "state": "TASK_RUNNING",
        "statuses": [status],
        "resources": {"cpus": 1, "ports": "[31000-31001]"},
        "discovery": {
            "name": "web",
            "visibility": "FRAMEWORK",
            "ports": {"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]},
        },
    }
    framework = {
        "name": "kubernetes",
        "id": "m-0000",
        "pid": "scheduler-1@10.20.0.7:1000",
        "hostname": "10.20.0.7",
        "tasks": [task],
    }
    slaves = [
        {"id": f"m-S{n}", "hostname": f"10.20.0.1{n + 1}", "pid": f"slave(1)@10.20.0.1{n + 1}:5051"}
        for n in range(2)
    ]
    return {"leader": leader, "slaves": slaves, "frameworks": [framework]}


def within(*path: Any, value: Any) -> Change:
    """A change that sets something deep inside."""

    def change(state: State) -> None:
        place: Any = state
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def without(*path: Any) -> Change:
    def change(state: State) -> None:
        place: Any = state
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


def both(*changes: Change) -> Change:
    def change(state: State) -> None:
        for one in changes:
            one(state)

    return change


AGENT, FRAMEWORK = ("slaves", 1), ("frameworks", 0)
TASK = (*FRAMEWORK, "tasks", 0)

CHANGES: dict[str, Change] = {
    "HTTP 200 empty object": dict.clear,
    "HTTP 200, leader missing": without("leader"),
    "leader empty string": within("leader", value=""),
    "leader without @": within("leader", value="10.20.0.1:5050"),
    "leader with two @": within("leader", value="a@b@10.20.0.1:5050"),
    "leader without port": within("leader", value="master@10.20.0.1"),
    "no frameworks and slaves keys": both(without("frameworks"), without("slaves")),
    "frameworks null": within("frameworks", value=None),
    "frameworks an object": within("frameworks", value={}),
    "agent without pid": without(*AGENT, "pid"),
    "agent without id": without(*AGENT, "id"),
    "agent without hostname": without(*AGENT, "hostname"),
    "agent pid null": within(*AGENT, "pid", value=None),
    "agent pid 5": within(*AGENT, "pid", value=5),
    "framework pid null": within(*FRAMEWORK, "pid", value=None),
    "framework hostname null": within(*FRAMEWORK, "hostname", value=None),
    "framework tasks null": within(*FRAMEWORK, "tasks", value=None),
    "task name null": both(within(*TASK, "name", value=None), without(*TASK, "discovery")),
    "task statuses null": within(*TASK, "statuses", value=None),
    "task discovery null": within(*TASK, "discovery", value=None),
    "task without resources": without(*TASK, "resources"),
    "discovery port number a string": within(
        *TASK, "discovery", "ports", "ports", 0, "number", value="80"
    ),
    "discovery ports a list": within(*TASK, "discovery", "ports", value=[]),
    "timestamp a string": within(*TASK, "statuses", 0, "timestamp", value="1.0"),
    "task ports 31000": within(*TASK, "resources", "ports", value=31000),
}
for name in LIFE:
    for words, place in (
        ("agent pid ", (*AGENT, "pid")),
        ("framework pid ", (*FRAMEWORK, "pid")),
        ("task ports ", (*TASK, "resources", "ports")),
    ):
        if name.startswith(words + '"'):
            CHANGES[name] = within(*place, value=json.loads(name.removeprefix(words)))


def recorded(step: str) -> str:
    """What web.kubernetes.mesos is afterwards: ``old``, ``new``, ``agent`` or ``nothing``."""
    answer = LIFE[step]["answer"]
    if answer == "NXDOMAIN":
        return "nothing"
    address = answer[0].rpartition(" ")[2]
    if LIFE[step]["process"] != "running" or address == BEFORE:
        return "old"
    return "agent" if address.startswith("10.20.0.") else "new"


MEANS = {AFTER: "new", BEFORE: "old", "10.20.0.11": "agent"}


@pytest.mark.parametrize("step", CHANGES)
def test_an_odd_state_is_taken_or_refused_as_recorded(step: str) -> None:
    settings = config.parse({"masters": ["10.20.0.1:5050"], "listener": "10.20.0.5"})
    state = copy.deepcopy(state_with(AFTER))
    CHANGES[step](state)
    try:
        made = records.generate(state, settings, lambda _: ())
    except records.BadState:
        found = "old"
    else:
        addresses = made.a.get(WEB, [])
        found = MEANS[addresses[0]] if addresses else "nothing"
    assert found == recorded(step)


Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def masters(answers: dict[str, Callable[[str], Reply | None]]) -> Iterator[tuple[int, list[str]]]:
    """Masters at loopback addresses, all at one port; the port, and who was asked."""
    asked: list[str] = []
    port = free_port()
    servers = []

    def handler(address: str, answer: Callable[[str], Reply | None]) -> type:
        class Master(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(f"{address}:{port} {self.path}")
                reply = answer(self.path)
                if reply is None:
                    self.close_connection = True
                    return
                status, headers, body = reply
                if "Content-Encoding" not in headers:
                    body = body.replace(b":5050", f":{port}".encode())
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value.replace("PORT", str(port)))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Master

    for address, answer in answers.items():
        server = ThreadingHTTPServer((address, port), handler(address, answer))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield port, asked
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def loaded(server: Server) -> bool:
    """One load, and the server's scratch directory removed."""

    async def run() -> bool:
        try:
            return await server._load()
        finally:
            await server._close()

    return asyncio.run(run())


def body(state: State) -> bytes:
    return json.dumps(state).encode()


HERE = "127.20.0.1"
NEW = body(state_with(AFTER, f"master@{HERE}:5050"))
HTTP: dict[str, Callable[[str], Reply | None]] = {
    "HTTP 500 with text": lambda _: (500, {}, b"oops"),
    "HTTP 503 empty body": lambda _: (503, {}, b""),
    "HTTP 401 with text": lambda _: (401, {}, b""),
    "HTTP 404 with a valid state as body": lambda _: (404, {}, NEW),
    "HTTP 200 truncated JSON": lambda _: (200, {}, NEW[:50]),
    "HTTP 200 JSON array": lambda _: (200, {}, b"[]"),
    "connection closed without answer": lambda _: None,
    "gzip encoded": lambda _: (
        200,
        {"Content-Encoding": "gzip"},
        gzip.compress(NEW),
    ),
    "redirect 307 to itself (loop)": lambda path: (
        307,
        {"Location": f"//{HERE}:PORT{path}"},
        b"",
    ),
    "redirect 307 without Location": lambda _: (307, {}, b""),
    "redirect 302 to another path": lambda path: (
        (200, {}, NEW) if path == "/other" else (302, {"Location": "/other"}, b"")
    ),
}


@pytest.mark.parametrize("step", HTTP)
def test_an_odd_answer_is_taken_or_refused_as_recorded(step: str) -> None:
    with masters({HERE: HTTP[step]}) as (port, asked):
        settings = config.parse({"masters": [f"{HERE}:{port}"], "refreshSeconds": 1})
        server = Server(settings)
        taken = loaded(server)
    assert asked[0] == f"{HERE}:{port} /master/state"
    known = (LIFE["state 1"]["answer"], LIFE["state 2: one refresh later"]["answer"])
    assert taken == (LIFE[step]["answer"] not in known)
    assert server._snapshot.records.a.get(WEB, []) == ([AFTER] if taken else [])


def case_named(start: str) -> dict[str, Any]:
    return next(case for case in MASTERS if case["case"].startswith(start))


def leads(leader: str) -> Callable[[str], Reply]:
    """A master's own state, which names the leader."""
    return lambda _: (200, {}, body(state_with(AFTER, f"master@{leader}:5050")))


def redirects(leader: str) -> Callable[[str], Reply]:
    return lambda path: (307, {"Location": f"//{leader}:PORT{path}"}, b"")


ONE, TWO, THREE = (f"127.20.0.{number}" for number in (1, 2, 3))
PLAYS: dict[str, dict[str, Callable[[str], Reply | None]]] = {
    "one master, the leader": {ONE: leads(ONE)},
    "three masters, the first leads": {ONE: leads(ONE), TWO: redirects(ONE), THREE: redirects(ONE)},
    "three masters, the second leads; the others answer 307": {
        ONE: redirects(TWO),
        TWO: leads(TWO),
        THREE: redirects(TWO),
    },
    "second leads; the others answer their own state": {
        ONE: leads(TWO),
        TWO: leads(TWO),
        THREE: leads(TWO),
    },
    "first master down, second leads": {TWO: leads(TWO), THREE: redirects(TWO)},
    "first two down, third leads": {THREE: leads(THREE)},
    "all down at start": {},
    "standby answers 503, no leader elected": dict.fromkeys(
        (ONE, TWO, THREE), lambda _: (503, {}, b"No leader elected")
    ),
    "leader not in the list": {ONE: redirects(TWO), TWO: leads(TWO), THREE: redirects(TWO)},
    "leader at another address and port": {ONE: leads(TWO)},
    "leader pid with a host name": {
        ONE: lambda _: (200, {}, body(state_with(AFTER, "master@master1.lab.example:5050")))
    },
}


@pytest.mark.parametrize("start", PLAYS)
def test_who_is_asked_and_what_the_masters_are_called(start: str) -> None:
    case = case_named(start)
    with masters(PLAYS[start]) as (port, asked):

        def local(text: str) -> str:
            return text.replace("10.20.0.", "127.20.0.").replace(":5050", f":{port}")

        settings = config.parse(
            {"masters": [local(master) for master in case["masters"]], "listener": "127.20.0.5"}
        )
        server = Server(settings)
        taken = loaded(server)
        # The recorded server loaded more than once.
        expected = [local(request) for request in case["requests"]]
        assert asked == expected[: len(asked)]
        assert taken == case["up"]
        if taken:
            records_now = server._snapshot.records
            names = {"leader.mesos.", "master.mesos.", "ns1.mesos."}
            names |= {f"master{number}.mesos." for number in range(4)}
            mine, theirs = records_now.a, case["records"]["As"]
            assert {name: sorted(mine[name]) for name in names & mine.keys()} == {
                name: [local(address) for address in theirs[name]] for name in names & theirs.keys()
            }
            leader = [local(value) for value in case["records"]["SRVs"]["_leader._tcp.mesos."]]
            assert records_now.srv["_leader._tcp.mesos."] == leader


LISTENERS = [case for case in MASTERS if case["case"].startswith("listener")]


@pytest.mark.parametrize("case", LISTENERS, ids=[case["case"] for case in LISTENERS])
def test_the_name_server_has_the_addresses_of_its_listener(case: dict[str, Any]) -> None:
    settings = config.parse({"masters": case["masters"]} | case["config_extra"])
    theirs = {kind: case["records"][kind].get("ns1.mesos.", []) for kind in ("As", "AAAAs")}
    local = [*theirs["As"], *theirs["AAAAs"]]
    made = records.generate(state_with(AFTER), settings, lambda _: (), local_addresses=local)
    assert made.a.get("ns1.mesos.", []) == theirs["As"]
    assert made.aaaa.get("ns1.mesos.", []) == theirs["AAAAs"]


ZOOKEEPER = [case for case in read_recording("zookeeper.json")["cases"] if "records" in case]


@pytest.mark.parametrize("case", ZOOKEEPER, ids=[case["case"] for case in ZOOKEEPER])
def test_masters_in_zookeeper_are_numbered_as_recorded(case: dict[str, Any]) -> None:
    nodes = {name: json.dumps(node).encode() for name, node in case["nodes"].items()}
    detected = tuple(master_address(nodes[name]) for name in candidates(nodes))
    settings = replace(config.parse(case["config"]), masters=detected)
    theirs = case["records"]["As"]
    state = state_with(AFTER, f"master@{theirs['leader.mesos.'][0]}:5050")
    made = records.generate(state, settings, lambda _: ())
    names = [name for name in made.a if name.startswith(("leader.", "master"))]
    assert {name: sorted(made.a[name]) for name in names} == {
        name: values for name, values in theirs.items() if name.startswith(("leader.", "master"))
    }
