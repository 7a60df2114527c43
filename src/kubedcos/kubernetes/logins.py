"""How the framework scheduler itself logs in to etcd and to Kubernetes."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx2

from kubedcos.clock import Clock
from kubedcos.kubernetes.approval import APPROVER_USER
from kubedcos.kubernetes.kube_api import KubeApi, tls_context
from kubedcos.kubernetes.pki import DAY, Profile
from kubedcos.kubernetes.probes import api_url_at
from kubedcos.kubernetes.vault import Ca, Vault

_LIFETIME = DAY
_RENEW_AFTER = DAY / 2


def default_client(context: ssl.SSLContext) -> httpx2.AsyncClient:
    """A client that trusts and logs in as `context` says, past any proxy of the environment."""
    return httpx2.AsyncClient(verify=context, trust_env=False)


class Logins:
    """Clients with certificates that live a day, in memory only, and are renewed at half time.

    Args:
        vault: the cluster's authorities.
        clock: for the certificates' dates.
        connect: makes a client; tests put their own transport in.
    """

    def __init__(
        self,
        vault: Vault,
        clock: Clock,
        connect: Callable[[ssl.SSLContext], httpx2.AsyncClient] = default_client,
    ) -> None:
        self._vault = vault
        self._clock = clock
        self._connect = connect
        self._clients: dict[tuple[Ca, str], tuple[float, httpx2.AsyncClient]] = {}
        self._old: list[httpx2.AsyncClient] = []

    def etcd(self) -> httpx2.AsyncClient:
        """A client of etcd."""
        return self._client(Ca.ETCD, "kubedcos-framework-scheduler")

    def api(self, address: str, user: str = APPROVER_USER) -> KubeApi:
        """kube-apiserver at an agent's address.

        Args:
            address: the agent's.
            user: who to be; ours has its rights from the first add-on on.
        """
        return KubeApi(api_url_at(address), self._client(Ca.CLUSTER, user))

    async def close(self) -> None:
        """Close all connections."""
        clients = [client for _, client in self._clients.values()]
        for client in [*clients, *self._old]:
            await client.aclose()
        self._clients.clear()
        self._old.clear()

    def _client(self, ca: Ca, user: str) -> httpx2.AsyncClient:
        now = self._clock.time()
        made_at, client = self._clients.get((ca, user), (0.0, None))
        if client is not None and now - made_at < _RENEW_AFTER:
            return client
        authority = self._vault.authority(ca)
        pair = authority.issue_pair(Profile(user, client=True, lifetime=_LIFETIME), now)
        fresh = self._connect(tls_context(authority.certificate_pem, pair))
        if client is not None:
            self._old.append(client)  # calls under way may still use it
        self._clients[ca, user] = (now, fresh)
        return fresh
