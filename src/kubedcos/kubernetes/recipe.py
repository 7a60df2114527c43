"""How one kind of task is made: what it fetches, which keys it needs, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.pools import Pool
from kubedcos.kubernetes.etcd_membership import CLIENT_PORT, Seat
from kubedcos.kubernetes.payload import Facts, File, Payload, private
from kubedcos.kubernetes.pki import Profile
from kubedcos.kubernetes.vault import Ca, Vault
from kubedcos.model.service import TaskSpec
from kubedcos.scheduler.workload import AgentPlace

API_PORT = 6443
NODE_API_PORT = 6444
"""Where a node's balancer listens, at the loopback address."""
ETCD_PORT = CLIENT_PORT
CIPHER_SUITES = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)
"""For TLS 1.2; those of TLS 1.3 are fixed and all allowed."""
CLUSTER_CA = private("cluster-ca.crt")


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a task's material may depend on.

    Attributes:
        task: the task's specification.
        task_id: Mesos task id.
        pod_instance: such as ``kube-node-2``.
        place: the agent it runs on.
        volumes: volume names to paths relative to the sandbox.
        etcd: addresses of etcd's members.
        facts: what its launcher found.
        seat: for etcd: how it is to start as a member.
        fronts: names and addresses of hosts through which people reach API servers.
    """

    options: ClusterOptions
    vault: Vault
    task: TaskSpec
    task_id: str
    pod_instance: str
    place: AgentPlace
    volumes: Mapping[str, str]
    etcd: tuple[str, ...]
    facts: Facts
    seat: Seat | None = None
    fronts: tuple[str, ...] = ()

    @property
    def pool(self) -> Pool:
        """The node pool of a node's task.

        Raises:
            KeyError: the pool was removed.
        """
        return self.options.pools[self.pod_instance.rpartition("-")[0]]

    @property
    def region_and_zone(self) -> tuple[str, str]:
        """Fault domain of the agent."""
        return self.place.region, self.place.zone

    def binary(self, name: str) -> str:
        """Absolute path of a fetched program."""
        return f"{self.facts.sandbox}/{name}"

    def volume(self, name: str) -> str:
        """Absolute path of a persistent volume."""
        return str(PurePosixPath(self.facts.sandbox) / self.volumes[name])

    def ca_file(self, ca: Ca) -> File:
        """The certificate of an authority, as ``cluster-ca.crt`` and so on."""
        return File(f"{ca}-ca.crt", self.vault.authority(ca).certificate_pem.decode())

    def go_environment(self) -> dict[str, str]:
        """What Go's runtime has to know, because the cgroup tells it something else or too late.

        Its garbage collector is told what Mesos granted before the kernel does. Processor time is
        limited to more than any host has (`translate.task_info`): CoreDNS, which believes that
        without looking at the host, would make 10,000 threads' worth of caches.
        """
        return {
            "GOMEMLIMIT": f"{self.task.mem_mb * 85 // 100}MiB",
            "GOMAXPROCS": str(self.facts.cpus),
        }


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs a key of a task, and what the certificate says."""

    ca: Ca
    profile: Profile


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of task is made.

    Attributes:
        kind: as in `TaskSpec.kind`.
        binaries: artefacts that Mesos fetches into the sandbox.
        host_binaries: artefacts that the host has in ``node.runtime_dir``; verified, not fetched.
        keys: for each private key that the launcher makes, who signs what.
        payload: everything else; certificates are added as ``NAME.crt``.
    """

    kind: str
    binaries: tuple[str, ...]
    payload: Callable[[Situation], Payload]
    keys: Mapping[str, Callable[[Situation], Signing]]
    host_binaries: tuple[str, ...] = ()


def api_host(options: ClusterOptions) -> str:
    """DNS name under which Mesos-DNS has kube-apiserver, wherever it runs."""
    return f"apiserver.{options.name}.{options.mesos.domain}"


def api_url(options: ClusterOptions) -> str:
    """kube-apiserver's URL for what runs on an agent and is not part of a node."""
    return f"https://{api_host(options)}:{API_PORT}"


def node_api_url() -> str:
    """kube-apiserver's URL for everything that is part of a node: its own balancer."""
    return f"https://127.0.0.1:{NODE_API_PORT}"


def etcd_host(options: ClusterOptions, pod_instance: str) -> str:
    """DNS name under which Mesos-DNS has a member of etcd, wherever it runs."""
    return f"{pod_instance}.{options.name}.{options.mesos.domain}"


def flags(values: Mapping[str, object]) -> tuple[str, ...]:
    """``--name=value`` for each; lists are joined by commas, booleans are lower case."""
    return tuple(f"--{name}={_flag(value)}" for name, value in values.items())


def _flag(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def kubeconfig_file(path: str, server: str, key: str) -> File:
    """A kubeconfig that logs in with ``KEY.crt`` and ``KEY.key`` of the private place."""
    user = {"client-certificate": private(f"{key}.crt"), "client-key": private(f"{key}.key")}
    return yaml_file(
        path,
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "c", "cluster": {"server": server, "certificate-authority": CLUSTER_CA}}
            ],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        },
    )


def yaml_file(path: str, content: Any) -> File:
    """A YAML file."""
    return File(path, yaml.safe_dump(content, sort_keys=False))


def json_file(path: str, content: Any) -> File:
    """A JSON file."""
    return File(path, json.dumps(content, indent=1))
