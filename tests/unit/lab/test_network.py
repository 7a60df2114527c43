from typing import Any

from tests.unit.lab.test_spec import inventory

from kubedcos.lab.network import conflicts, routing_rules
from kubedcos.lab.spec import LabSpec, parse


def spec() -> LabSpec:
    return parse(inventory(), "inv")


def network(name: str, subnet: str, **labels: str) -> dict[str, Any]:
    return {
        "name": name,
        "network_interface": f"br-{name}",
        "subnets": [{"subnet": subnet}],
        "labels": labels,
    }


def ids(
    networks: list[dict[str, Any]] | None = None,
    containers: list[dict[str, Any]] | None = None,
    routes: list[dict[str, Any]] | None = None,
) -> list[str]:
    found = conflicts(
        spec(), networks=networks or [], containers=containers or [], routes=routes or []
    )
    return [problem.id for problem in found]


def test_a_free_machine_has_no_conflicts() -> None:
    assert (
        ids(
            [network("podman", "10.88.0.0/16")],
            [{"Names": ["other"], "Labels": None}],
            [{"dst": "default", "dev": "eth0"}, {"dst": "192.168.1.0/24", "dev": "eth0"}],
        )
        == []
    )


def test_the_labs_own_networks_and_their_routes_are_no_conflict() -> None:
    own = {"kubedcos.lab": "mini"}
    networks = [network("mini-dc-a", "10.1.0.0/24", **own)]
    routes = [{"dst": "10.1.0.0/24", "dev": "br-mini-dc-a"}]
    containers = [{"Names": ["mini-m1"], "Labels": own}]
    assert ids(networks, containers, routes) == []


def test_a_taken_network_name_is_reported() -> None:
    assert ids([network("mini-dc-a", "10.77.0.0/24")]) == ["lab-network-taken"]


def test_a_taken_subnet_is_reported_from_podman_and_from_the_machines_routes() -> None:
    assert ids([network("other", "10.2.0.0/16")]) == ["lab-subnet-taken"]
    assert ids(routes=[{"dst": "10.0.0.0/8", "dev": "tun0"}]) == ["lab-subnet-taken"] * 2


def test_a_container_of_somebody_else_is_reported() -> None:
    assert ids(containers=[{"Names": ["mini-b1"], "Labels": {"kubedcos.lab": "another"}}]) == [
        "lab-container-taken"
    ]


def test_another_subnet_than_the_running_labs_is_reported() -> None:
    own = {"kubedcos.lab": "mini"}
    assert ids([network("mini-dc-a", "10.5.0.0/24", **own)]) == ["lab-network-changed"]


def test_every_ordered_pair_of_data_centres_keeps_its_source_addresses() -> None:
    rules = routing_rules("mini", spec().networks)
    assert "ip saddr 10.1.0.0/24 ip daddr 10.2.0.0/24 snat ip prefix to 10.1.0.0/24" in rules
    assert "ip saddr 10.2.0.0/24 ip daddr 10.1.0.0/24 snat ip prefix to 10.2.0.0/24" in rules
    assert rules.count("snat") == 2


def test_one_data_centre_needs_no_rules() -> None:
    assert routing_rules("mini", spec().networks[:1]) == ""
