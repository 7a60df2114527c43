"""Several framework schedulers: one leads, and when it is killed the next one does, unnoticed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

from .inventory import Inventory
from .mesos import Mesos, started
from .waiting import until

PORT = 8443
TAKEOVER_SECONDS = 15.0


class Schedulers:
    """What the scheduler on each master says of itself."""

    def __init__(self, inventory: Inventory, hosts: dict[str, Host]) -> None:
        self.hosts = {name: hosts[name] for name in inventory.of("masters")}
        port = inventory.get("kubernetes_framework_port", PORT)
        self.urls = {name: f"https://{inventory.address(name)}:{port}" for name in self.hosts}

    def ask(self, name: str, path: str) -> tuple[int, Any]:
        """Status and document; 0 and nothing from one that does not answer."""
        command = f"curl -sk --max-time 3 -w '\\n%{{http_code}}' {self.urls[name]}{path}"
        body, _, status = self.hosts[name].run(command).stdout.rpartition("\n")
        return int(status), json.loads(body) if body else None

    def roles(self) -> dict[str, str]:
        """Host → what its scheduler does; none of those that do not answer."""
        found = {name: self.ask(name, "/v1/health") for name in self.hosts}
        # The status code tells the life stage, not whether it answers (docs/api.md).
        return {name: said["role"] for name, (_, said) in found.items() if said is not None}

    def leader(self) -> str:
        """The host of the one that leads; empty when there is not exactly one."""
        leading = [name for name, role in self.roles().items() if role == "leader"]
        return leading[0] if len(leading) == 1 else ""


@pytest.fixture(scope="module")
def schedulers(inventory: Inventory, hosts: dict[str, Host]) -> Schedulers:
    if len(inventory.of("masters")) == 1:
        pytest.skip("one master has one scheduler")
    return Schedulers(inventory, hosts)


def test_one_leads_and_the_others_stand_by_and_say_who_leads(schedulers: Schedulers) -> None:
    leader = until(schedulers.leader, "exactly one scheduler leads", seconds=TAKEOVER_SECONDS)
    for name in schedulers.hosts.keys() - {leader}:
        _, health = schedulers.ask(name, "/v1/health")
        assert (health["role"], health["leader"]) == ("standby", schedulers.urls[leader])
        status, said = schedulers.ask(name, "/v1/clusters")
        assert (status, said["leader"]) == (503, schedulers.urls[leader])


def test_only_the_one_that_leads_asks_for_the_operators_token(schedulers: Schedulers) -> None:
    leader = until(schedulers.leader, "exactly one scheduler leads", seconds=TAKEOVER_SECONDS)
    assert schedulers.ask(leader, "/v1/clusters")[0] == 401


@pytest.mark.parametrize("file", ["zookeeper-password", "seal-key", "mesos-secret"])
def test_secrets_of_the_schedulers_are_for_root_alone(schedulers: Schedulers, file: str) -> None:
    for name, host in schedulers.hosts.items():
        found = host.file(f"/etc/kubedcos/{file}")
        assert (found.user, found.mode) == ("root", 0o600), name


@pytest.mark.destructive
# A task that has just asked the one that is killed for its keys has to be started anew.
@pytest.mark.usefixtures("framework")
def test_when_the_one_that_leads_is_killed_another_does_and_no_task_notices(
    schedulers: Schedulers, cluster: str, mesos: Mesos
) -> None:
    leader = until(schedulers.leader, "exactly one scheduler leads", seconds=TAKEOVER_SECONDS)
    before = mesos.framework(cluster, mesos.look())
    assert before["active"]
    killed_at = time.monotonic()
    schedulers.hosts[leader].check_output(
        "systemctl kill --kill-whom=main --signal=KILL kubedcos-scheduler"
    )

    def taken_over() -> str:
        new = schedulers.leader()
        if not new or new == leader:
            return ""
        framework = mesos.framework(cluster, mesos.look())
        there = framework["active"] and framework["webui_url"] == schedulers.urls[new]
        return new if there else ""

    new = until(taken_over, "another scheduler leads", seconds=TAKEOVER_SECONDS)
    assert time.monotonic() - killed_at < TAKEOVER_SECONDS
    until(lambda: len(schedulers.roles()) == len(schedulers.hosts), "all answer", seconds=30)
    assert schedulers.leader() == new
    after = mesos.framework(cluster, mesos.look())
    assert after["id"] == before["id"]
    assert _running(after) == _running(before)


def _running(framework: Any) -> dict[str, float]:
    """Running tasks with their start."""
    return {
        task["id"]: started(task) for task in framework["tasks"] if task["state"] == "TASK_RUNNING"
    }
