"""Who is let in without a name: nobody, except to ask about health."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from .inventory import Inventory
from .kubernetes import Kubernetes
from .mesos import Mesos

NO_ANSWER = "000"
KUBELET, KUBELET_READ_ONLY = 10250, 10255
LOOPBACK_ONLY = {"kube-scheduler": 10259, "kube-controller-manager": 10257}


def status(host: Host, url: str) -> str:
    """HTTP status of a request that shows no certificate and no token."""
    return str(
        host.run(f"curl -sk -o /dev/null -w '%{{http_code}}' --max-time 10 {url}").stdout.strip()
    )


@pytest.fixture
def asker(hosts: dict[str, Host], inventory: Inventory) -> Host:
    """Some other host of the cluster."""
    return hosts[inventory.of("masters")[0]]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_health_is_for_everybody(asker: Host, kubernetes: Kubernetes, path: str) -> None:
    assert status(asker, kubernetes.server + path) == "200"


@pytest.mark.parametrize(
    "path", ["/", "/api", "/apis", "/version", "/metrics", "/openapi/v3", "/api/v1/secrets"]
)
def test_everything_else_asks_for_a_name(asker: Host, kubernetes: Kubernetes, path: str) -> None:
    assert status(asker, kubernetes.server + path) == "401"


def test_kubelets_ask_for_a_name_and_have_no_open_port(
    asker: Host, kubernetes: Kubernetes, inventory: Inventory
) -> None:
    for node in kubernetes.nodes().values():
        address = inventory.address(kubernetes.node_host(node))
        assert status(asker, f"https://{address}:{KUBELET}/pods") == "401"
        assert status(asker, f"http://{address}:{KUBELET_READ_ONLY}/pods") == NO_ANSWER


def test_etcd_wants_a_certificate(
    asker: Host, kubernetes: Kubernetes, mesos: Mesos, inventory: Inventory
) -> None:
    for task in mesos.running(kubernetes.name, "etcd"):
        address = inventory.address(mesos.agent_hosts[task["slave_id"]])
        assert status(asker, f"https://{address}:2379/health") == NO_ANSWER
        assert status(asker, f"http://{address}:2379/health") != "200"


@pytest.mark.parametrize("kind", LOOPBACK_ONLY)
def test_what_nobody_needs_from_outside_is_not_reachable(
    asker: Host, kubernetes: Kubernetes, mesos: Mesos, inventory: Inventory, kind: str
) -> None:
    for task in mesos.running(kubernetes.name, kind):
        address = inventory.address(mesos.agent_hosts[task["slave_id"]])
        assert status(asker, f"https://{address}:{LOOPBACK_ONLY[kind]}/healthz") == NO_ANSWER
