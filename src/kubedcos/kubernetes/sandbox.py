"""Reads files of tasks' sandboxes from Mesos agents."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from kubedcos.kubernetes.delivery import SandboxUnreadable

_LARGEST_FILE = 1024


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
        framework_id = self._framework_id()
        if not framework_id:
            raise SandboxUnreadable("not registered with Mesos yet")
        path = f"/frameworks/{framework_id}/executors/{task_id}/runs/latest/{name}"
        try:
            reply = await self._client.get(
                f"{self._scheme}://{address}:{self._port}/files/read",
                params={"path": path, "offset": "0", "length": str(_LARGEST_FILE)},
                timeout=10.0,
            )
        except httpx2.HTTPError as error:
            raise SandboxUnreadable(f"agent {address}: {error!r}") from None
        if reply.status_code != 200:
            text = reply.text.strip()[:200]
            raise SandboxUnreadable(f"agent {address}: {reply.status_code} {text}".rstrip())
        data = reply.json().get("data")
        if not isinstance(data, str):
            raise SandboxUnreadable(f"agent {address}: an answer without data")
        return data
