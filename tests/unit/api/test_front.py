"""A scheduler that stands by says so and who leads, and serves nothing else."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from kubedcos.api.front import Front


class Leader:
    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        return self.url


def ask(front: Front, *requests: tuple[str, str]) -> list[httpx2.Response]:
    async def main() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app=front)
        async with httpx2.AsyncClient(transport=transport, base_url="https://api") as client:
            return [await client.request(method, path) for method, path in requests]

    return asyncio.run(main())


@pytest.mark.parametrize(
    "request_",
    [
        ("GET", "/v1/clusters"),
        ("POST", "/v1/clusters"),
        ("DELETE", "/v1/clusters/k1"),
        ("POST", "/v1/tasks/etcd-0-peer__1/material"),
        ("GET", "/"),
    ],
)
def test_everything_but_health_is_sent_to_the_one_that_leads(request_: tuple[str, str]) -> None:
    (answer,) = ask(Front(Leader("https://m2:8443")), request_)
    assert answer.status_code == 503
    assert answer.json()["leader"] == "https://m2:8443"
    assert answer.json()["error"] == "this scheduler stands by; https://m2:8443 leads"
    assert answer.headers["retry-after"] == "1"


def test_health_tells_the_role() -> None:
    front = Front(Leader("https://m2:8443"))
    (answer,) = ask(front, ("GET", "/v1/health"))
    assert (answer.status_code, answer.json()["stage"]) == (503, "standby")
    assert (answer.json()["role"], answer.json()["leader"]) == ("standby", "https://m2:8443")
    front.taking_over = True
    health, other = ask(front, ("GET", "/v1/health"), ("GET", "/v1/clusters"))
    assert health.json()["role"] == "taking-over"
    assert (health.status_code, health.json()["stage"]) == (318, "starting")
    assert (other.status_code, "reading the state" in other.json()["error"]) == (503, True)


def test_without_a_leader_it_says_that_there_is_none() -> None:
    health, other = ask(Front(Leader("")), ("GET", "/v1/health"), ("GET", "/v1/clusters"))
    assert health.json()["leader"] is None
    assert other.json()["leader"] is None
    assert "none leads at the moment" in other.json()["error"]


def test_strangers_do_not_make_it_ask_zookeeper_each_time() -> None:
    leader = Leader("https://m2:8443")
    ask(Front(leader), *([("GET", "/v1/health")] * 20))
    assert leader.asked <= 2


def test_once_it_leads_the_api_answers() -> None:
    front = Front(Leader(""))
    front.app = PlainTextResponse("the API")
    (answer,) = ask(front, ("GET", "/v1/health"))
    assert answer.text == "the API"
