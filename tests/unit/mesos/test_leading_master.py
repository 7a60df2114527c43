"""Whoever asks Mesos finds the leader, shows it the right login, and hears why if there is none."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from kubedcos.mesos.detector import ListDetector, NoMaster
from kubedcos.mesos.freeing import MasterOperator, OperatorRefused
from kubedcos.mesos.leading_master import LeadingMaster, refusal

Answer = Callable[[httpx2.Request], httpx2.Response]


def redirect(location: str) -> httpx2.Response:
    return httpx2.Response(307, headers={"Location": location})


def asking(
    answer: Answer, *masters: str, logins: tuple[tuple[str, str], ...] = (), tls: bool = False
) -> httpx2.Response:
    leader = LeadingMaster(
        ListDetector(masters or ("m1:5050",)),
        logins,
        ssl.create_default_context() if tls else None,
        httpx2.MockTransport(answer),
    )
    return asyncio.run(leader.ask("GET", "/slaves?a=b"))


def user(request: httpx2.Request) -> str:
    _, _, shown = request.headers.get("authorization", "").partition(" ")
    return base64.b64decode(shown).decode().partition(":")[0]


def test_the_leader_that_another_master_names_is_shown_the_login() -> None:
    seen = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((str(request.url), user(request)))
        return httpx2.Response(200) if request.url.host == "m2" else redirect("//m2:5051/slaves")

    assert asking(answer, logins=(("ann", "s"),)).is_success
    assert seen == [("http://m1:5050/slaves?a=b", "ann"), ("http://m2:5051/slaves", "ann")]


def test_the_next_login_is_tried_where_one_may_not_ask() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200 if user(request) == "bob" else 403, text=user(request))

    assert asking(answer, logins=(("ann", "s"), ("bob", "s"), ("eve", "s"))).text == "bob"
    refused = asking(answer, logins=(("ann", "s"), ("eve", "s")))
    assert refusal(refused) == "m1:5050 answered 403 eve"


def test_nobody_shows_a_login_that_has_none() -> None:
    assert asking(lambda request: httpx2.Response(200, text=user(request))).text == ""


def test_reasons_of_all_masters_are_told() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        match request.url.host:
            case "m1":
                return httpx2.Response(503, text="No leader elected\n")
            case "m2":
                return redirect("//m9:5050/slaves")
            case "m3":
                raise httpx2.ReadTimeout("")
            case "m4":
                return redirect("")
            case "m5":
                return redirect("//m5:5050/slaves")
            case _:
                raise httpx2.ConnectError("")

    with pytest.raises(NoMaster) as caught:
        asking(answer, "m1:5050", "m2:5050", "m3:5050", "m4:5050", "m5:5050", "m6:5050")
    assert str(caught.value).removeprefix("no leading master: ").split("; ") == [
        "m1:5050 answered 503 No leader elected",
        "m2:5050 names m9:5050, which cannot be asked: ConnectError",
        "m3:5050 gives no answer within 10 s",
        "m4:5050 redirects nowhere",
        "m5:5050 names m5:5050, which is one of more than 2 redirects",
        "m6:5050 cannot be asked: ConnectError",
    ]


def test_a_secret_does_not_leave_https() -> None:
    seen = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.scheme)
        return redirect("http://m2:5050/slaves")

    with pytest.raises(NoMaster, match="redirects to http://m2:5050/slaves, which is not HTTPS"):
        asking(answer, logins=(("ann", "s"),), tls=True)
    assert seen == ["https"]


class Freed:
    """A leader that takes an operator's calls, behind a master that names it."""

    def __init__(self, *replies: httpx2.Response) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, str, Any]] = []
        transport = httpx2.MockTransport(self._answer)
        self.operator = MasterOperator(ListDetector(("m1:5050",)), ("ann", "s"), transport)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "m1":
            return redirect(f"//m2:5050{request.url.raw_path.decode()}")
        body = json.loads(request.content) if request.content else None
        self.asked.append((user(request), request.url.raw_path.decode(), body))
        return self.replies.pop(0)


def test_an_operator_looks_at_an_agent_of_the_leader() -> None:
    known = {"slaves": [{"id": "S/1", "hostname": "a1"}]}
    freed = Freed(httpx2.Response(200, json=known), httpx2.Response(200, json={"slaves": []}))
    assert asyncio.run(freed.operator.agent("S/1")) == {"id": "S/1", "hostname": "a1"}
    assert asyncio.run(freed.operator.agent("S/1")) is None
    assert freed.asked == [("ann", "/slaves?slave_id=S%2F1", None)] * 2


def test_an_operator_frees_what_is_on_an_agent_or_hears_why_not() -> None:
    freed = Freed(httpx2.Response(202), httpx2.Response(409, text="in use"))
    asyncio.run(freed.operator.unreserve("S1", [{"name": "cpus"}]))
    with pytest.raises(OperatorRefused, match="409 in use") as caught:
        asyncio.run(freed.operator.destroy_volumes("S1", [{"name": "disk"}]))
    assert caught.value.status == 409
    assert [body["type"] for _, _, body in freed.asked] == [
        "UNRESERVE_RESOURCES",
        "DESTROY_VOLUMES",
    ]
    first = freed.asked[0][2]["unreserve_resources"]
    assert first == {"agent_id": {"value": "S1"}, "resources": [{"name": "cpus"}]}


def test_an_operator_tears_a_framework_down_unless_there_is_none_or_he_may_not() -> None:
    # As Mesos words it in `Master::Http::_teardown`.
    none = httpx2.Response(400, text="No framework found with specified ID")
    refused = (httpx2.Response(403), httpx2.Response(400, text="Failed to parse body"))
    freed = Freed(httpx2.Response(200), none, *refused)
    assert asyncio.run(freed.operator.tear_down("F-1"))
    assert not asyncio.run(freed.operator.tear_down("F-1"))
    for _ in refused:
        with pytest.raises(OperatorRefused):
            asyncio.run(freed.operator.tear_down("F-1"))
    body = {"type": "TEARDOWN", "teardown": {"framework_id": {"value": "F-1"}}}
    assert freed.asked == [("ann", "/api/v1", body)] * 4
