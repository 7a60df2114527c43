"""Agents as the leading master tells of them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx2
import pytest

from kubedcos.mesos.detector import ListDetector, NoMaster
from kubedcos.mesos.operator import AgentsUnknown, Operator, Site


def scalar(name: str, value: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


def agent(name: str, **more: Any) -> dict[str, Any]:
    return {
        "agent_info": {"hostname": name, "id": {"value": f"S-{name}"}},
        "active": True,
        "total_resources": [scalar("cpus", 4.0), scalar("mem", 1024.0)],
        "allocated_resources": [scalar("cpus", 1.5, allocation_info={"role": "web"})],
        **more,
    }


def master(*agents: dict[str, Any]) -> dict[str, Any]:
    domain = {"fault_domain": {"region": {"name": "dc-a"}, "zone": {"name": "a-1"}}}
    return {
        "GET_AGENTS": {"type": "GET_AGENTS", "get_agents": {"agents": list(agents)}},
        "GET_MASTER": {
            "type": "GET_MASTER",
            "get_master": {"master_info": {"id": "m", "ip": 1, "port": 5050, "domain": domain}},
        },
    }


def asked(
    answers: dict[str, Any],
    *,
    leader: str = "m2",
    login: str = "",
    logins: tuple[tuple[str, str], ...] = (),
) -> Site:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host != leader:
            return httpx2.Response(307, headers={"Location": f"//{leader}:5050/api/v1"})
        shown = base64.b64encode(f"{login}:s".encode()).decode()
        if login and request.headers.get("authorization") != f"Basic {shown}":
            return httpx2.Response(403, text="not you")
        return httpx2.Response(200, json=answers[json.loads(request.content)["type"]])

    found = Operator(ListDetector(("m1:5050",)), logins, transport=httpx2.MockTransport(answer))
    return asyncio.run(found.site())


def test_what_tasks_use_is_not_free() -> None:
    site = asked(master(agent("a1")))
    (found,) = site.agents
    assert found.info.hostname == "a1"
    assert {r.name: r.scalar.value for r in found.free if r.scalar} == {"cpus": 2.5, "mem": 1024.0}
    assert {r.name: r.scalar.value for r in found.total if r.scalar} == {"cpus": 4.0, "mem": 1024.0}
    assert site.domain is not None


def test_reserved_resources_are_told_in_both_forms() -> None:
    labels = {"labels": [{"key": "k", "value": "v"}]}
    reserved = {
        "role": "web",
        "reservation": {"principal": "p", "labels": labels},
        "reservations": [{"type": "DYNAMIC", "role": "web", "principal": "p", "labels": labels}],
    }
    total = [scalar("cpus", 3.0), scalar("cpus", 1.0, **reserved)]
    used = [scalar("cpus", 1.0, allocation_info={"role": "web"}, **reserved)]
    site = asked(master(agent("a1", total_resources=total, allocated_resources=used)))
    (found,) = site.agents
    assert [(r.scalar.value, len(r.reservations)) for r in found.free if r.scalar] == [(3.0, 0)]
    assert [(r.scalar.value, len(r.reservations)) for r in found.total if r.scalar] == [
        (3.0, 0),
        (1.0, 1),
    ]


def test_agents_that_take_no_tasks_are_left_out() -> None:
    site = asked(master(agent("a1", active=False), agent("a2", deactivated=True), agent("a3")))
    assert [found.info.hostname for found in site.agents] == ["a3"]


def test_the_next_login_is_tried_where_one_may_not_ask() -> None:
    logins = (("framework", "s"), ("operator", "s"))
    assert asked(master(agent("a1")), login="operator", logins=logins).agents
    with pytest.raises(AgentsUnknown, match="GET_AGENTS: m2:5050 answered 403 not you"):
        asked(master(agent("a1")), login="other", logins=logins)


def test_an_answer_that_makes_no_sense() -> None:
    with pytest.raises(AgentsUnknown, match="GET_AGENTS: the answer of m2:5050: Expected `array`"):
        asked({"GET_AGENTS": {"get_agents": {"agents": 7}}, "GET_MASTER": {}})


def test_no_master() -> None:
    class Nobody:
        async def masters(self) -> tuple[str, ...]:
            raise NoMaster("nobody leads")

    with pytest.raises(AgentsUnknown, match="GET_AGENTS: nobody leads"):
        asyncio.run(Operator(Nobody()).site())
