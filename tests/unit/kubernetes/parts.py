"""A cluster's parts, made quickly and without a network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from kubedcos.config import cluster
from kubedcos.config.cluster import ClusterOptions
from kubedcos.kubernetes import components, pki
from kubedcos.kubernetes.artifact_index import Artifact, ArtifactIndex
from kubedcos.kubernetes.delivery import SandboxUnreadable
from kubedcos.kubernetes.logins import Logins
from kubedcos.kubernetes.payload import Facts
from kubedcos.kubernetes.recipe import Situation
from kubedcos.kubernetes.vault import MemorySecretStore, SecretStore, Vault
from kubedcos.kubernetes.workload import ApiEndpoint, KubernetesWorkload
from kubedcos.model.service import TaskSpec
from kubedcos.scheduler.workload import AgentPlace, Launch, RunningTask

from .fake_etcd import FakeEtcd

NOW = 1_800_000_000.0
PLACE = AgentPlace("uuid-S1", "a1", "10.89.1.11", "dc-a", "a-1")
FACTS = Facts("a1", "/var/lib/mesos/sandbox", 4, 8_000_000, 50_000_000_000, False)


@dataclass
class FakeClock:
    now: float = NOW

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeSandboxes:
    """Files of sandboxes: (address, task id, name) to text."""

    files: dict[tuple[str, str, str], str] = field(default_factory=dict)
    reads: int = 0

    async def read(self, address: str, task_id: str, name: str) -> str:
        self.reads += 1
        try:
            return self.files[address, task_id, name]
        except KeyError:
            raise SandboxUnreadable("no such file") from None


def signing_request(name: str = "server") -> str:
    key = pki.new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def artifacts() -> ArtifactIndex:
    names = {
        name
        for recipe in components.RECIPES.values()
        for name in (*recipe.binaries, *recipe.host_binaries)
    }
    found = tuple(
        Artifact(
            name,
            "1.36.3" if name.startswith("kube") else "1",
            name,
            hashlib.sha256(name.encode()).hexdigest(),
        )
        for name in sorted(names)
    )
    return ArtifactIndex("http://boot:8080", found)


@dataclass
class Cluster:
    """A workload with everything around it under control."""

    workload: KubernetesWorkload
    vault: Vault
    clock: FakeClock
    sandboxes: FakeSandboxes
    alarms: list[tuple[str, str]]
    etcd: FakeEtcd

    def task(self, kind: str) -> tuple[str, TaskSpec]:
        for pod in self.workload.spec.pods:
            for task in pod.tasks:
                if task.kind == kind:
                    return pod.name, task
        raise KeyError(kind)

    def launch(
        self, kind: str, place: AgentPlace = PLACE, index: int = 0, run: str = "1"
    ) -> Launch:
        pod, task = self.task(kind)
        return Launch(
            task_id=f"{pod}-{index}-{task.name}__{run}",
            pod=pod,
            index=index,
            spec=task,
            place=place,
            ports={port.name: port.number for port in task.ports},
            volumes={volume.name: volume.container_path for volume in task.volumes},
        )

    def running(
        self,
        kind: str,
        place: AgentPlace = PLACE,
        index: int = 0,
        *,
        healthy: bool | None = None,
    ) -> RunningTask:
        launch = self.launch(kind, place, index)
        return RunningTask(launch, "TASK_RUNNING", healthy=healthy)

    def request(
        self, launch: Launch, *, volumes: dict[str, list[str]] | None = None, **changes: Any
    ) -> bytes:
        """The request that the launcher would send, with its proof in the sandbox."""
        keys = components.RECIPES[launch.spec.kind].keys
        content = {
            "task_id": launch.task_id,
            "nonce": hashlib.sha256(repr(changes).encode()).hexdigest(),
            "requests": {name: signing_request(name) for name in keys},
            "facts": {
                "hostname": launch.place.hostname,
                "sandbox": FACTS.sandbox,
                "cpus": FACTS.cpus,
                "mem_kb": FACTS.mem_kb,
                "disk_bytes": FACTS.disk_bytes,
                "may_raise_priority": FACTS.may_raise_priority,
                **({"volumes": volumes} if volumes is not None else {}),
            },
            **changes,
        }
        body = json.dumps(content).encode()
        self.prove(launch, body)
        return body

    def prove(self, launch: Launch, body: bytes) -> None:
        place = (launch.place.address, launch.task_id, "kubedcos-proof")
        self.sandboxes.files[place] = hashlib.sha256(body).hexdigest()


def make_cluster(
    text: str = "",
    store: SecretStore | None = None,
    clock: FakeClock | None = None,
    *,
    front: str = "",
    etcd: FakeEtcd | None = None,
) -> Cluster:
    clock = clock or FakeClock()
    options = cluster.load(text, "test")
    vault = Vault(store or MemorySecretStore(), options.name, clock)
    sandboxes, alarms = FakeSandboxes(), []
    found = etcd or FakeEtcd()
    workload = KubernetesWorkload(
        options=options,
        vault=vault,
        index=artifacts(),
        endpoint=ApiEndpoint(("https://10.89.1.10:8443",), "THE CA", front),
        reader=sandboxes,
        clock=clock,
        alarm=lambda task_id, reason: alarms.append((task_id, reason)),
        logins=Logins(vault, clock, lambda _: found.client),
    )
    return Cluster(workload, vault, clock, sandboxes, alarms, found)


def situation(kind: str, options: ClusterOptions, vault: Vault) -> Situation:
    """What the recipe of `kind` is given on agent a1."""
    for pod in components.service(options).pods:
        for task in pod.tasks:
            if task.kind == kind:
                return Situation(
                    options=options,
                    vault=vault,
                    task=task,
                    task_id=f"{pod.name}-0-{task.name}__1",
                    pod_instance=pod.instance(0),
                    place=PLACE,
                    volumes={volume.name: volume.container_path for volume in task.volumes},
                    etcd=("10.89.1.12",),
                    facts=FACTS,
                )
    raise KeyError(kind)
