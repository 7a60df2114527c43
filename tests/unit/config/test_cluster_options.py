"""Cluster options: what is refused, and in which words."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from kubedcos.config import cluster
from kubedcos.errors import InvalidInput


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        cluster.load(text, "c.yml")
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_is_a_whole_cluster() -> None:
    options = cluster.load("", "c.yml")
    assert options.version == "1.36.3"
    assert options.mesos_role == options.name == "kubernetes"
    assert options.cni_conf_dir == "/etc/kubedcos/cni/kubernetes"
    assert options.api_service_address == "10.96.0.1"
    assert options.dns_service_address == "10.96.0.10"


def test_defaults_fit_on_small_agents() -> None:
    options = cluster.load("", "c.yml")
    largest = max(
        options.node.cpus + options.node.proxy.cpus + options.node.dns.cpus,
        options.etcd.cpus
        + options.apiserver.cpus
        + options.controller_manager.cpus
        + options.scheduler.cpus,
    )
    assert largest <= 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "version: 1.36.9",
            "c.yml: version: found '1.36.9'; wanted one of 1.36.3, 1.35.4, 1.34.4",
        ),
        ("version: 1.36", "c.yml: version: found 1.36; wanted one of 1.36.3, 1.35.4, 1.34.4"),
        ("name: &x [*x]", "c.yml: found an alias of what it stands in; wanted plain values"),
        ("node: " + "[" * 3000, "c.yml: found text nested too deeply; wanted valid YAML"),
        ("node: {count: 0}", "c.yml: node.count: found 0; wanted at least 1"),
        ("node: {count: '2'}", "c.yml: node.count: found '2'; wanted a whole number"),
        ("node: {cpus: 0.1234}", "found 0.1234; wanted at most three decimals"),
        ("etcd: {count: 2}", "c.yml: etcd.count: found 2; wanted 1, 3 or 5"),
        ("apiserver: {count: 5}", "c.yml: apiserver.count: found 5; wanted 1 or 3"),
        (
            "etcd: {count: 3}",
            "c.yml: etcd.count: found 3 without high_availability; wanted 1, or high_availability",
        ),
        ("high_availability: 3", "c.yml: high_availability: found 3; wanted true or false"),
        ("{high_availability: true, etcd: 3}", "c.yml: etcd: found 3; wanted a mapping"),
        ("etcd: {disk: SSD}", "c.yml: etcd.disk: found 'SSD'; wanted 'ROOT', 'PATH' or 'MOUNT'"),
        ("placement: {regions: dc-a}", "c.yml: placement.regions: found 'dc-a'; wanted a list"),
        ("name: Kubernetes", "c.yml: name: found 'Kubernetes'; wanted 1 to 24 lower-case letters"),
        ("role: a b", "c.yml: role: found 'a b'; wanted a Mesos role"),
        ("network: {overlay: a-very-long-name}", "c.yml: network.overlay"),
        ("network: {service_cidr: 10.96.0.1/16}", "did you mean 10.96.0.0/16?"),
        ("network: {service_cidr: 10.96.0.0/25}", "wanted a prefix from /12 to /24"),
        ("network: {service_cidr: 11.0.0.0/8}", "wanted a prefix from /12 to /24"),
        (
            "network: {pod_cidr: 10.96.0.0/12}",
            "found 10.96.0.0/16, which overlaps network.pod_cidr 10.96.0.0/12",
        ),
        (
            "network: {other_cidrs: {hosts: 10.244.1.0/24}}",
            "c.yml: network.other_cidrs.hosts: found 10.244.1.0/24, which overlaps",
        ),
        ("network: {pod_cidr: 10.244.0.0/24, node_prefix: 24}", "wanted more than 24"),
        (
            "network: {pod_cidr: 10.244.0.0/23, node_prefix: 24}",
            "which has 1 slices of /24; wanted at least 2, one for each node",
        ),
        ("network: {node_dns: 10.96.0.5}", "which lies in network.service_cidr"),
        ("mesos: {masters: [m1]}", "wanted HOST:PORT"),
        ("artifacts: {url: bootstrap}", "a URL that begins with http:// or https://"),
        ("node: {runtime_dir: bin}", "wanted an absolute path"),
        ("node: 3", "c.yml: node: found 3; wanted a mapping"),
        ("- 1", "c.yml: found list; wanted a mapping of option names to values"),
        ("name: [", "c.yml:1:"),
        ("name: a\nname: b", "c.yml:2:1: found the key 'name' stands here twice"),
        ("name: null", "c.yml: name: found null; wanted text"),
        ("node: {labels: {a: on}}", "c.yml: node.labels.a: found true; wanted text (in quotes"),
    ],
)
def test_bad_input_names_the_key_and_what_is_allowed(text: str, expected: str) -> None:
    assert expected in "\n".join(problems(text))


def test_a_misspelt_key_is_refused_with_the_nearest_one() -> None:
    (problem,) = problems("node: {cout: 3}")
    assert problem.startswith("c.yml: node.cout: found an unknown option; wanted one of ")
    assert problem.endswith("Did you mean count?")


def test_all_problems_are_told_at_once() -> None:
    assert len(problems("version: x\nnode: {count: -1}\nnme: y")) == 3


def test_high_availability_makes_three_of_each() -> None:
    options = cluster.load("{high_availability: true, etcd: {count: 5, cpus: 1}}", "c.yml")
    assert [options.etcd.count, options.etcd.cpus] == [5, 1]
    options = cluster.load("{high_availability: true, scheduler: {count: 1, cpus: 2}}", "c.yml")
    assert [getattr(options, name).count for name in cluster.CONTROL_PLANE] == [3, 3, 3, 3]
    assert options.scheduler.cpus == 2
    assert cluster.validate(options.model_dump(mode="json"), "dump") == options


def test_a_cluster_of_one_each_can_be_made_highly_available() -> None:
    """Its stored options say 1."""
    stored = cluster.load("", "c.yml").model_dump(mode="json")
    assert cluster.validate(stored | {"high_availability": True}, "c.yml").etcd.count == 3


def test_options_survive_their_own_dump() -> None:
    options = cluster.load("placement: {regions: [dc-a, dc-b]}", "c.yml")
    assert cluster.validate(options.model_dump(mode="json"), "dump") == options


def test_the_schema_takes_what_is_valid_and_refuses_what_is_not() -> None:
    schema = cluster.json_schema()
    good = yaml.safe_load("version: 1.35.4\nnode: {count: 3, cpus: 2}")
    jsonschema.validate(good, schema)
    for bad in ("version: 1.0.0", "nodes: {}", "node: {count: zero}"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(bad), schema)


def test_the_schema_describes_options() -> None:
    node = cluster.json_schema()["$defs"]["Node"]["properties"]
    assert "kubelet and containerd live within it" in node["mem_mb"]["description"]
