"""The ways to the API: a node's own balancer, and the front for people."""

from __future__ import annotations

from urllib.parse import urlsplit

from testinfra.host import Host

from .inventory import Inventory
from .kubernetes import Kubernetes
from .mesos import Mesos
from .test_access import NO_ANSWER, status

BALANCER = 6444


def test_a_node_has_a_balancer_for_itself_alone(
    hosts: dict[str, Host], kubernetes: Kubernetes, inventory: Inventory
) -> None:
    for node in kubernetes.nodes().values():
        name = kubernetes.node_host(node)
        assert status(hosts[name], f"https://127.0.0.1:{BALANCER}/readyz") == "200"
        other = next(host for other, host in hosts.items() if other != name)
        address = inventory.address(name)
        assert status(other, f"https://{address}:{BALANCER}/readyz") == NO_ANSWER


def test_people_are_not_led_to_one_agent(
    kubernetes: Kubernetes, mesos: Mesos, inventory: Inventory
) -> None:
    """Whose loss would leave them with a kubeconfig that leads nowhere."""
    host = urlsplit(kubernetes.server).hostname
    agents = {
        inventory.address(mesos.agent_hosts[task["slave_id"]])
        for task in mesos.running(kubernetes.name, "kube-apiserver")
    }
    masters = {inventory.address(name) for name in inventory.of("masters")}
    assert host not in agents - masters


def test_the_front_serves_clusters_and_nothing_else(
    hosts: dict[str, Host], inventory: Inventory, kubernetes: Kubernetes
) -> None:
    asker = hosts[inventory.of("agents")[0]]
    place = urlsplit(kubernetes.server)
    named = f"apiserver.{kubernetes.name}.mesos"
    connect = f"--connect-to {named}:443:{place.hostname}:{place.port}"
    code = "curl -sk -o /dev/null -w '%{http_code}' --max-time 10"
    assert asker.run(f"{code} {connect} https://{named}/readyz").stdout.strip() == "200"
    wrong = "bootstrap.kubedcos"
    connect = f"--connect-to {wrong}:443:{place.hostname}:{place.port}"
    assert asker.run(f"{code} {connect} https://{wrong}/readyz").stdout.strip() == NO_ANSWER
