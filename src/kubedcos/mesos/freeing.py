"""What an operator may ask the leading master for: agents, and to free what is reserved there.

Endpoints of Mesos 1.11: https://mesos.apache.org/documentation/latest/endpoints/ and
https://mesos.apache.org/documentation/latest/operator-http-api/
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx2

from kubedcos.errors import KubedcosError
from kubedcos.mesos.detector import Detector
from kubedcos.mesos.leading_master import LeadingMaster

Json = dict[str, Any]
_UNKNOWN = 400


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
        logins = (credentials,) if credentials else ()
        self._leader = LeadingMaster(detector, logins, tls, transport, timeout_seconds)

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

    async def tear_down(self, framework_id: str) -> bool:
        """TEARDOWN of a framework; false when the master knows of none with this id.

        Raises:
            NoMaster: nobody leads or answers.
            OperatorRefused: the master does not let us.
        """
        call = {"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework_id}}}
        try:
            await self._call(call)
        except OperatorRefused as error:
            if error.status == _UNKNOWN and "No framework found" in str(error):
                return False
            raise
        return True

    async def _call(self, call: Mapping[str, Any]) -> None:
        await self._ask("POST", "/api/v1", json.dumps(call).encode())

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        reply = await self._leader.ask(method, path, body)
        if not reply.is_success:
            raise OperatorRefused(reply.status_code, reply.text.strip()[:500])
        return reply.content
