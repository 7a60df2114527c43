"""What is killed comes back in place; what is cut off is waited for, and then replaced elsewhere.

The waits are those of the inventory's options; where they are long, the checks that would wait are
passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import pytest
from testinfra.host import Host

from .framework import Framework
from .inventory import Inventory
from .kubernetes import Kubernetes, pod
from .mesos import Mesos
from .test_node_end import KILL
from .test_pods import SLEEP
from .waiting import until

pytestmark = pytest.mark.destructive


def of_pod(mesos: Mesos, cluster: str, instance: str) -> dict[str, Any]:
    """Tasks of a pod instance that run, by their name."""
    framework = mesos.framework(cluster, mesos.look())
    return {
        task["name"]: task
        for task in framework["tasks"]
        if task["name"].startswith(f"{instance}-") and task["state"] == "TASK_RUNNING"
    }


def place(mesos: Mesos, tasks: dict[str, Any]) -> str:
    """The inventory's host that tasks are on, all of them."""
    (host,) = {mesos.agent_hosts[task["slave_id"]] for task in tasks.values()}
    return host


@contextmanager
def stopped(host: Host, service: str) -> Iterator[None]:
    """A service is stopped meanwhile."""
    host.check_output(f"systemctl stop {service}")
    try:
        yield
    finally:
        host.check_output(f"systemctl start {service}")


@contextmanager
def cut_off(inventory: Inventory, hosts: dict[str, Host], region: str) -> Iterator[None]:
    """No packet leaves a region for another one meanwhile."""
    networks = [n for name, n in inventory.get("cluster_networks").items() if name != region]
    there = [hosts[name] for name in inventory.hosts if inventory.region(name) == region]
    try:
        for host in there:
            for network in networks:
                host.check_output(f"ip route add blackhole {network}")
        yield
    finally:
        for host in there:
            for network in networks:
                host.run(f"ip route del blackhole {network}")


def test_a_killed_component_is_restarted_in_place(
    framework: Framework, mesos: Mesos, hosts: dict[str, Host]
) -> None:
    (task,) = mesos.running(framework.name, "kube-scheduler", mesos.look())[:1]
    container = mesos.executor(task)["container"]
    host = hosts[mesos.agent_hosts[task["slave_id"]]]
    assert host.check_output(f"python3 -c %s {container}", KILL)

    def again() -> Any:
        running = mesos.running(framework.name, "kube-scheduler", mesos.look())
        return [t for t in running if t["name"] == task["name"] and t["id"] != task["id"]]

    (found,) = until(again, "another task took its place", seconds=90, pause=1)
    assert found["slave_id"] == task["slave_id"]
    assert framework.status("deploy") == "COMPLETE"
    instance = task["name"].removesuffix("-instance")
    until(lambda: instance in framework.steps(), "plan recovery tells of it", seconds=30)


def test_a_replaced_node_is_drained_and_lives_elsewhere(
    framework: Framework, kubernetes: Kubernetes, mesos: Mesos
) -> None:
    name, _ = max(kubernetes.nodes().items(), key=itemgetter(0))
    kubernetes.apply(pod("tenant", name, *SLEEP))
    kubernetes.ready_pod("tenant")
    tasks = mesos.running(kubernetes.name, "kubelet", mesos.look())
    here = [
        t for t in tasks if mesos.agent_hosts[t["slave_id"]] == kubernetes.inventory.host_at(name)
    ]
    instance = here[0]["name"].removesuffix("-kubelet")
    framework.run("pod", "replace", instance, "--yes")

    def moved() -> bool:
        found = of_pod(mesos, framework.name, instance)
        return len(found) == 3 and all(t["slave_id"] != here[0]["slave_id"] for t in found.values())

    until(moved, f"{instance} is elsewhere", seconds=180, pause=2)
    assert name not in kubernetes.nodes()
    gone = kubernetes.run("get", "pod", "tenant", f"--namespace={kubernetes.namespace}")
    assert "NotFound" in gone.stderr


def test_a_node_whose_agent_stays_away_is_replaced_and_ended_when_it_returns(
    framework: Framework, kubernetes: Kubernetes, mesos: Mesos, hosts: dict[str, Host]
) -> None:
    wait = framework.replace_after("node")
    name, _ = max(kubernetes.nodes().items(), key=itemgetter(0))
    host = kubernetes.inventory.host_at(name)
    tasks = mesos.running(kubernetes.name, "kubelet", mesos.look())
    (old,) = [t for t in tasks if mesos.agent_hosts[t["slave_id"]] == host]
    instance = old["name"].removesuffix("-kubelet")
    before = of_pod(mesos, framework.name, instance)
    with stopped(hosts[host], "mesos-agent"):
        until(
            lambda: "until" in framework.steps().get(instance, {"reason": ""})["reason"],
            "plan recovery says until when it waits",
            seconds=120,
            pause=1,
        )
        assert framework.status("deploy") == "COMPLETE"

        def moved() -> bool:
            found = of_pod(mesos, framework.name, instance)
            return len(found) == len(before) and all(
                task["slave_id"] != old["slave_id"] for task in found.values()
            )

        until(moved, f"{instance} is elsewhere", seconds=wait + 180, pause=2)
        new = place(mesos, of_pod(mesos, framework.name, instance))

    def ended() -> bool:
        state = mesos.look()
        known = mesos.framework(framework.name, state)
        live = {task["id"] for task in known["tasks"] if task["state"] == "TASK_RUNNING"}
        back = {agent["id"] for agent in state["slaves"] if agent["active"]}
        return old["slave_id"] in back and not live & {task["id"] for task in before.values()}

    until(ended, "the agent is back and its tasks were ended", seconds=120, pause=2)
    assert place(mesos, of_pod(mesos, framework.name, instance)) == new


def test_nothing_is_replaced_while_a_data_centre_is_cut_off(
    framework: Framework, mesos: Mesos, inventory: Inventory, hosts: dict[str, Host]
) -> None:
    wait = framework.replace_after("node")
    masters = {inventory.region(master) for master in inventory.of("masters")}
    region = next((r for r in inventory.regions if r not in masters), None)
    agents = [agent for agent in inventory.agents if inventory.region(agent) == region]
    if region is None or len(agents) < 2:
        pytest.skip("needs a region without masters that has two agents")

    def there() -> dict[str, str]:
        known = mesos.framework(framework.name, mesos.look())["tasks"]
        return {t["name"]: t["id"] for t in known if t["state"] == "TASK_RUNNING"}

    before = there()
    with cut_off(inventory, hosts, region):
        until(
            lambda: any(
                "cut off" in step["reason"] or "vanished at once" in step["reason"]
                for step in framework.steps().values()
            ),
            "plan recovery says that it waits for a network",
            seconds=150,
            pause=2,
        )
        until(
            lambda: (
                any("until" not in step["reason"] for step in framework.steps().values())
                and _longest_wait(framework) >= wait + 10
            ),
            "the time has passed after which single agents are given up",
            seconds=wait + 60,
            pause=2,
        )
        assert there().items() <= before.items(), "nothing was started anew"
    until(lambda: there() == before, "all is as it was before", seconds=180, pause=2)


def _longest_wait(framework: Framework) -> float:
    """Seconds for which the oldest open step of plan recovery has been there."""
    began = [
        datetime.fromisoformat(step["started_at"])
        for step in framework.steps().values()
        if step["status"] != "COMPLETE" and step["started_at"]
    ]
    return max(((datetime.now(UTC) - at).total_seconds() for at in began), default=0.0)
