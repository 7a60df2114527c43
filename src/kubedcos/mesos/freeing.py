"""What an operator may ask the leading master for: agents, and to free what is reserved there.

Endpoints of Mesos 1.11: https://mesos.apache.org/documentation/latest/endpoints/ and
https://mesos.apache.org/documentation/latest/operator-http-api/
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urljoin

import httpx2

from kubedcos.errors import KubedcosError
from kubedcos.mesos.detector import Detector, NoMaster

_REDIRECTS: Final = 2
Json = dict[str, Any]


class OperatorRefused(KubedcosError):
    """The master refused an operator's request; it had no effect."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status} {message}")


class MasterOperator:
    """Speaks to the leading master as an operator.

    Args:
        detector: where the masters are.
        credentials: principal and secret for Basic authentication; None without.
        transport: in place of the network, for tests.
        timeout_seconds: for each request.
        tls: for masters that speak HTTPS; None for plain HTTP.
    """

    def __init__(
        self,
        detector: Detector,
        credentials: tuple[str, str] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout_seconds: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._detector = detector
        self._auth = httpx2.BasicAuth(*credentials) if credentials else None
        self._transport = transport
        self._timeout = timeout_seconds
        self._tls = tls

    async def agent(self, agent_id: str) -> Json | None:
        """A registered agent as `/slaves` has it; None when it is not registered now.

        Raises:
            NoMaster: nobody leads or answers.
            OperatorRefused: the master does not let us look.
        """
        answer = await self._ask("GET", f"/slaves?slave_id={quote(agent_id, safe='')}")
        for found in json.loads(answer).get("slaves", ()):
            if found.get("id") == agent_id:
                return dict(found)
        return None

    async def destroy_volumes(self, agent_id: str, volumes: Sequence[Json]) -> None:
        """DESTROY_VOLUMES; see `agent` for errors. 409 means that they are in use or not there."""
        body = {"agent_id": {"value": agent_id}, "volumes": list(volumes)}
        await self._call({"type": "DESTROY_VOLUMES", "destroy_volumes": body})

    async def unreserve(self, agent_id: str, resources: Sequence[Json]) -> None:
        """UNRESERVE_RESOURCES; likewise."""
        body = {"agent_id": {"value": agent_id}, "resources": list(resources)}
        await self._call({"type": "UNRESERVE_RESOURCES", "unreserve_resources": body})

    async def _call(self, call: Mapping[str, Any]) -> None:
        await self._ask("POST", "/api/v1", json.dumps(call).encode())

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Ask the leader, following redirects by hand: a client drops credentials there."""
        scheme = "http" if self._tls is None else "https"
        reasons = []
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with httpx2.AsyncClient(
            transport=self._transport,
            timeout=self._timeout,
            auth=self._auth,
            trust_env=False,
            verify=True if self._tls is None else self._tls,
        ) as client:
            for master in await self._detector.masters():
                url = f"{scheme}://{master}{path}"
                for _ in range(_REDIRECTS + 1):
                    try:
                        reply = await client.request(method, url, content=body, headers=headers)
                    except httpx2.HTTPError as error:
                        reasons.append(f"{master}: {error or type(error).__name__}")
                        break
                    if reply.status_code == 307:
                        url = urljoin(url, reply.headers.get("Location", ""))
                        continue
                    if reply.status_code >= 500:
                        reasons.append(f"{master}: answered {reply.status_code}")
                        break
                    if not reply.is_success:
                        raise OperatorRefused(reply.status_code, reply.text.strip()[:500])
                    return bytes(reply.content)
        raise NoMaster("no leading master: " + "; ".join(reasons))
