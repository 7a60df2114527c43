"""Asks components themselves whether they are ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import httpx2

from kubedcos.clock import Clock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import KubedcosError
from kubedcos.kubernetes import addon_readiness, node_network, node_readiness
from kubedcos.kubernetes.addons import KIND_PREFIX
from kubedcos.kubernetes.api_servers import ApiServers
from kubedcos.kubernetes.approver import Approver
from kubedcos.kubernetes.etcd_membership import EtcdMembership, client_url
from kubedcos.kubernetes.grants import Grant
from kubedcos.kubernetes.kube_api import ApiError, KubeApi
from kubedcos.kubernetes.leases import judge_lease, judge_standby
from kubedcos.kubernetes.recipe import API_PORT
from kubedcos.scheduler.workload import Readiness, RunningTask

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
_READY = Readiness(ready=True)


class ApiLogin(Protocol):
    """Gives kube-apiserver at an address, logged in as a user; see `logins.Logins.api`."""

    def __call__(self, address: str, user: str = ...) -> KubeApi:
        """kube-apiserver at `address`."""
        ...


def _not_yet(reason: str) -> Readiness:
    return Readiness(ready=False, reason=reason)


class Probes:
    """Readiness of each kind of task.

    Args:
        options: the cluster.
        etcd: client that logs in to etcd.
        membership: promotes learners, and knows who votes.
        api: kube-apiserver at an address, with a client that logs in to it.
        plain: client for health that needs no login.
        approver: looks at certificate requests while nodes are waited for.
        servers: which kube-apiserver to ask.
        grants: what tasks were given, by task id.
        clock: for the freshness of leases.
    """

    def __init__(
        self,
        *,
        options: ClusterOptions,
        etcd: Callable[[], httpx2.AsyncClient],
        membership: EtcdMembership,
        api: ApiLogin,
        plain: httpx2.AsyncClient,
        approver: Approver,
        servers: ApiServers,
        grants: Callable[[], Mapping[str, Grant]],
        clock: Clock,
    ) -> None:
        self._options = options
        self._etcd = etcd
        self._membership = membership
        self._api = api
        self._plain = plain
        self._approver = approver
        self._servers = servers
        self._grants = grants
        self._clock = clock
        self._ran_pod: set[str] = set()

    async def probe(self, task: RunningTask, peers: Sequence[RunningTask]) -> Readiness:
        """Whether `task` is ready; never raises but for cancellation."""
        try:
            return await self._probe(task, peers)
        except KubedcosError as error:
            return _not_yet(str(error))
        except httpx2.HTTPError as error:
            return _not_yet(f"no answer: {str(error) or type(error).__name__}")

    def forget(self, task_id: str) -> None:
        """A task ended."""
        self._ran_pod.discard(task_id)

    async def _probe(self, task: RunningTask, peers: Sequence[RunningTask]) -> Readiness:
        kind, address = task.launch.spec.kind, task.launch.place.address
        if kind == "etcd":
            return await self._etcd_votes(task)
        if kind == "kube-apiserver":
            return await self._api_ready(address)
        if kind == "kube-proxy":
            return await self._answers(f"http://{address}:{node_network.PROXY_HEALTH_PORT}/healthz")
        if kind == "coredns":
            return await self._answers(f"http://{address}:{node_network.DNS_READY_PORT}/ready")
        api = self._servers.choose(api_addresses(peers))
        if api is None:
            return _not_yet("kube-apiserver does not run")
        try:
            return await self._through_api(task, api)
        except ApiError as error:
            if not error.status:
                self._servers.silent(api)
            raise

    async def _through_api(self, task: RunningTask, address: str) -> Readiness:
        kind = task.launch.spec.kind
        if kind in {"kube-controller-manager", "kube-scheduler"}:
            # Before the first add-on only a component itself may look at its lease.
            return await self._leads(task, self._api(address, f"system:{kind}"))
        if kind == "kubelet":
            return await self._node(task, self._api(address))
        if kind.startswith(KIND_PREFIX):
            return await self._addon(kind, self._api(address))
        return _not_yet(f"nobody knows how to ask a {kind}")

    async def _etcd_votes(self, task: RunningTask) -> Readiness:
        """A member is ready when it votes, and a quorum answers through it."""
        launch = task.launch
        address = launch.place.address
        membership = await self._membership.readiness(launch.pod_instance, address)
        if not membership.ready:
            return membership
        reply = await self._etcd().get(f"{client_url(address)}/health", timeout=5.0)
        if reply.status_code == 200 and reply.json().get("health") == "true":
            return _READY
        return _not_yet(f"etcd says {reply.text.strip()[:200]}")

    async def _api_ready(self, address: str) -> Readiness:
        try:
            await self._api(address).get("/readyz?verbose")
        except ApiError as error:
            if not error.status:
                raise
            failed = [line for line in str(error).splitlines() if "[-]" in line]
            return _not_yet("; ".join(failed) or str(error)[:300])
        return _READY

    async def _answers(self, url: str) -> Readiness:
        reply = await self._plain.get(url, timeout=5.0)
        if reply.status_code == 200:
            return _READY
        return _not_yet(f"{url}: {reply.status_code} {reply.text.strip()[:200]}")

    async def _leads(self, task: RunningTask, api: KubeApi) -> Readiness:
        try:
            lease = await api.get(f"{_LEASES}/{task.launch.spec.kind}")
        except ApiError as error:
            if error.status == 404:
                return _not_yet("nobody holds the lease yet")
            raise
        grants, launch, now = self._grants(), task.launch, self._clock.time()
        own = judge_lease(lease, grants.get(launch.task_id), now)
        others = [
            grant
            for grant in grants.values()
            if grant.pod == launch.pod and grant.index != launch.index
        ]
        if own.ready or not others:
            return own
        return judge_standby(lease, others, task.healthy, now)

    async def _node(self, task: RunningTask, api: KubeApi) -> Readiness:
        task_id = task.launch.task_id
        grant = self._grants().get(task_id)
        if grant is None or not grant.used_at:
            return _not_yet("the task has not asked for its keys yet")
        await self._approver.look(api)
        try:
            node = await api.get(f"/api/v1/nodes/{grant.node}")
        except ApiError as error:
            if error.status == 404:
                return _not_yet(f"node {grant.node} has not registered yet")
            raise
        readiness = node_readiness.judge_node(node, task.launch.spec)
        if not readiness.ready or task_id in self._ran_pod:
            return readiness
        return await self._pod_runs(task_id, grant.node, api)

    async def _pod_runs(self, task_id: str, node: str, api: KubeApi) -> Readiness:
        path = f"{node_readiness.PODS}/{node_readiness.probe_pod_name(task_id)}"
        try:
            pod = await api.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            body = node_readiness.probe_pod(task_id, node, self._options)
            pod = await api.post(node_readiness.PODS, body)
        readiness = node_readiness.judge_pod(pod)
        if readiness.ready:
            await api.delete(path)
            self._ran_pod.add(task_id)
        elif pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}:
            await api.delete(path)
        return readiness

    async def _addon(self, kind: str, api: KubeApi) -> Readiness:
        for witness in addon_readiness.WITNESSES[kind]:
            try:
                seen = await api.get(witness.path)
            except ApiError as error:
                if error.status in {403, 404}:
                    return _not_yet(f"{witness.path.rpartition('/')[2]} is not there yet")
                raise
            readiness = addon_readiness.judge(witness, seen)
            if not readiness.ready:
                return readiness
        return _READY


def api_addresses(peers: Sequence[RunningTask]) -> tuple[str, ...]:
    """Addresses of kube-apiservers that run."""
    return tuple(
        peer.launch.place.address for peer in peers if peer.launch.spec.kind == "kube-apiserver"
    )


def api_url_at(address: str) -> str:
    """URL of kube-apiserver at an agent's address."""
    return f"https://{address}:{API_PORT}"
