"""Calls of frameworks, operators and agents, by chance right or wrong in up to three places."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from kubedcos.embedded.protocol import SESSION_HEADER
from kubedcos.embedded.protojson import to_json

from .driven import Answer, Driven, Json

SCHEDULER: Final = "/api/v1/scheduler"
OPERATOR: Final = "/api/v1"
AGENT: Final = "/kubedcos/agent-call"

NASTY: Final[tuple[Any, ...]] = (
    *(None, True, [], {}, "", "*", "/", "..", "a/b", "a//b", "eng/%", "\x00", "\ud800"),
    *("x" * 300, "ä" * 130, "0", "-1", "1e300", "Infinity", "-Infinity", "NaN", "true"),
    *(0, -1, 1, 0.0004, -0.5, 1e300, -1e300, 2**31, 2**63, 2**64, 2**70, -(2**63)),
    *(float("nan"), float("inf"), [[]], [None], {"value": None}, {"value": {}}),
    *({"type": "SCALAR"}, "AAAA", "AAAAAAAAAAAAAAAAAAAAAA==", "UNKNOWN"),
)
"""Values that somebody may send in place of any other."""

ROLES: Final = ("lab", "eng", "eng/dev")
AMOUNTS: Final = (0.1, 0.5, 1, 2, 3.9995, 4, 32, 100, 1024, 4096)
TASKS: Final = ("t1", "t2", "t3")
UUID: Final = "AAAAAAAAAAAAAAAAAAAAAA=="


def scalar(name: str, value: float, **more: Any) -> Json:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


def ports(begin: int, end: int, **more: Any) -> Json:
    spans = [{"begin": begin, "end": end}]
    return {"name": "ports", "type": "RANGES", "ranges": {"range": spans}, **more}


def registration(number: int) -> Json:
    """The body of REGISTER of a well-behaved agent."""
    held = [scalar("cpus", 4), scalar("mem", 4096), scalar("disk", 4096), ports(31000, 31999)]
    info = {"hostname": f"a{number}", "port": 5051 + number, "resources": held}
    return {"agent_info": info, "address": "10.0.0.1", "version": "1"}


def framework_info(role: str, **more: Any) -> Json:
    names = ("MULTI_ROLE", "PARTITION_AWARE", "RESERVATION_REFINEMENT")
    return {
        "user": "u",
        "name": role,
        "roles": [role],
        "failover_timeout": 10,
        "checkpoint": True,
        "principal": "p",
        "capabilities": [{"type": name} for name in names],
        **more,
    }


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything below `value`."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += _places(item, (*path, key))
    return found


def mutated(value: Json, chance: Random) -> Json:
    """`value` as it is, or with up to three places changed, removed or doubled."""
    changed = copy.deepcopy(value)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        places = [place for place in _places(changed) if place != ("type",)]
        if not places:
            break
        *above, key = chance.choice(places)
        parent: Any = changed
        for step in above:
            parent = parent[step]
        how = chance.choice(("set", "set", "remove", "double"))
        if how == "remove":
            del parent[key]
        elif how == "double" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        else:
            parent[key] = copy.deepcopy(chance.choice(NASTY))
    return changed


class Callers:
    """Everybody who talks to one master."""

    def __init__(self, master: Driven, chance: Random) -> None:
        self.master = master
        self.chance = chance
        self.state = master.state
        for number in range(2):
            assert self.send(AGENT, {"type": "REGISTER", "register": registration(number)}).ok
        for role in ROLES[:2]:
            self.subscribe(framework_info(role))

    def anything(self) -> Answer | None:
        """One thing that happens; None when it is no call, or nobody is there to do it."""
        weighted: tuple[tuple[Callable[[], Answer | None], int], ...] = (
            (self._accept, 8),
            (self._framework_call, 5),
            (self._operator_call, 4),
            (self._news, 4),
            (self._subscribe_again, 2),
            (self._register, 1),
            (self._return, 2),
            (self._disconnect_agent, 1),
            (self._disconnect_framework, 1),
            (self._pass_time, 5),
        )
        actions, weights = zip(*weighted, strict=True)
        return self.chance.choices(actions, weights)[0]()

    def send(self, path: str, value: Any, headers: dict[str, str] | None = None) -> Answer:
        body = json.dumps(value).encode("utf-8", "surrogatepass")
        return self.master.send(path, body, headers)

    def _mutated(self, path: str, value: Json, headers: dict[str, str] | None = None) -> Answer:
        return self.send(path, mutated(value, self.chance), headers)

    def _one_of(self, known: Any, *others: str) -> str | None:
        names = [*others, *sorted(known)]
        return self.chance.choice(names) if names else None

    # --- agents ----------------------------------------------------------------------------------

    def _register(self) -> Answer:
        part = registration(self.chance.randrange(4))
        return self._mutated(AGENT, {"type": "REGISTER", "register": part})

    def _return(self) -> Answer | None:
        name = self._one_of(self.state.agents)
        if name is None:
            return None
        agent = self.state.agents[name]
        part = registration(agent.info.port - 5051)
        part["agent_info"]["id"] = {"value": name}
        held = [task for task in self.state.tasks.values() if task.agent_id.value == name]
        part["tasks"] = to_json(held)
        part["checkpointed_resources"] = [
            resource for resource in to_json(list(agent.total)) if "reservations" in resource
        ]
        part["frameworks"] = [
            framework_info("lab", id={"value": owner})
            for owner in sorted({task.framework_id.value for task in held})
        ]
        return self._mutated(AGENT, {"type": "REREGISTER", "reregister": part})

    def _news(self) -> Answer | None:
        if not self.state.tasks:
            return None
        task = self.state.tasks[self.chance.choice(sorted(self.state.tasks))]
        agent = self.state.agents.get(task.agent_id.value)
        state = self.chance.choice(("TASK_RUNNING", "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED"))
        status = to_json(task.task_id), to_json(task.agent_id)
        part = {
            "framework_id": to_json(task.framework_id),
            "status": {"task_id": status[0], "state": state, "uuid": UUID, "agent_id": status[1]},
            "latest_state": state,
        }
        session = {SESSION_HEADER: agent.session} if agent else {}
        return self._mutated(AGENT, {"type": "STATUS_UPDATE", "status_update": part}, session)

    def _disconnect_agent(self) -> None:
        name = self._one_of(self.state.agents)
        if name is not None:
            session = self.state.agents[name].session
            self.master.inside(self.master.engine.agent_disconnected, name, session)

    # --- frameworks ------------------------------------------------------------------------------

    def subscribe(self, info: Json) -> Answer:
        call: Json = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if "id" in info:
            call["framework_id"] = info["id"]
        return self.send(SCHEDULER, call)

    def _subscribe_again(self) -> Answer:
        again = self._one_of(self.state.frameworks, "")
        more = {"id": {"value": again}} if again else {}
        info = mutated(framework_info(self.chance.choice(ROLES), **more), self.chance)
        return self.subscribe(info)

    def _disconnect_framework(self) -> None:
        streams = sorted(f.id for f in self.state.frameworks.values() if f.stream_id)
        if streams:
            stream = self.state.frameworks[self.chance.choice(streams)].stream_id
            self.master.inside(self.master.engine.stream_ended, stream)

    def _pass_time(self) -> None:
        self.master.pass_time(self.chance.choice((0.5, 1.0, 5.0, 11.0)))

    def _of_framework(self, name: str, kind: str, part: Json) -> Answer:
        call = {"framework_id": {"value": name}, "type": kind, **part}
        stream = self.state.frameworks[name].stream_id or "none"
        return self._mutated(SCHEDULER, call, {"Mesos-Stream-Id": stream})

    def _resources(self, role: str) -> list[Json]:
        reserved = [{"type": "DYNAMIC", "role": role, "principal": "p"}]
        volume = {
            "persistence": {"id": self.chance.choice("vw"), "principal": "p"},
            "volume": {"container_path": "data", "mode": "RW"},
        }
        listed = []
        for _ in range(self.chance.randrange(4)):
            more = copy.deepcopy(self.chance.choice(({}, {"reservations": reserved})))
            what = self.chance.choice(("cpus", "mem", "disk", "ports", "volume"))
            if what == "ports":
                begin = self.chance.randrange(31000, 32000)
                listed.append(ports(begin, begin + self.chance.randrange(10), **more))
            elif what == "volume":
                disk = {"reservations": reserved, "disk": volume}
                listed.append(scalar("disk", self.chance.choice(AMOUNTS), **copy.deepcopy(disk)))
            else:
                listed.append(scalar(what, self.chance.choice(AMOUNTS), **more))
        return listed

    def _operation(self, role: str, agent_id: str) -> Json:
        kind = self.chance.choice(("LAUNCH", "LAUNCH", "RESERVE", "UNRESERVE", "CREATE", "DESTROY"))
        if kind == "LAUNCH":
            tasks = [self._task(role, agent_id) for _ in range(self.chance.randrange(1, 3))]
            return {"type": kind, "launch": {"task_infos": tasks}}
        name = "resources" if kind.endswith("RESERVE") else "volumes"
        return {"type": kind, kind.lower(): {name: self._resources(role)}}

    def _task(self, role: str, agent_id: str) -> Json:
        return {
            "name": "t",
            "task_id": {"value": self.chance.choice(TASKS)},
            "agent_id": {"value": agent_id},
            "resources": self._resources(role) or [scalar("cpus", 1), scalar("mem", 32)],
            "command": {"value": "true"},
        }

    def _accept(self) -> Answer | None:
        if not self.state.offers:
            self._pass_time()
            return None
        first = self.state.offers[self.chance.choice(sorted(self.state.offers))]
        count = self.chance.randrange(1, 4)
        accept = {
            "offer_ids": [{"value": first.id}],
            "operations": [self._operation(first.role, first.agent_id) for _ in range(count)],
            "filters": {"refuse_seconds": 0},
        }
        return self._of_framework(first.framework_id, "ACCEPT", {"accept": accept})

    def _framework_call(self) -> Answer | None:
        name = self._one_of(self.state.frameworks)
        if name is None:
            return None
        agent = {"value": self._one_of(self.state.agents, "none")}
        named = {"task_id": {"value": self.chance.choice(TASKS)}, "agent_id": agent}
        executor = {"executor_id": {"value": "e"}, "agent_id": agent}
        info = framework_info("n", id={"value": name}, roles=["lab", "eng"])
        parts: dict[str, Json] = {
            "DECLINE": {"offer_ids": [{"value": offer} for offer in sorted(self.state.offers)[:2]]},
            "REVIVE": {"roles": ["lab"]},
            "SUPPRESS": {"roles": ["lab"]},
            "KILL": named,
            "ACKNOWLEDGE": named | {"uuid": UUID},
            "RECONCILE": {"tasks": [named]},
            "UPDATE_FRAMEWORK": {"framework_info": info},
            "REQUEST": {"requests": []},
            "MESSAGE": executor | {"data": ""},
            "SHUTDOWN": executor,
            "RECONCILE_OPERATIONS": {"operations": [{"operation_id": {"value": "o"}}]},
        }
        kind = self.chance.choice((*parts, *parts, "TEARDOWN"))
        part = {kind.lower(): parts[kind]} if kind in parts else {}
        return self._of_framework(name, kind, part)

    # --- operators -------------------------------------------------------------------------------

    def _operator_call(self) -> Answer:
        agent = {"value": self._one_of(self.state.agents, "x")}
        framework = {"value": self._one_of(self.state.frameworks, "x")}
        role = self.chance.choice(ROLES)
        held = self._resources(role)
        machines = [{"hostname": "a0", "ip": "10.0.0.1"}]
        window = {"machine_ids": machines, "unavailability": {"start": {"nanoseconds": 1}}}
        limits = {"cpus": {"value": self.chance.choice(AMOUNTS)}}
        parts: dict[str, Json] = {
            "UNRESERVE_RESOURCES": {"agent_id": agent, "resources": held},
            "RESERVE_RESOURCES": {"agent_id": agent, "resources": held},
            "CREATE_VOLUMES": {"agent_id": agent, "volumes": held},
            "DESTROY_VOLUMES": {"agent_id": agent, "volumes": held},
            "UPDATE_QUOTA": {"quota_configs": [{"role": role, "limits": limits}], "force": True},
            "UPDATE_WEIGHTS": {"weight_infos": [{"role": role, "weight": 2.0}]},
            "DRAIN_AGENT": {"agent_id": agent},
            "DEACTIVATE_AGENT": {"agent_id": agent},
            "REACTIVATE_AGENT": {"agent_id": agent},
            "UPDATE_MAINTENANCE_SCHEDULE": {"schedule": {"windows": [window]}},
            "START_MAINTENANCE": {"machines": machines},
            "STOP_MAINTENANCE": {"machines": machines},
        }
        rare: dict[str, Json] = {
            "TEARDOWN": {"framework_id": framework},
            "MARK_AGENT_GONE": {"agent_id": agent},
        }
        kind = self.chance.choice((*parts, *parts, *rare))
        return self._mutated(OPERATOR, {"type": kind, kind.lower(): (parts | rare)[kind]})
