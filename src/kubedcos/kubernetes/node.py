"""Nodes: the kubelet's task, which brings a containerd of its own."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from kubedcos.config.pools import DEFAULT_POOL, NODE_POD
from kubedcos.kubernetes import launcher
from kubedcos.kubernetes.payload import File, Payload, private
from kubedcos.kubernetes.pki import HOUR, Profile
from kubedcos.kubernetes.recipe import (
    API_PORT,
    CIPHER_SUITES,
    CLUSTER_CA,
    NODE_API_PORT,
    Recipe,
    Signing,
    Situation,
    api_host,
    json_file,
    kubeconfig_file,
    node_api_url,
)
from kubedcos.kubernetes.vault import Ca

KUBELET_PORT = 10250
HEALTH_PORT = 10248
BOOTSTRAP_GROUP = "system:bootstrappers:kubedcos"
SOCKET = "/run/containerd/containerd.sock"
STOP_SECONDS = 10.0
"""How long pods may take to end when the node's task is told to."""
KILL_GRACE = 30.0
_MEBIBYTE = 1 << 20
_DISK_RESERVE = 500 * _MEBIBYTE
"""Pods are evicted when less than this is free where images and logs lie."""
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def bootstrap_user(task_id: str) -> str:
    """User as whom a kubelet's task asks for its first certificate; names have 64 characters."""
    return f"kubedcos:bootstrap:{hashlib.sha256(task_id.encode()).hexdigest()[:32]}"


def data_folder(cluster: str) -> str:
    """Where hosts keep a cluster's images and logs; a node that comes again finds its images."""
    return f"/var/lib/kubedcos/{cluster}"


def allocatable(at: Situation) -> dict[str, int]:
    """What a node offers to pods: CPUs in thousandths, memory and disk in bytes: the grant."""
    return {
        "cpu_milli": round(at.task.cpus * 1000),
        "memory": at.task.mem_mb * _MEBIBYTE,
        "ephemeral-storage": at.task.disk_mb * _MEBIBYTE,
    }


def reserved(at: Situation) -> dict[str, str]:
    """Machine minus grant: the kubelet sees the whole machine and must offer its part only."""
    grant = allocatable(at)
    disk = at.facts.disk_bytes - grant["ephemeral-storage"] - _DISK_RESERVE
    return {
        "cpu": f"{max(0, at.facts.cpus * 1000 - grant['cpu_milli'])}m",
        "memory": str(max(0, at.facts.mem_kb * 1024 - grant["memory"])),
        "ephemeral-storage": str(max(0, disk)),
    }


def kubelet_config(at: Situation) -> dict[str, Any]:
    """KubeletConfiguration; the supervisor adds ``cgroupRoot``."""
    pool = at.pool
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": at.place.address,
        "port": KUBELET_PORT,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": HEALTH_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": CLUSTER_CA},
        },
        "authorization": {"mode": "Webhook"},
        "rotateCertificates": True,
        "serverTLSBootstrap": True,
        "tlsMinVersion": "VersionTLS12",
        "tlsCipherSuites": list(CIPHER_SUITES),
        "clusterDNS": [at.options.network.node_dns],
        "clusterDomain": at.options.network.cluster_domain,
        "resolvConf": private("resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": True,
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "kubeReserved": reserved(at),
        "evictionHard": {
            "nodefs.available": str(_DISK_RESERVE),
            "nodefs.inodesFree": "2%",
            "imagefs.available": str(_DISK_RESERVE),
        },
        "maxPods": pool.max_pods,
        "podPidsLimit": pool.pod_pids_limit,
        **({"registerWithTaints": list(map(_taint, pool.taints))} if pool.taints else {}),
        "seccompDefault": True,
        "protectKernelDefaults": True,
        "makeIPTablesUtilChains": True,
        "eventRecordQPS": 50,
        "streamingConnectionIdleTimeout": "4h0m0s",
        "serializeImagePulls": False,
        "maxParallelImagePulls": 3,
    }


