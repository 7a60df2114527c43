"""Mesos as its masters and agents show it, read on the hosts themselves."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import pytest
from testinfra.host import Host

from .inventory import Inventory

MASTER_PORT = 5050
AGENT_PORT = 5051


@dataclass
class Mesos:
    """Reads Mesos' HTTP endpoints."""

    inventory: Inventory
    hosts: dict[str, Host]

    def get(self, host: str, port: int, path: str, **query: str) -> Any:
        """JSON from a master or agent; asked on its host, so that no firewall counts."""
        url = f"http://{self.inventory.address(host)}:{port}{path}"
        if query:
            url += "?" + urlencode(query)
        found = self.hosts[host].run(
            f"curl --silent --show-error --fail --location --max-time 10 {shlex.quote(url)}"
        )
        assert found.rc == 0, f"{url}: {found.stderr}"
        return json.loads(found.stdout)

    @cached_property
    def leader(self) -> str:
        """The host of the leading master."""
        master = self.inventory.of("masters")[0]
        state = self.get(master, MASTER_PORT, "/state")
        return self.inventory.host_at(state["leader_info"]["hostname"])

    def state(self) -> Any:
        """What the leading master knows."""
        return self.get(self.leader, MASTER_PORT, "/state")

    def framework(self, name: str, state: Any = None) -> Any:
        """A framework by its name; the test is skipped when there is none."""
        for framework in (state or self.state())["frameworks"]:
            if framework["name"] == name:
                return framework
        pytest.skip(f"Mesos knows no framework {name}")

    def agent_hosts(self, state: Any = None) -> dict[str, str]:
        """Agent id → host."""
        return {
            agent["id"]: self.inventory.host_at(agent["hostname"])
            for agent in (state or self.state())["slaves"]
        }
