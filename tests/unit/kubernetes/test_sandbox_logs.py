"""Pieces of logs from Mesos agents."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from kubedcos.kubernetes.delivery import SandboxUnreadable
from kubedcos.kubernetes.sandbox import LARGEST_PIECE, AgentSandboxReader


def piece(
    answer: httpx2.Response | Exception, offset: int = 0, length: int = 10, framework: str = "F-1"
) -> tuple[tuple[str, int], dict[str, str]]:
    """What is read, and what the agent was asked."""
    asked: dict[str, str] = {}

    def agent(request: httpx2.Request) -> httpx2.Response:
        asked.update(dict(request.url.params))
        asked["url"] = str(request.url.copy_with(query=None))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> tuple[str, int]:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(agent)) as client:
            reader = AgentSandboxReader(client, lambda: framework, 5052, "https")
            return await reader.piece("10.0.0.9", "etcd-0-server__1", "stdout", offset, length)

    return asyncio.run(main()), asked


def test_a_piece_is_asked_for_by_offset_and_length() -> None:
    found, asked = piece(httpx2.Response(200, json={"data": "abc", "offset": 7}), 7, 3)
    assert found == ("abc", 7)
    path = "/frameworks/F-1/executors/etcd-0-server__1/runs/latest/stdout"
    assert asked == {
        "url": "https://10.0.0.9:5052/files/read",
        "path": path,
        "offset": "7",
        "length": "3",
    }


def test_the_size_is_asked_for_without_a_length() -> None:
    _, asked = piece(httpx2.Response(200, json={"data": "", "offset": 99}), -1)
    assert (asked["offset"], "length" in asked) == ("-1", False)


def test_no_more_than_a_piece_is_asked_for() -> None:
    _, asked = piece(httpx2.Response(200, json={"data": "", "offset": 0}), 0, 1 << 30)
    assert asked["length"] == str(LARGEST_PIECE)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx2.Response(404, text="File not found"), "404 File not found"),
        (httpx2.Response(401), "401"),
        (httpx2.Response(200, text="<html>"), "no answer of a Mesos agent"),
        (httpx2.Response(200, json={"data": 7, "offset": 0}), "without data"),
        (httpx2.ConnectError("refused"), "ConnectError"),
    ],
)
def test_what_an_agent_does_not_give_is_said(answer: httpx2.Response | Exception, why: str) -> None:
    with pytest.raises(SandboxUnreadable, match=why):
        piece(answer)


def test_before_the_first_subscription_there_are_no_sandboxes() -> None:
    with pytest.raises(SandboxUnreadable, match="not registered"):
        piece(httpx2.Response(200), framework="")
