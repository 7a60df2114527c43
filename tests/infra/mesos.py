"""Mesos as its masters and agents show it, read on the hosts themselves."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import pytest
from testinfra.host import Host

from .inventory import Inventory

MASTER_PORT = 5050
AGENT_PORT = 5051
COMPONENT = "kubedcos/component"


@dataclass
class Mesos:
    """Reads Mesos' HTTP endpoints."""

    inventory: Inventory
    hosts: dict[str, Host] = field(repr=False)

    def text(self, host: str, port: int, path: str, /, **query: str) -> str:
        """What a master or agent answers; asked on its own host, so that no firewall counts."""
        url = f"http://{self.inventory.address(host)}:{port}{path}"
        if query:
            url += "?" + urlencode(query)
        found = self.hosts[host].run(
            f"curl --silent --show-error --fail --location --max-time 10 {shlex.quote(url)}"
        )
        assert found.rc == 0, f"{url}: {found.stderr}"
        return str(found.stdout)

    def get(self, host: str, port: int, path: str, /, **query: str) -> Any:
        """The same as data."""
        return json.loads(self.text(host, port, path, **query))

    @cached_property
    def leader(self) -> str:
        """The host of the leading master."""
        master = self.inventory.of("masters")[0]
        state = self.get(master, MASTER_PORT, "/state")
        return self.inventory.host_at(state["leader_info"]["hostname"])

    def look(self) -> Any:
        """What the leading master knows now."""
        return self.get(self.leader, MASTER_PORT, "/state")

    @cached_property
    def state(self) -> Any:
        """What it knew when it was first asked; enough for all that does not change."""
        return self.look()

    @cached_property
    def agent_hosts(self) -> dict[str, str]:
        """Agent id → host."""
        return {
            agent["id"]: self.inventory.host_at(agent["hostname"]) for agent in self.state["slaves"]
        }

    def framework(self, name: str, state: Any = None) -> Any:
        """A framework by its name; the test is skipped where there is none."""
        for framework in (state or self.state)["frameworks"]:
            if framework["name"] == name:
                return framework
        pytest.skip(f"Mesos knows no framework {name}")

    def running(self, framework: str, kind: str, state: Any = None) -> list[Any]:
        """Running tasks of one component."""
        return [
            task
            for task in self.framework(framework, state)["tasks"]
            if component(task) == kind and task["state"] == "TASK_RUNNING"
        ]

    def executor(self, task: Any) -> Any:
        """What the task's agent says of its container and sandbox."""
        state = self.get(self.agent_hosts[task["slave_id"]], AGENT_PORT, "/state")
        for framework in state["frameworks"]:
            for executor in framework["executors"]:
                if any(t["id"] == task["id"] for t in executor["tasks"]):
                    return executor
        raise LookupError(f"the agent of {task['id']} does not know it")


def component(task: Any) -> str:
    """Which component a task is, such as ``kube-apiserver``."""
    labels = {label["key"]: label.get("value", "") for label in task.get("labels", [])}
    return str(labels.get(COMPONENT, ""))


def started(task: Any) -> float:
    """When Mesos first heard of the task's executor, in seconds since 1970.

    Of several updates with one state Mesos keeps the last, and a task that is running and healthy
    sends them again and again: what counts is its first state.
    """
    return float(min(status["timestamp"] for status in task["statuses"]))
