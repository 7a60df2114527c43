"""Approves kubelets' certificate requests by our own rules; see `approval`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import structlog

from kubedcos.clock import Clock
from kubedcos.errors import KubedcosError
from kubedcos.kubernetes.approval import NodeClaim, decide, is_open
from kubedcos.kubernetes.kube_api import ApiError, KubeApi

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
INTERVAL = 20.0
"""Seconds between looks when nothing waits for one; probes of new nodes look by themselves."""

_log = structlog.get_logger(__name__)


class Approver:
    """Looks at open requests and approves those of our nodes.

    Args:
        claims: nodes that our tasks are, at this moment.
        clock: for the time in approvals.
    """

    def __init__(self, claims: Callable[[], Iterable[NodeClaim]], clock: Clock) -> None:
        self._claims = claims
        self._clock = clock
        self._told: set[str] = set()

    async def look(self, api: KubeApi) -> None:
        """Decide all open requests once.

        Raises:
            ApiError: the API refused or did not answer.
        """
        requests = (await api.get(REQUESTS))["items"]
        claims = tuple(self._claims())
        for request in requests:
            if not is_open(request):
                continue
            name = request["metadata"]["name"]
            verdict = decide(request, claims)
            if verdict.approve:
                now = datetime.fromtimestamp(self._clock.time(), UTC)
                request.setdefault("status", {})["conditions"] = [
                    {
                        "type": "Approved",
                        "status": "True",
                        "reason": "KubedcosNode",
                        "message": verdict.reason,
                        "lastUpdateTime": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
                    }
                ]
                if not await self._put(api, name, request):
                    continue
                _log.info("certificate approved", request=name, reason=verdict.reason)
            elif name not in self._told:
                self._told.add(name)
                _log.warning("certificate not approved", request=name, reason=verdict.reason)
        self._told &= {request["metadata"]["name"] for request in requests}

    async def _put(self, api: KubeApi, name: str, request: dict[str, Any]) -> bool:
        """Approve; False when somebody has changed the request since it was read."""
        try:
            await api.put(f"{REQUESTS}/{name}/approval", request)
        except ApiError as error:
            # Probes of several nodes look at the same time: what is still open is seen again.
            if error.status != HTTPStatus.CONFLICT:
                raise
            return False
        return True

    async def run(self, connect: Callable[[], KubeApi | None]) -> None:
        """Look again and again, for ever; kubelets renew their certificates at any time.

        Args:
            connect: the API, or None while there is none.
        """
        while True:
            api = connect()
            if api is not None:
                try:
                    await self.look(api)
                except KubedcosError as error:
                    _log.info("certificate requests cannot be read", reason=str(error))
            await self._clock.sleep(INTERVAL)
