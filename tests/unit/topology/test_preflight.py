"""Preflight's view of Ansible's data."""

from __future__ import annotations

from typing import Any

from kubedcos.config import cluster
from kubedcos.errors import Problem
from kubedcos.topology import preflight

HOSTVARS: dict[str, dict[str, Any]] = {
    "m1": {"ansible_host": "10.0.0.1", "host_index": 1, "region": "dc-a", "zone": "a-1"},
    "a1": {
        "ansible_host": "10.0.0.2",
        "host_index": 2,
        "region": "dc-a",
        "zone": "a-1",
        "mesos_agent_cpus": 2,
        "mesos_agent_mem_mb": 0,
    },
}
FUNCTIONS = {"master": ["m1"], "zookeeper": ["m1"], "bootstrap": ["m1"], "agent": ["a1"]}


def data(**changed: Any) -> dict[str, Any]:
    return {
        "hosts": preflight.hosts_of(HOSTVARS, FUNCTIONS),
        "overlays": [],
        "agents": preflight.agents_of(HOSTVARS, ["a1"]),
        **changed,
    }


def ids(**changed: Any) -> list[str]:
    return [p.id for p in preflight.inventory_problems(data(**changed), cluster.validate)]


def test_hosts_carry_what_the_inventory_says() -> None:
    first = preflight.hosts_of(HOSTVARS, FUNCTIONS)[0]
    assert first == {
        "name": "m1",
        "address": "10.0.0.1",
        "index": 1,
        "region": "dc-a",
        "zone": "a-1",
        "functions": ["master", "zookeeper", "bootstrap"],
    }


def test_amounts_that_agents_count_themselves_are_left_out() -> None:
    assert preflight.agents_of(HOSTVARS, ["a1"]) == [{"name": "a1", "region": "dc-a", "cpus": 2}]


def test_good_data_passes() -> None:
    assert ids() == []
    assert ids(clusters=[{"node": {"count": 1}}]) == []


def test_an_unknown_kubernetes_version_is_found() -> None:
    found = preflight.inventory_problems(data(clusters=[{"version": "1.99.0"}]), cluster.validate)
    assert any("1.99.0" in str(problem) for problem in found)


def test_more_nodes_than_agents_are_found() -> None:
    assert ids(clusters=[{"node": {"count": 2}}]) == ["nodes-exceed-agents"]


def test_a_node_larger_than_every_agent_is_found() -> None:
    assert ids(clusters=[{"node": {"count": 1, "cpus": 1.9}}]) == ["resources-unoffered"]


def test_findings_survive_ansible() -> None:
    problem = Problem("host a", "x", "y", "some-id", "do it")
    (plain,) = preflight.as_dicts([problem])
    assert plain["host"] == "host a"
    assert preflight.from_dicts([plain]) == [problem]
