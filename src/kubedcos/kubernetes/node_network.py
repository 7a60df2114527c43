"""What stands beside each kubelet: kube-proxy, and a CoreDNS that pods ask."""

from __future__ import annotations

from typing import Any

from kubedcos.kubernetes import launcher
from kubedcos.kubernetes.control_plane import client
from kubedcos.kubernetes.payload import File, Payload, private
from kubedcos.kubernetes.recipe import (
    NODE_API_PORT,
    Recipe,
    Situation,
    json_file,
    kubeconfig_file,
    node_api_url,
    yaml_file,
)
from kubedcos.kubernetes.vault import Ca

PROXY_HEALTH_PORT = 10256
PROXY_METRICS_PORT = 10249
DNS_READY_PORT = 9353
DNS_HEALTH_PORT = 9354
DNS_METRICS_PORT = 9253
_STOP_SECONDS = 5.0


def _supervised(
    at: Situation,
    run: list[str],
    *,
    before: list[list[str]],
    after: list[list[str]],
    files: tuple[File, ...],
    wait_for: tuple[tuple[str, int], ...] = (),
) -> Payload:
    spec = {"run": run, "before": before, "after": after, "stop_seconds": _STOP_SECONDS}
    return Payload(
        argv=("/usr/bin/python3", "-I", private("supervise.py"), private("supervise.json")),
        files=(
            *files,
            json_file("supervise.json", spec),
            File("supervise.py", launcher.source("supervise.py").decode()),
        ),
        environment=at.go_environment(),
        wait_for=wait_for,
    )


# --- kube-proxy ----------------------------------------------------------------------------------


def proxy_config(at: Situation) -> dict[str, Any]:
    """KubeProxyConfiguration: nftables, and hands off what is the host's."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": at.place.address,
        "clientConnection": {"kubeconfig": private("kubeconfig")},
        "clusterCIDR": at.options.network.pod_cidr,
        "detectLocalMode": "ClusterCIDR",
        # Zero leaves the host's connection tracking as it is.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "healthzBindAddress": f"0.0.0.0:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS_PORT}",
    }


def _proxy_payload(at: Situation) -> Payload:
    run = [at.binary("kube-proxy"), f"--config={private('proxy.yaml')}"]
    return _supervised(
        at,
        run,
        before=[],
        after=[[*run, "--cleanup"]],
        files=(
            at.ca_file(Ca.CLUSTER),
            kubeconfig_file("kubeconfig", node_api_url(), "client"),
            yaml_file("proxy.yaml", proxy_config(at)),
        ),
        wait_for=(("127.0.0.1", NODE_API_PORT),),
    )


PROXY = Recipe(
    "kube-proxy",
    ("kube-proxy",),
    _proxy_payload,
    {"client": lambda _: client("system:kube-proxy")},
)


# --- CoreDNS on the node -------------------------------------------------------------------------


def corefile(at: Situation) -> str:
    """Names of the cluster are asked of the cluster, all others of the host's resolver."""
    network = at.options.network
    zones = f"{network.cluster_domain} {network.service_cidr} {network.pod_cidr}"
    return f"""\
{zones} {{
    bind {network.node_dns}
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    forward . {at.options.dns_service_address}
    prometheus 127.0.0.1:{DNS_METRICS_PORT}
}}
. {{
    bind {network.node_dns}
    errors
    cache 30
    forward . {network.host_dns}
    ready {at.place.address}:{DNS_READY_PORT}
    health 127.0.0.1:{DNS_HEALTH_PORT}
    prometheus 127.0.0.1:{DNS_METRICS_PORT}
}}
"""


def _dns_payload(at: Situation) -> Payload:
    address = f"{at.options.network.node_dns}/32"
    return _supervised(
        at,
        [at.binary("coredns"), "-conf", private("Corefile")],
        before=[["ip", "address", "replace", address, "dev", "lo"]],
        after=[["ip", "address", "del", address, "dev", "lo"]],
        files=(File("Corefile", corefile(at)),),
    )


DNS = Recipe("coredns", ("coredns",), _dns_payload, {})
