"""Write the tables of docs/mesos-compatibility.md from the engine's own tables and its tests.

What is refused is asked of the engine itself, so that the page has the words that a client gets.
Which test and which recording stand behind a row, the tests' ``contract`` markers say.

Run as ``python docs/generate_mesos_compatibility.py``; with ``--check`` it exits 1 and names what
differs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

import httpx2
import msgspec
from contract_markers import Evidence
from page_blocks import ROOT, filled, row, table, write_or_check

from kubedcos.clock import SystemClock
from kubedcos.embedded.agent import operator_api as agent_api
from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.container_rules import refusal
from kubedcos.embedded.agent.flag_table import AGENT_FLAGS
from kubedcos.embedded.agent.http import AgentHttp
from kubedcos.embedded.agent.isolators import names as isolators
from kubedcos.embedded.agent.isolators.unsupported import unsupported
from kubedcos.embedded.agent.launching import launch_failed
from kubedcos.embedded.flags import ANY, Flag, parse_flags
from kubedcos.embedded.master.api_operator import CALLS
from kubedcos.embedded.master.api_scheduler import DECISIONS, without_effect
from kubedcos.embedded.master.app import MasterApp
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operation_rules import UNSUPPORTED_OPERATIONS
from kubedcos.embedded.master.options import MASTER_FLAGS, read_options
from kubedcos.embedded.master.rules import task_fault
from kubedcos.errors import InvalidInput
from kubedcos.mesos.messages import AgentID, TaskInfo
from kubedcos.mesos.resources import Resources

PAGE: Final = ROOT / "docs/mesos-compatibility.md"

CALL_NOTES: Final = {
    "ACCEPT_INVERSE_OFFERS": "those of another framework are ignored",
    "DECLINE_INVERSE_OFFERS": "those of another framework are ignored",
    "MESSAGE": "as with Mesos' own executors, which drop what they are sent",
    "REQUEST": "as with Mesos' own allocator",
    "SHUTDOWN": "of the executor of a task group",
    "RECONCILE_OPERATIONS": "a master that is elected later knows none of the operations before",
}
EVENTS: Final = {
    "SUBSCRIBED": "",
    "OFFERS": "",
    "RESCIND": "",
    "UPDATE": "",
    "UPDATE_OPERATION_STATUS": "",
    "FAILURE": "",
    "ERROR": "",
    "HEARTBEAT": "every 15 s",
    "MESSAGE": "never sent: only executors of frameworks send messages",
    "INVERSE_OFFERS": "",
    "RESCIND_INVERSE_OFFER": "",
}
MASTER_ENDPOINTS: Final = (
    *("/api/v1/scheduler", "/api/v1", "/health", "/version", "/redirect", "/state"),
    *("/state-summary", "/slaves", "/frameworks", "/tasks", "/roles", "/flags"),
    *("/metrics/snapshot", "/teardown", "/files/browse", "/files/read", "/files/download"),
    *("/files/debug", "/reserve", "/unreserve", "/create-volumes", "/destroy-volumes", "/quota"),
    *("/weights", "/maintenance/schedule", "/maintenance/status", "/machine/up", "/machine/down"),
    *("/logging/toggle", "/profiler/start", "/memory-profiler/start", "/system/stats.json"),
    *("/registrar(1)/registry", "/allocator/offer_constraints_debug"),
)
AGENT_ENDPOINTS: Final = (
    *("/api/v1", "/api/v1/executor", "/health", "/version", "/state", "/flags", "/containers"),
    *(
        "/monitor/statistics",
        "/metrics/snapshot",
        "/files/browse",
        "/files/read",
        "/files/download",
        "/files/debug",
    ),
    *("/containerizer/debug", "/logging/toggle", "/profiler/start", "/system/stats.json"),
)
BEHAVIOUR: Final = {
    "authentication": "HTTP Basic for frameworks, operators and agents",
    "regions": "`REGION_AWARE`: other regions than the masters' are offered to those who know them",
    "quota": "guarantees are held back, limits cut offers, UPDATE_QUOTA takes offers back",
    "weights": "roles, also nested ones, share by dominant resource and weight",
    "constraints": "`offer_constraints`, with regular expressions of RE2",
    "offer-timeout": "`--offer_timeout` takes back what nobody answers",
    "old-frameworks": "frameworks without `MULTI_ROLE`, `PARTITION_AWARE`, `REGION_AWARE`",
    "takeover": "a second SUBSCRIBE with the same id takes tasks over and ends the first stream",
    "agent-restart": "tasks survive the agent, killed or restarted",
    "agent-loss": "an agent that is silent becomes unreachable, and may come back",
    "agent-gone": "an agent marked gone never comes back",
    "master-restart": "a restarted master finds agents and tasks again",
    "survival": "master, agent, executor or framework killed, or a connection cut, at any point of "
    "a task's life",
    "authorization": "an ACL file: what is denied is refused, what may not be seen is left out",
    "tls": "by `LIBPROCESS_SSL_*`: master, agent and the way between them; one port speaks either",
    "election": "the leader is elected in ZooKeeper, in Mesos' nodes; the others redirect; a "
    "deposed leader ends",
    "master-failover": "another master takes over with all that was decided: the registry is in "
    "ZooKeeper, in a node beside the masters' (Mesos has a replicated log)",
    "maintenance": "machines in maintenance have no agents, whoever leads",
    "drain": "a drain goes on across restarts of agent and master",
    "ends": "how command tasks end: exit, signal, KILL with and without grace, too long a run",
    "checks": "checks and health checks, by command, HTTP and TCP",
    "fetcher": "the fetcher: names, modes, archives, cache, and what cannot be fetched",
    "fetcher-escape": "an `output_file` that leaves the sandbox is refused; Mesos writes there",
    "unacknowledged": "updates are sent again after 10 s, doubling to 10 min, in order",
    "groups": "task groups survive the agent; the master finds their executors again",
    "shrink": "what SHRINK_VOLUME frees is offered again at once; Apache Mesos keeps it from "
    "everybody until the framework is gone",
    "volumes": "persistent volumes keep their content until DESTROY, on disks of kind ROOT, PATH, "
    "MOUNT",
    "container-volumes": "volumes HOST_PATH and SANDBOX_PATH, read-only or not",
    "container-networks": "CNI networks by name, port mappings, addresses in `container_status`",
    "container-rights": "resource limits, capabilities, users of tasks, no new privileges",
    "container-namespaces": "PID and IPC namespaces, shared or not; a private /dev/shm",
    "container-limits": "death by limit of memory or disk, and what is counted",
    "container-defaults": "`--default_container_info` and `--default_container_dns`",
    "container-refusals": "wishes of containers that Mesos' isolators refuse",
    "container-recovery": "no mount, cgroup, network or process is left, whenever the agent dies",
    "staging": "this project's framework scheduler: staged, restarted, deleted without a trace",
}
WISHES: Final[Mapping[str, Mapping[str, Any]]] = {
    "an executor of its own": {
        "command": None,
        "executor": {"executor_id": {"value": "e"}, "command": {"value": "true"}},
    },
    "a Docker container": {"container": {"type": "DOCKER", "docker": {"image": "x"}}},
    "a container image": {"container": {"type": "MESOS", "mesos": {"image": {"type": "DOCKER"}}}},
    "a volume of an image, Docker, CSI or a secret": {
        "container": {
            "type": "MESOS",
            "volumes": [
                {
                    "container_path": "a",
                    "mode": "RW",
                    "source": {"type": "DOCKER_VOLUME", "docker_volume": {}},
                }
            ],
        }
    },
    "seccomp, with the isolator linux/seccomp": {
        "container": {"type": "MESOS", "linux_info": {"seccomp": {}}},
    },
    "a terminal (`tty_info`)": {"container": {"type": "MESOS", "tty_info": {}}},
    "cgroups of its own, outside of a group": {
        "container": {"type": "MESOS", "linux_info": {"share_cgroups": False}},
    },
    "a secret in its environment": {
        "command": {
            "value": "true",
            "environment": {"variables": [{"name": "A", "type": "SECRET", "secret": {}}]},
        }
    },
}
CONTAINER_NOTE: Final = "yes for containers that are not there; **no** for those of tasks: 501"
_ALL_ISOLATORS: Final = frozenset({*isolators.HONOURED, *isolators.ON_DEMAND})
_JSON: Final = {"Content-Type": "application/json"}
# One of them is of the right form for a flag and still not the harmless value.
_CANDIDATES: Final = ("true", "/x", "{}", "1", "1secs", "1MB", "x")


# --- what the engine says ------------------------------------------------------------------------


class Asked:
    """A leading master without a network, to be asked."""

    def __init__(self) -> None:
        options = read_options(["--ip=127.0.0.1", "--registry=in_memory", "--hostname=m"], {})
        engine = Engine(options, SystemClock())
        engine.state.elected_time = 0.0
        engine.leader = engine.state.info
        self._transport = httpx2.ASGITransport(app=MasterApp(engine))

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = _JSON
    ) -> tuple[int, str]:
        """Status and text of the answer."""

        async def send() -> httpx2.Response:
            client = httpx2.AsyncClient(transport=self._transport, base_url="http://m")
            async with client:
                return await client.request(method, path, content=json.dumps(body), headers=headers)

        answer = asyncio.run(send())
        return answer.status_code, answer.text


def no(status: int | str, text: str) -> str:
    """A refusal."""
    return f"**no:** {status}, “{text}”"


def call_rows(asked: Asked, evidence: Evidence) -> Iterator[str]:
    """Calls of frameworks."""
    for name in sorted({*DECISIONS, "SUBSCRIBE", "UPDATE_FRAMEWORK"}):
        idle = DECISIONS.get(name) is without_effect
        here = "accepted without effect" if idle else "yes"
        note = CALL_NOTES.get(name)
        yield evidence.row("calls", name, f"{here}; {note}" if note else here)
    body = {"type": "UNKNOWN", "framework_id": {"value": "f"}}
    _, text = asked("POST", "/api/v1/scheduler", body, {"Content-Type": "application/x-protobuf"})
    yield row("protobuf instead of JSON", no(415, text), "", "`test_malformed`")


def operation_rows(asked: Asked, evidence: Evidence) -> Iterator[str]:
    """Operations of an ACCEPT."""
    for name in (
        *("LAUNCH", "LAUNCH_GROUP", "RESERVE", "UNRESERVE", "CREATE", "DESTROY", "GROW_VOLUME"),
        "SHRINK_VOLUME",
    ):
        yield evidence.row("operations", name, "yes")
    for name in sorted(UNSUPPORTED_OPERATIONS):
        accept = {"offer_ids": [], "operations": [{"type": name}]}
        body = {"type": "ACCEPT", "framework_id": {"value": "f"}, "accept": accept}
        answer = no(*asked("POST", "/api/v1/scheduler", body))
        yield evidence.row("operations", name, answer)


def event_rows(evidence: Evidence) -> Iterator[str]:
    """Events of a subscription."""
    for name, note in EVENTS.items():
        yield evidence.row("events", name, note or "yes")


def operator_rows(asked: Asked, evidence: Evidence) -> Iterator[str]:
    """Calls of operators to the master."""
    for name in sorted(CALLS):
        here = "yes"
        if name == "REMOVE_QUOTA":
            body = {"type": name, "remove_quota": {"role": "ROLE"}}
            status, text = asked("POST", "/api/v1", body)
            here = f"yes; for a role without quota {status}, “{text}”, where Apache Mesos aborts"
        yield evidence.row("operator", name, here)


def agent_call_rows(evidence: Evidence) -> Iterator[str]:
    """Calls of operators to an agent."""
    for name, call in sorted(agent_api.CALLS.items()):
        here = CONTAINER_NOTE if call.body is agent_api.OfContainer else "yes"
        if name in agent_api.NOT_SUPPORTED:
            try:
                # A refusal comes before anything is asked of the agent.
                call.answer(cast("agent_api.Shown", None), None)
            except agent_api.Bad as refused:
                here = no(refused.answer.status, refused.answer.text)
        yield evidence.row("agent_calls", name, here)


def endpoint_rows(asked: Asked, evidence: Evidence) -> Iterator[str]:
    """Paths of the master, also below ``/master``."""
    for path in MASTER_ENDPOINTS:
        status, text = asked("GET", path)
        here = no(status, text) if (status, text) == (404, "404 Not Found.") else "yes"
        yield evidence.row("endpoints", path, here)


def agent_endpoint_rows(evidence: Evidence) -> Iterator[str]:
    """Paths of the agent."""
    routes = AgentHttp(cast("Agent", None), cast("Any", None), 0.0).routes()
    known = {route.path for route in routes}
    for path in AGENT_ENDPOINTS:
        here = "yes" if path in known else no(404, "404 Not Found.")
        yield evidence.row("agent_endpoints", path, here)


def wish_rows() -> Iterator[str]:
    """What a task may not ask for."""
    resources = [
        {
            "name": name,
            "type": "SCALAR",
            "scalar": {"value": 32},
            "allocation_info": {"role": "lab"},
        }
        for name in ("cpus", "mem")
    ]
    plain = {
        "name": "t",
        "task_id": {"value": "t"},
        "agent_id": {"value": "S0"},
        "resources": resources,
        "command": {"value": "true"},
    }
    for wish, parts in WISHES.items():
        task = msgspec.convert(plain | parts, TaskInfo)
        available = Resources(task.resources)
        fault = task_fault(
            task, agent_id=AgentID("S0"), available=available, known=lambda _id: None
        )
        if fault is not None:
            yield row(wish, no("`TASK_ERROR`", fault))
        elif (late := refusal(task, _ALL_ISOLATORS)) is not None:
            yield row(wish, no(f"`{late[0]}`", late[2]))
        elif task.container and (text := unsupported(task.container, _ALL_ISOLATORS)):
            yield row(wish, no("`TASK_FAILED`", launch_failed(text).status[2]))
        else:
            raise SystemExit(f"{wish}: nobody refuses it")


def flag_rows(flags: Iterable[Flag]) -> Iterator[str]:
    """Flags, each with what it does here."""
    listed = sorted(flags, key=lambda flag: flag.name)
    for flag in listed:
        default = f"`{flag.default}`" if flag.default else ""
        yield row(f"`{flag.name}`", default, _flag_words(flag, listed))


def _flag_words(flag: Flag, flags: list[Flag]) -> str:
    if flag.harmless is None:
        return "yes"
    if flag.harmless == ANY or (flag.kind == "bool" and set(flag.harmless) == {"true", "false"}):
        return "taken, without effect"
    for value in _CANDIDATES:
        try:
            parse_flags(flags, [f"--{flag.name}={value}"], {})
        except InvalidInput as error:
            wanted = error.problems[0].wanted
            if flag.why in wanted:
                what = "other values are" if flag.harmless else "it is"
                return f"**no:** {what} refused, “wanted {wanted}”"
    raise SystemExit(f"--{flag.name} is not refused")


def isolator_rows() -> Iterator[str]:
    """Isolators of the agent."""
    for name, effect in isolators.HONOURED.items():
        yield row(f"`{name}`", effect or "yes")
    others = ", ".join(f"`{name}`" for name in sorted(isolators.ON_DEMAND))
    yield row(others, "taken; a task that asks for their feature is refused")


def page() -> str:
    """docs/mesos-compatibility.md as it should be."""
    asked, evidence = Asked(), Evidence()
    header = ("Here", "Recording", "Tests")
    behaviour = [evidence.row("behaviour", name, "yes", words) for name, words in BEHAVIOUR.items()]
    blocks = {
        "behaviour": table(("Behaviour", *header), behaviour),
        "calls": table(("Call", *header), list(call_rows(asked, evidence))),
        "operations": table(("Operation", *header), list(operation_rows(asked, evidence))),
        "events": table(("Event", *header), list(event_rows(evidence))),
        "operator": table(("Call", *header), list(operator_rows(asked, evidence))),
        "agent-calls": table(("Call", *header), list(agent_call_rows(evidence))),
        "endpoints": table(("Path", *header), list(endpoint_rows(asked, evidence))),
        "agent-endpoints": table(("Path", *header), list(agent_endpoint_rows(evidence))),
        "tasks": table(("Wish", "Here"), list(wish_rows())),
        "master-flags": table(("Flag", "Default", "Here"), list(flag_rows(MASTER_FLAGS))),
        "agent-flags": table(("Flag", "Default", "Here"), list(flag_rows(AGENT_FLAGS))),
        "isolators": table(("Isolator", "Here"), list(isolator_rows())),
    }
    if unknown := evidence.unknown():
        raise SystemExit(f"markers name what the engine does not have: {', '.join(unknown)}")
    return filled(PAGE.read_text(encoding="utf-8"), blocks)


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, {PAGE: page}))
