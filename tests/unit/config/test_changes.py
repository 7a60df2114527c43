"""The table of changes: complete, and every change refused or allowed as it says."""

from __future__ import annotations

from typing import Any

import pytest

from kubedcos.config import changes, cluster
from kubedcos.config.change_rules import RULES, Changeable, Rule, Way
from kubedcos.config.cluster import ClusterOptions


def options(text: str = "") -> ClusterOptions:
    return cluster.load(text, "test")


def test_every_option_has_a_rule_and_every_rule_an_option() -> None:
    paths = list(changes.option_paths())
    assert sorted(paths) == sorted(RULES)
    assert len(paths) == len(set(paths))


def test_a_rule_says_why_in_a_clause_and_a_way_exactly_when_it_goes_one_way() -> None:
    for path, rule in RULES.items():
        assert rule.why, path
        assert not rule.why.endswith("."), path
        assert (rule.way is not None) == (rule.changeable is Changeable.ONCE), path
        if rule.changeable is Changeable.NEVER:
            assert rule.restarts == (), path


def test_nothing_differs_between_equal_options() -> None:
    assert changes.differences(options(), options()) == ()


def test_a_difference_has_path_values_rule_and_what_restarts() -> None:
    [found] = changes.differences(options(), options("node: {mem_mb: 2048}"))
    assert (found.path, found.old, found.new) == ("node.mem_mb", 1024, 2048)
    assert found.restarts == ("kube-node/kubelet",)
    assert found.concerns("kube-node", "kubelet")
    assert not found.concerns("kube-node", "coredns")
    assert str(found) == "node.mem_mb: 1024 -> 2048"


def test_a_rule_for_a_whole_pod_concerns_all_its_tasks() -> None:
    [found] = changes.differences(options(), options("etcd: {cpus: 1}"))
    assert found.concerns("etcd", "peer")
    assert not found.concerns("kube-node", "peer")


def test_differences_come_in_the_order_of_the_options() -> None:
    new = options("addons: {dns_replicas: 3}\nnode: {count: 5, dns: {cpus: 0.2}}\netcd: {cpus: 1}")
    found = [change.path for change in changes.differences(options(), new)]
    assert found == ["etcd.cpus", "node.count", "node.dns.cpus", "addons.dns_replicas"]


@pytest.mark.parametrize(
    ("text", "path", "wanted"),
    [
        ("name: other", "name", '"kubernetes"'),
        ("network: {service_cidr: 10.97.0.0/16}", "network.service_cidr", "never changes"),
        ("etcd: {disk_mb: 2048}", "etcd.disk_mb", "never changes"),
        ("version: 1.35.4", "version", "never changes"),
        ("addons: {metrics_server: false}", "addons.metrics_server", "from false to true"),
    ],
)
def test_a_forbidden_change_names_option_both_values_rule_and_what_is_right(
    text: str, path: str, wanted: str
) -> None:
    [problem] = changes.problems(changes.differences(options(), options(text)), "new.yml")
    assert problem.where == f"new.yml: {path}"
    assert "the cluster has" in problem.seen
    assert wanted in f"{problem.wanted} {problem.seen}"
    assert problem.fix.endswith(".")


def test_what_changes_once_may_change_once() -> None:
    off = options("addons: {metrics_server: false}")
    assert changes.problems(changes.differences(off, options()), "new.yml") == []


def test_all_forbidden_changes_are_told_at_once() -> None:
    new = options("name: other\nrole: theirs\nnode: {count: 3}")
    found = changes.problems(changes.differences(options(), new), "new.yml")
    assert [problem.where for problem in found] == ["new.yml: name", "new.yml: role"]


@pytest.mark.parametrize(
    ("rule", "old", "new", "allowed"),
    [
        (Rule(Changeable.FREE, "w"), 3, 1, True),
        (Rule(Changeable.NEVER, "w"), 3, 4, False),
        (Rule(Changeable.ONCE, "w", way=Way.UP), 3, 5, True),
        (Rule(Changeable.ONCE, "w", way=Way.UP), 5, 3, False),
        (Rule(Changeable.ONCE, "w", way=Way.ON), False, True, True),
        (Rule(Changeable.ONCE, "w", way=Way.ON), True, False, False),
    ],
)
def test_rules(rule: Rule, old: Any, new: Any, allowed: bool) -> None:
    assert (rule.forbids(old, new) is None) is allowed
