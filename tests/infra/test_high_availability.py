"""Three of each part of the control plane, and what their number is good for."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from testinfra.host import Host

from .inventory import Inventory
from .kubernetes import Kubernetes
from .mesos import Mesos
from .waiting import until

PARTS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
ENDPOINTS = ("endpointslice", "kubernetes", "--namespace=default")


@pytest.fixture(autouse=True)
def _only_where_it_is_wanted(inventory: Inventory, kubernetes: Kubernetes) -> None:
    clusters = inventory.get("clusters") or []
    options = [c for c in clusters if c.get("name", "kubernetes") == kubernetes.name]
    if not any(found.get("high_availability") for found in options):
        pytest.skip("this cluster has one of each")


def agents(mesos: Mesos, kubernetes: Kubernetes, kind: str) -> list[str]:
    return [mesos.agent_hosts[t["slave_id"]] for t in mesos.running(kubernetes.name, kind)]


@pytest.mark.parametrize("kind", PARTS)
def test_an_agent_has_one_of_each_at_most(mesos: Mesos, kubernetes: Kubernetes, kind: str) -> None:
    found = agents(mesos, kubernetes, kind)
    assert len(found) == len(set(found)) >= 3


def test_members_of_etcd_are_in_as_many_zones_as_there_are(
    mesos: Mesos, kubernetes: Kubernetes, inventory: Inventory
) -> None:
    found = agents(mesos, kubernetes, "etcd")
    region = inventory.region(found[0])
    zones = {inventory.zone(a) for a in inventory.agents if inventory.region(a) == region}
    assert len({inventory.zone(agent) for agent in found}) == min(len(zones), len(found))


def _advertised(kubernetes: Kubernetes) -> set[str]:
    found: dict[str, Any] = kubernetes.get(*ENDPOINTS)
    return {address for end in found["endpoints"] or [] for address in end["addresses"]}


def test_kubernetes_pods_are_led_to_all_api_servers(
    mesos: Mesos, kubernetes: Kubernetes, inventory: Inventory
) -> None:
    wanted = {inventory.address(a) for a in agents(mesos, kubernetes, "kube-apiserver")}
    until(lambda: _advertised(kubernetes) == wanted, f"{wanted} are advertised", seconds=30)
    assert _advertised(kubernetes) == wanted


def _done(kubernetes: Kubernetes, verb: str, name: str) -> bool:
    ignore = ("--ignore-not-found",) if verb == "delete" else ()
    done = kubernetes.run(verb, "configmap", name, "--namespace=default", *ignore)
    return done.returncode == 0 or "already exists" in done.stderr


@pytest.mark.destructive
# One at a time: what the test before has killed is back.
@pytest.mark.usefixtures("framework")
@pytest.mark.parametrize("kind", PARTS)
def test_the_end_of_one_is_no_end_of_service(
    hosts: dict[str, Host], mesos: Mesos, kubernetes: Kubernetes, kind: str
) -> None:
    before = {task["id"] for task in mesos.running(kubernetes.name, kind, mesos.look())}
    host = agents(mesos, kubernetes, kind)[0]
    killed = hosts[host].run(f"pkill -KILL -x {kind[:15]}")
    assert killed.rc == 0, killed.stderr
    name = f"survives-{kind}"
    # What is written while etcd elects a leader may have to be written again.
    patience = 20 if kind == "etcd" else 0
    for _ in range(10):
        for verb in ("create", "delete"):
            look = partial(_done, kubernetes, verb, name)
            until(look, f"{verb} {name} with one {kind} less", seconds=patience)

    def back() -> bool:
        now = {task["id"] for task in mesos.running(kubernetes.name, kind, mesos.look())}
        return len(now) == len(before) and now != before

    until(back, f"{kind} on {host} runs again", seconds=180)