def containerd_config(at: Situation) -> str:
    """Containerd's configuration, version 3.

    Plugins that write outside its own folders or that the node does not use are off.
    """
    node = at.options.node
    restrict = str(not at.facts.may_raise_priority).lower()
    runtime = "io.containerd.cri.v1.runtime"
    return f"""\
version = 3
root = "{data_folder(at.options.name)}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]

[grpc]
  address = "{SOCKET}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{at.options.artifacts.sandbox_image}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{node.registry_mirrors_dir}"

[plugins."{runtime}"]
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  [plugins."{runtime}".cni]
    bin_dirs = ["{node.cni_bin_dir}"]
    conf_dir = "{at.options.cni_conf_dir}"
  [plugins."{runtime}".containerd]
    default_runtime_name = "runc"
    [plugins."{runtime}".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."{runtime}".containerd.runtimes.runc.options]
        BinaryName = "{node.runtime_dir}/runc"
        SystemdCgroup = false
"""


def node_labels(at: Situation) -> dict[str, str]:
    """Where the node is and its pool's own labels; values that cannot be labels are left out."""
    region, zone = at.region_and_zone
    pod = at.pod_instance.rpartition("-")[0]
    own = {
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": zone,
        "kubedcos/agent-id": at.place.agent_id,
        "kubedcos/pod-instance": at.pod_instance,
        "kubedcos/node-pool": pod.removeprefix(NODE_POD).removeprefix("-") or DEFAULT_POOL,
    }
    known = {name: value for name, value in own.items() if _LABEL_VALUE.fullmatch(value)}
    return dict(sorted(at.pool.labels.items())) | known


def _taint(text: str) -> dict[str, str]:
    """``gpu=true:NoSchedule`` as the kubelet's configuration has it."""
    head, _, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    return (
        {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}
    )


def balancer_config(at: Situation) -> dict[str, Any]:
    """What the node's balancer is told; see ``launcher/balance.py``."""
    return {
        "listen": ["127.0.0.1", NODE_API_PORT],
        "name": api_host(at.options),
        "port": API_PORT,
        "ca": CLUSTER_CA,
    }


def _payload(at: Situation) -> Payload:
    node = at.options.node
    labels = ",".join(f"{name}={value}" for name, value in node_labels(at).items())
    spec = {
        "data": data_folder(at.options.name),
        "cni_conf_dir": at.options.cni_conf_dir,
        "containerd": [f"{node.runtime_dir}/containerd", "--config", private("containerd.toml")],
        "socket": SOCKET,
        "balancer": [
            "/usr/bin/python3",
            "-I",
            private("balance.py"),
            private("balance.json"),
        ],
        "kubelet": [
            at.binary("kubelet"),
            f"--config={private('kubelet.json')}",
            f"--bootstrap-kubeconfig={private('bootstrap.kubeconfig')}",
            f"--kubeconfig={private('kubelet.kubeconfig')}",
            f"--cert-dir={private('kubelet-pki')}",
            f"--node-ip={at.place.address}",
            f"--node-labels={labels}",
        ],
        "kubelet_config": private("kubelet.json"),
        "stop_seconds": STOP_SECONDS,
    }
    return Payload(
        argv=("/usr/bin/python3", "-I", private("node"), private("node.json")),
        files=(
            at.ca_file(Ca.CLUSTER),
            kubeconfig_file("bootstrap.kubeconfig", node_api_url(), "bootstrap"),
            json_file("kubelet.json", kubelet_config(at)),
            File("containerd.toml", containerd_config(at)),
            # The host's resolver as pods can reach it: not at the host's loopback address.
            File("resolv.conf", f"nameserver {at.place.address}\n"),
            json_file("node.json", spec),
            json_file("balance.json", balancer_config(at)),
            File("balance.py", launcher.source("balance.py").decode()),
            *(File(path, text) for path, text in _supervisor().items()),
        ),
        environment={"PATH": f"{node.runtime_dir}:/usr/sbin:/usr/bin:/sbin:/bin"},
        wait_for=((api_host(at.options), API_PORT),),
    )


def _supervisor() -> dict[str, str]:
    return launcher.runnable("node", "supervise_node.py", "node_cgroups.py")


def _bootstrap(at: Situation) -> Signing:
    """Good for one thing: to ask for a kubelet's certificate, within the hour."""
    profile = Profile(
        bootstrap_user(at.task_id),
        organizations=(BOOTSTRAP_GROUP,),
        client=True,
        lifetime=HOUR,
    )
    return Signing(Ca.CLUSTER, profile)


KUBELET = Recipe(
    "kubelet",
    ("kubelet",),
    _payload,
    {"bootstrap": _bootstrap},
    host_binaries=("containerd", "containerd-shim-runc-v2", "runc"),
)
