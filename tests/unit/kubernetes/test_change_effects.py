"""What the table of changes says restarts is what would really be different."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from kubedcos.config import cluster
from kubedcos.config.change_rules import RULES, Changeable
from kubedcos.config.changes import covers, option_paths, rule_of
from kubedcos.config.cluster import ClusterOptions
from kubedcos.kubernetes import components
from kubedcos.kubernetes.vault import MemorySecretStore, Vault

from .parts import FakeClock, situation

OTHER: dict[str, Any] = {
    "etcd.disk": "PATH",
    "placement.etcd": [["hostname", "UNIQUE"]],
    "placement.control_plane": [["hostname", "UNIQUE"]],
    "placement.nodes": [["hostname", "UNIQUE"]],
    "node.placement": [["hostname", "UNIQUE"]],
    "node_pools": {"gpu": {}},
    "network.cni_conf_dir": "/etc/elsewhere",
    "network.host_dns": "127.0.0.53",
    "network.other_cidrs": {"hosts": "172.20.0.0/16"},
    "placement.regions": ["dc-a"],
    "placement.spread_by": "zone",
    "placement.node_attributes": {"disk": "ssd"},
    "placement.control_plane_attributes": {"disk": "ssd"},
    "artifacts.url": "http://elsewhere:80",
    "node.runtime_dir": "/opt/other/bin",
    "node.cni_bin_dir": "/opt/other/cni",
    "node.registry_mirrors_dir": "/etc/other/certs.d",
}
"""Values for options of which a greater number or an opposite does not do."""


def _at(document: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        document = document[part]
    return document


def _changed(path: str) -> ClusterOptions:
    """The default options but for one."""
    document = ClusterOptions().model_dump(mode="json")
    *sections, name = path.split(".")
    section = _at(document, ".".join(sections)) if sections else document
    old = section[name]
    section[name] = OTHER[path] if path in OTHER else _other(old)
    return cluster.validate(document, "test")


def _other(old: Any) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float):
        return old * 2
    if isinstance(old, str) and ":" in old:
        return f"{old}-other"
    raise AssertionError(f"give {old!r} another value in OTHER")


@cache
def _vault() -> Vault:
    return Vault(MemorySecretStore(), "kubernetes", FakeClock())


def _tasks(options: ClusterOptions) -> dict[tuple[str, str], str]:
    """Everything that a task's life depends on, by pod and task name."""
    found = {}
    for pod in components.service(options).pods:
        for task in pod.tasks:
            recipe = components.RECIPES[task.kind]
            at = situation(task.kind, options, _vault())
            payload = json.dumps(recipe.payload(at).as_json(), sort_keys=True)
            keys = {name: repr(make(at)) for name, make in recipe.keys.items()}
            runtime = options.node.runtime_dir if recipe.host_binaries else ""
            found[pod.name, task.name] = repr((task, payload, keys, runtime))
    return found


@cache
def _before() -> dict[tuple[str, str], str]:
    return _tasks(ClusterOptions())


FREE = [
    path
    for path in option_paths()
    if "*" not in path
    and RULES[path].changeable is not Changeable.NEVER
    and not path.endswith(".count")
]


@pytest.mark.parametrize("path", FREE)
def test_what_would_be_different_restarts_and_nothing_else(path: str) -> None:
    before, after = _before(), _tasks(_changed(path))
    different = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    restarts = rule_of(path).restarts
    expected = {key for key in before.keys() & after.keys() if covers(restarts, *key)}
    assert different == expected


def test_what_restarts_exists() -> None:
    pods = {pod.name: pod for pod in components.service(ClusterOptions()).pods}
    for path, rule in RULES.items():
        for name in rule.restarts:
            if "*" in name or name in {"kubelet", "coredns"}:
                continue
            pod, _, task = name.partition("/")
            assert pod in pods, path
            assert not task or task in {found.name for found in pods[pod].tasks}, path
