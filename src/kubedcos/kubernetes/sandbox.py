"""Reads files of tasks' sandboxes from Mesos agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx2

from kubedcos.kubernetes.delivery import SandboxUnreadable

_LARGEST_FILE: Final = 1024
LARGEST_PIECE: Final = 64 * 1024
"""Of a log; Mesos' agents give no more than this at once either (a page of their file API)."""


class AgentSandboxReader:
    """Asks the agent's ``/files/read``.

    Args:
        client: carries TLS and credentials for agents, if they ask for any.
        framework_id: the framework's id once Mesos gave it; empty before.
        port: the agents' port.
        scheme: ``http`` or ``https``.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        framework_id: Callable[[], str],
        port: int = 5051,
        scheme: str = "http",
    ) -> None:
        self._client = client
        self._framework_id = framework_id
        self._port = port
        self._scheme = scheme

    async def read(self, address: str, task_id: str, name: str) -> str:
        """Text of a file; see `SandboxReader`.

        The path has the framework's id, because task ids are unique within a framework only.
        """
        answer = await self._read(address, task_id, name, 0, _LARGEST_FILE)
        data = answer.get("data")
        if not isinstance(data, str):
            raise SandboxUnreadable(f"agent {address}: an answer without data")
        return data

    async def piece(
        self, address: str, task_id: str, name: str, offset: int, length: int
    ) -> tuple[str, int]:
        """A piece of a file and the offset where it begins.

        Args:
            address: of the agent.
            task_id: of the task.
            name: of the file, such as ``stdout``.
            offset: in bytes; -1 asks for the size alone, which is the offset of the answer.
            length: in bytes; at most `LARGEST_PIECE` are given.

        Raises:
            SandboxUnreadable: see `read`.
        """
        answer = await self._read(address, task_id, name, offset, min(length, LARGEST_PIECE))
        data, at = answer.get("data"), answer.get("offset")
        if not isinstance(data, str) or not isinstance(at, int):
            raise SandboxUnreadable(f"agent {address}: an answer without data")
        return data, at

    async def _read(
        self, address: str, task_id: str, name: str, offset: int, length: int
    ) -> dict[str, Any]:
        framework_id = self._framework_id()
        if not framework_id:
            raise SandboxUnreadable("not registered with Mesos yet")
        path = f"/frameworks/{framework_id}/executors/{task_id}/runs/latest/{name}"
        asked = {"path": path, "offset": str(offset)}
        if offset >= 0:
            asked["length"] = str(length)
        try:
            reply = await self._client.get(
                f"{self._scheme}://{address}:{self._port}/files/read", params=asked, timeout=10.0
            )
        except httpx2.HTTPError as error:
            raise SandboxUnreadable(f"agent {address}: {error!r}") from None
        if reply.status_code != 200:
            text = reply.text.strip()[:200]
            raise SandboxUnreadable(f"agent {address}: {reply.status_code} {text}".rstrip())
        try:
            answer = reply.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SandboxUnreadable(f"agent {address}: no answer of a Mesos agent")
        return answer
