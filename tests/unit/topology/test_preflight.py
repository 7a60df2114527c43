"""Preflight's view of Ansible's data."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from kubedcos.config import cluster
from kubedcos.errors import Problem
from kubedcos.kubernetes.capacity import judge
from kubedcos.topology import clusters, preflight

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
OVERLAY = {
    "name": "kubernetes",
    "subnet": "10.244.0.0/16",
    "prefix": 24,
    "vtep_subnet": "10.255.0.0/24",
    "vni": 1025,
    "port": 4789,
}
FUNCTIONS = {"master": ["m1"], "zookeeper": ["m1"], "bootstrap": ["m1"], "agent": ["a1"]}


def data(**changed: Any) -> dict[str, Any]:
    return {
        "hosts": preflight.hosts_of(HOSTVARS, FUNCTIONS),
        "overlays": [OVERLAY],
        "agents": preflight.agents_of(HOSTVARS, ["a1"]),
        **changed,
    }


def ids(**changed: Any) -> list[str]:
    return [p.id for p in preflight.inventory_problems(data(**changed), cluster.validate, judge)]


def test_a_hosts_variables_are_put_together_once() -> None:
    class Counted(dict[str, Any]):
        asked: ClassVar[list[str]] = []

        def __getitem__(self, name: str) -> Any:
            self.asked.append(name)
            return super().__getitem__(name)

    assert preflight.hosts_of(Counted(HOSTVARS), FUNCTIONS) == preflight.hosts_of(
        HOSTVARS, FUNCTIONS
    )
    assert sorted(Counted.asked) == sorted(HOSTVARS)


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
    assert preflight.agents_of(HOSTVARS, ["a1"]) == [
        {"name": "a1", "region": "dc-a", "zone": "a-1", "cpus": 2}
    ]


def test_good_data_passes() -> None:
    assert ids() == []
    assert ids(clusters=[{"node": {"count": 1}}]) == []


def test_an_unknown_kubernetes_version_is_found() -> None:
    found = preflight.inventory_problems(
        data(clusters=[{"version": "1.99.0"}]), cluster.validate, judge
    )
    assert any("1.99.0" in str(problem) for problem in found)


def test_more_nodes_than_agents_are_found() -> None:
    assert ids(clusters=[{"node": {"count": 2}}]) == ["nodes-exceed-agents"]


def test_a_node_larger_than_every_agent_is_found() -> None:
    assert ids(clusters=[{"node": {"count": 1, "cpus": 1.9}}]) == ["resources-unoffered"]


def test_a_part_of_the_control_plane_larger_than_every_agent_is_found() -> None:
    clusters = [{"node": {"count": 1}, "apiserver": {"cpus": 2.5}}]
    (problem,) = preflight.inventory_problems(data(clusters=clusters), cluster.validate, judge)
    assert problem.id == "resources-unoffered"
    assert problem.where == "cluster kubernetes: apiserver"
    assert problem.seen == (
        "kube-apiserver-0 needs 2.5 cpus in the masters' region dc-a; best offer there: 1.8 (a1)"
    )


def test_agents_only_in_another_region_than_the_masters() -> None:
    hostvars = {**HOSTVARS, "a1": {**HOSTVARS["a1"], "region": "dc-b"}}
    changed = {
        "hosts": preflight.hosts_of(hostvars, FUNCTIONS),
        "agents": preflight.agents_of(hostvars, ["a1"]),
    }
    assert set(ids(clusters=[{"node": {"count": 1}}], **changed)) == {
        "control-plane-without-agents"
    }


def test_clusters_that_are_no_list_and_an_unknown_overlay() -> None:
    assert ids(clusters="kubernetes") == ["clusters-invalid"]
    clusters = [{"node": {"count": 1}, "network": {"overlay": "podz"}}]
    assert ids(clusters=clusters) == ["cluster-overlay-unknown"]


def test_a_misspelt_group_is_found() -> None:
    assert ids(groups={"agent": ["a1"], "agents": []}) == ["group-unknown"]


def test_a_host_that_can_not_be_read_is_not_missed_in_counts() -> None:
    hostvars = {**HOSTVARS, "m1": {**HOSTVARS["m1"], "ansible_host": ""}}
    assert ids(hosts=preflight.hosts_of(hostvars, FUNCTIONS)) == ["host-address-invalid"]


class Undefined(dict[str, Any]):
    """A variable whose template has no value."""

    def get(self, _name: str, _default: object = None) -> Any:
        raise ValueError("'nosuch' is undefined")


def test_an_amount_without_a_value_is_left_to_the_check_of_inputs() -> None:
    (agent,) = preflight.agents_of({"a1": {}}, ["a1"])
    assert agent == {"name": "a1", "region": "", "zone": ""}
    assert preflight._told(Undefined(), "mesos_agent_cpus") is None


def probe(**facts: Any) -> dict[str, Any]:
    good = {
        "time": 0.0,
        "controller_time": 0.0,
        "user": 0,
        "machine": "x86_64",
        "python": [3, 11, 2],
        "systemd": True,
        "memory_mb": 4096,
        "cpus": 1,
        "disks": {},
        "features": {},
        "sockets": [],
        "addresses": {},
    }
    return {"facts": {**good, **facts}}


def test_what_agents_count_themselves_is_judged_once_they_were_asked() -> None:
    limits = {
        "memory_mb": {},
        "disks": [],
        "ports": [],
        "features": [],
        "clock_skew_s": 1.0,
        "now": 0.0,
        "underlay_mtu": 1500,
    }
    whole = data(clusters=[{"node": {"count": 1, "mem_mb": 4000}}], limits=limits)
    assert ids(clusters=whole["clusters"]) == []
    (problem,) = preflight.all_host_problems({"a1": probe()}, whole, cluster.validate, judge)
    assert problem.id == "resources-unoffered"
    assert "needs 4192 MB of memory; best offer: 1664 (a1)" in problem.seen
    assert (
        preflight.all_host_problems({"a1": probe(memory_mb=9000)}, whole, cluster.validate, judge)
        == []
    )


def test_findings_survive_ansible() -> None:
    problem = Problem("host a", "x", "y", "some-id", "do it")
    (plain,) = preflight.as_dicts([problem])
    assert plain["host"] == "host a"
    assert preflight.from_dicts([plain]) == [problem]


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf")])
def test_an_amount_that_nothing_has_is_named_with_its_variable(amount: float) -> None:
    agent = {"name": "a1", "region": "dc-a", "zone": "a-1", "mem": amount}
    for look in (preflight.inventory_problems, preflight.fitting_problems):
        (found,) = look(data(agents=[agent]), cluster.validate, judge)
        assert str(found).startswith(f"host a1: mesos_agent_mem_mb: found {amount}; wanted ")


@pytest.mark.parametrize("overlays", [5, True, "kubernetes", {"name": "kubernetes"}])
def test_overlays_that_are_no_list_are_a_finding(overlays: object) -> None:
    found = preflight.inventory_problems(
        data(overlays=overlays, clusters=[{"name": "kubernetes"}]), cluster.validate, judge
    )
    assert any(problem.where == "overlays" for problem in found), found


def test_a_cluster_whose_name_is_no_text_is_a_finding() -> None:
    given = clusters.complete([{"name": []}], service_networks={"kubernetes": "10.96.0.0/16"})
    found = preflight.inventory_problems(data(clusters=given), cluster.validate, judge)
    assert any(problem.where.endswith(": name") for problem in found), found
