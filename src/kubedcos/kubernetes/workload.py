"""A Kubernetes cluster as the scheduler sees it: `Workload`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from kubedcos.clock import Clock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.lineage import Lineage
from kubedcos.config.pools import is_node_pod
from kubedcos.errors import InvalidInput, Problem
from kubedcos.kubernetes import components, etcd, eviction_check, kubeconfig, launcher
from kubedcos.kubernetes.api_servers import ApiServers
from kubedcos.kubernetes.approval import NodeClaim
from kubedcos.kubernetes.approver import Approver
from kubedcos.kubernetes.artifact_index import ArtifactIndex
from kubedcos.kubernetes.delivery import Delivery, SandboxReader
from kubedcos.kubernetes.etcd_membership import Applicant, EtcdMembership, Seat
from kubedcos.kubernetes.eviction_check import Contents
from kubedcos.kubernetes.grants import Grant, Grants, new_grant
from kubedcos.kubernetes.kube_api import ApiError, KubeApi
from kubedcos.kubernetes.leaving import Leaving
from kubedcos.kubernetes.logins import Logins
from kubedcos.kubernetes.payload import File, MaterialRequest
from kubedcos.kubernetes.pki import request_public_key
from kubedcos.kubernetes.probes import Probes, api_addresses, api_url_at
from kubedcos.kubernetes.recipe import Recipe, Situation, api_host
from kubedcos.kubernetes.vault import Vault
from kubedcos.model.service import ServiceSpec, TaskSpec
from kubedcos.scheduler.workload import Command, Departure, Launch, Readiness, RunningTask, Uri

_VERSIONED = frozenset(
    {
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
    }
)


@dataclass(frozen=True, slots=True)
class ApiEndpoint:
    """Where tasks ask for their key material.

    Attributes:
        urls: of all framework schedulers; whichever leads answers.
        ca_pem: certificate of the authority that signed theirs; public.
        front: ``HOST:PORT`` where people reach the clusters' API servers, wherever these run;
            empty without.
    """

    urls: tuple[str, ...]
    ca_pem: str
    front: str = ""

    @property
    def fronts(self) -> tuple[str, ...]:
        """Hosts that may have a front: the one for kubeconfigs, and those of all schedulers."""
        if not self.front:
            return ()
        hosts = [urlsplit(url).hostname or "" for url in (f"https://{self.front}", *self.urls)]
        return tuple(dict.fromkeys(host for host in hosts if host))


class KubernetesWorkload:
    """One cluster.

    Args:
        options: the cluster's options.
        vault: its secrets, and the store of grants.
        index: what the artefact server has.
        endpoint: where tasks ask for their material.
        reader: looks into sandboxes.
        clock: for dates of certificates and grants.
        alarm: told task id and reason when a task's keys may be in wrong hands: end the task.
        logins: how the scheduler itself logs in to the cluster.
        plain: client for health without login.
        lineage: configurations that the cluster had; None for a new one.

    Raises:
        InvalidInput: the artefact server lacks something that the cluster needs.
    """

    def __init__(
        self,
        *,
        options: ClusterOptions,
        vault: Vault,
        index: ArtifactIndex,
        endpoint: ApiEndpoint,
        reader: SandboxReader,
        clock: Clock,
        alarm: Callable[[str, str], None],
        logins: Logins | None = None,
        plain: httpx2.AsyncClient | None = None,
        lineage: Lineage | None = None,
    ) -> None:
        self.options = options
        self._vault = vault
        self._index = index
        self._endpoint = endpoint
        self._clock = clock
        self._spec = components.service(options, lineage)
        self._grants = Grants(vault.store)
        self._logins = logins or Logins(vault, clock)
        self._plain = plain or httpx2.AsyncClient(trust_env=False)
        self._api_at: tuple[str, ...] = ()
        self._servers = ApiServers(clock)
        self._approver = Approver(self._claims, clock)
        self.etcd = EtcdMembership(
            vault.store, self._logins.etcd, self._etcd_addresses, self._beyond_etcd
        )
        self.delivery = Delivery(self._grants, self._material, reader, clock, alarm)
        self._probes = Probes(
            options=options,
            etcd=self._logins.etcd,
            membership=self.etcd,
            api=self._logins.api,
            plain=self._plain,
            approver=self._approver,
            servers=self._servers,
            grants=lambda: self._grants.all,
            clock=clock,
        )
        self._leaving = Leaving(
            kinds={pod.name: {task.kind for task in pod.tasks} for pod in self._spec.pods},
            members=self.etcd.members,
            established=lambda: self.etcd.established,
            api=self._connect,
            claims=self._claims,
            drain_timeout=float(options.recovery.drain_timeout),
            clock=clock,
        )
        for pod in self._spec.pods:
            for task in pod.tasks:
                self._binaries(components.RECIPES[task.kind])

    @property
    def spec(self) -> ServiceSpec:
        """The service to run."""
        return self._spec

    def command(self, launch: Launch, peers: Sequence[RunningTask]) -> Command:
        """The command of a task: fetch, check, start the launcher. Nothing of it is secret.

        Raises:
            InvalidInput: the agent's address is unknown.
        """
        place = launch.place
        if not place.address:
            problem = Problem(
                f"agent {place.hostname}", "no address", "an agent whose offers have a URL"
            )
            raise InvalidInput([problem])
        running = tuple(
            peer.launch.place.address for peer in peers if peer.launch.spec.kind == "etcd"
        )
        # While all of etcd is being restarted: where it was last.
        members = running or tuple(self.etcd.record.addresses.values())
        self._grants.put(new_grant(launch, members, self._clock.time()))
        recipe = components.RECIPES[launch.spec.kind]
        fetched, all_sums = self._binaries(recipe)
        launcher_sum = launcher.sha256()
        uris = (
            Uri(
                self._index.link(launcher_sum, launcher.FETCHED_NAME),
                output_file=launcher.FETCHED_NAME,
            ),
            *fetched,
        )
        return Command(  # noqa: S604  Mesos' shell; every part is ours
            shell=(
                f"echo '{launcher_sum}  {launcher.FETCHED_NAME}' | sha256sum --check --status && "
                f"exec /usr/bin/python3 -I {launcher.FETCHED_NAME}"
            ),
            uris=uris,
            environment={
                "KUBEDCOS_TASK": launch.task_id,
                "KUBEDCOS_API": ",".join(self._endpoint.urls),
                "KUBEDCOS_CA": self._endpoint.ca_pem,
                "KUBEDCOS_BINARIES": ",".join(f"{path}={sum_}" for path, sum_ in all_sums.items()),
                "KUBEDCOS_KEYS": ",".join(recipe.keys),
                "KUBEDCOS_VOLUMES": ",".join(f"{n}={at}" for n, at in launch.volumes.items()),
            },
            labels={
                "kubedcos/cluster": self.options.name,
                "kubedcos/version": self.options.version,
            },
        )

    async def probe(self, task: RunningTask, peers: Sequence[RunningTask]) -> Readiness:
        """Ask the component itself."""
        self._api_at = api_addresses(peers) or self._api_at
        return await self._probes.probe(task, peers)

    async def may_stop(self, departure: Departure, _peers: Sequence[RunningTask]) -> Readiness:
        """Members of etcd say whether they can do without one of them."""
        return await self._leaving.may_stop(departure)

    async def prepare_departure(
        self, departure: Departure, _peers: Sequence[RunningTask]
    ) -> Readiness:
        """A member leaves etcd; a node is cordoned and drained."""
        return await self._leaving.prepare(departure)

    async def finish_departure(
        self, departure: Departure, _peers: Sequence[RunningTask]
    ) -> Readiness:
        """A node that is no more is deleted."""
        return await self._leaving.finish(departure)

    def task_ended(self, task_id: str) -> None:
        """Withdraw the task's grant: it can neither ask for keys nor be a node any more."""
        self._grants.withdraw(task_id)
        self._probes.forget(task_id)

    def kubeconfig(self, user: str = "admin") -> str:
        """A kubeconfig for an administrator; with a front it leads there.

        Raises:
            InvalidInput: kube-apiserver has not been started yet.
        """
        address = self._api_address()
        if address is None:
            problem = Problem(
                f"cluster {self.options.name}", "no kube-apiserver", "one that was started"
            )
            raise InvalidInput([problem])
        front = self._endpoint.front
        return kubeconfig.admin_kubeconfig(
            self._vault,
            self.options.name,
            f"https://{front}" if front else api_url_at(address),
            self._clock.time(),
            user,
            tls_server_name=api_host(self.options) if front else "",
        )

    async def objections_to_leaving(self, instances: Sequence[str]) -> list[Problem]:
        """What speaks against taking these nodes away; none while there is no API to ask."""
        nodes = {
            grant.node
            for grant in self._grants.all.values()
            if grant.node and grant.pod_instance in set(instances)
        }
        api = self._connect()
        if api is None or not nodes:
            return []
        try:
            contents = await _contents(api)
        except ApiError as error:
            wanted = "an answer of what is on these nodes"
            fix = "--force removes them without asking."
            return [Problem("Kubernetes", str(error), wanted, id="scale-down-unknown", fix=fix)]
        return eviction_check.objections(nodes, contents)

    async def run(self) -> None:
        """What goes on beside staging, for ever: approve renewals of kubelets' certificates."""
        await self._approver.run(self._connect)

    async def close(self) -> None:
        """Close all connections."""
        await self._logins.close()
        await self._plain.aclose()

    # --- inside -----------------------------------------------------------------------------------

    def _etcd_addresses(self) -> tuple[str, ...]:
        """Addresses of the agents of etcd's tasks that have not ended."""
        grants = self._grants.all.values()
        return tuple(sorted({g.place.address for g in grants if g.pod == "etcd"}))

    def _beyond_etcd(self) -> bool:
        """Whether anything that needs etcd runs, and so etcd has been there before it."""
        return any(grant.pod != "etcd" and grant.used_at for grant in self._grants.all.values())

    def _api_address(self) -> str | None:
        """Where a kube-apiserver is: grants say so, also after a restart of this program."""
        grants = self._grants.all.values()
        known = [grant.place.address for grant in grants if grant.pod == "kube-apiserver"]
        return self._servers.choose(known or self._api_at)

    def _connect(self) -> KubeApi | None:
        address = self._api_address()
        if address is None:
            return None
        return self._logins.api(address).reporting(lambda: self._servers.silent(address))

    def _claims(self) -> list[NodeClaim]:
        return [
            NodeClaim(grant.task_id, grant.node, grant.place.address)
            for grant in self._grants.all.values()
            if is_node_pod(grant.pod) and grant.task == "kubelet" and grant.node
        ]

    def _binaries(self, recipe: Recipe) -> tuple[list[Uri], dict[str, str]]:
        """What Mesos fetches, and the sums of everything that the launcher checks."""
        uris, sums = [], {}
        for name in recipe.binaries:
            artifact = self._index.find(name, self._version(name))
            link = self._index.link(artifact.sha256, artifact.filename)
            uris.append(Uri(link, output_file=name, executable=True))
            sums[name] = artifact.sha256
        for name in recipe.host_binaries:
            path = f"{self.options.node.runtime_dir}/{name}"
            sums[path] = self._index.find(name).sha256
        return uris, sums

    def _version(self, name: str) -> str:
        return self.options.version if name in _VERSIONED else ""

    async def _material(self, grant: Grant, request: MaterialRequest) -> Mapping[str, Any]:
        """The reply to a request that was found good.

        Raises:
            InvalidInput: keys that the task should not have, or a host that is a node already.
            NotReady: etcd cannot take a member in now.
        """
        spec = self._task(grant)
        recipe = components.RECIPES[spec.kind]
        if set(request.requests) != set(recipe.keys):
            problem = Problem(
                "requests", ", ".join(sorted(request.requests)), ", ".join(sorted(recipe.keys))
            )
            raise InvalidInput([problem])
        if spec.kind == "kubelet":
            self._refuse_namesake(grant, request.facts.hostname)
        situation = Situation(
            options=self.options,
            vault=self._vault,
            task=spec,
            task_id=grant.task_id,
            pod_instance=grant.pod_instance,
            place=grant.agent,
            volumes=grant.volumes,
            etcd=grant.etcd,
            facts=request.facts,
            seat=await self._seat(grant, request) if spec.kind == "etcd" else None,
            fronts=self._endpoint.fronts,
        )
        payload = recipe.payload(situation).as_json()
        now = self._clock.time()
        for name, csr in request.requests.items():
            signing = recipe.keys[name](situation)
            key = request_public_key(csr.encode(), f"requests.{name}")
            certificate = self._vault.authority(signing.ca).issue(key, signing.profile, now)
            file = File(f"{name}.crt", certificate.decode())
            payload["files"].append({"path": file.path, "text": file.text, "mode": file.mode})
        return payload

    async def _seat(self, grant: Grant, request: MaterialRequest) -> Seat:
        contents = request.facts.volumes.get(etcd.VOLUME, ())
        applicant = Applicant(grant.pod_instance, grant.place.address, frozenset(contents))
        return await self.etcd.seat(applicant)

    def _refuse_namesake(self, grant: Grant, hostname: str) -> None:
        for claim in self._claims():
            if claim.node == hostname and claim.task_id != grant.task_id:
                wanted = "host names that differ: a node is called as its host"
                problem = Problem(f"agent {grant.place.address}", f"host name {hostname}", wanted)
                raise InvalidInput([problem])

    def _task(self, grant: Grant) -> TaskSpec:
        """The task's specification; an update may have taken it away since the launch."""
        for pod in self._spec.pods:
            for task in pod.tasks:
                if (pod.name, task.name) == (grant.pod, grant.task):
                    return task
        wanted = "a task that the cluster's options ask for"
        problem = Problem("task", f"{grant.task} of {grant.pod_instance}", wanted, id="task-gone")
        raise InvalidInput([problem])


async def _contents(api: KubeApi) -> Contents:
    """What a cluster holds, for `eviction_check`.

    Raises:
        ApiError: the API refused or did not answer.
    """
    lists = [
        (await api.get(path)).get("items", ())
        for path in (
            "/api/v1/nodes",
            "/api/v1/pods",
            "/apis/policy/v1/poddisruptionbudgets",
        )
    ]
    return Contents(*lists)
