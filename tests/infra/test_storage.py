"""The disks of the inventory are mounted and offered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from testinfra.host import Host

from .inventory import Inventory
from .mesos import MASTER_PORT, Mesos


@pytest.fixture
def disks(name: str, inventory: Inventory) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = inventory.variables[name].get("storage_disks") or []
    return found or pytest.skip("the inventory gives this agent no disks")


@pytest.mark.on("agents", "public_agents")
def test_disks_are_mounted_with_their_file_system(host: Host, disks: list[dict[str, Any]]) -> None:
    for disk in disks:
        if disk["type"] == "mount":
            found = host.check_output(f"findmnt -n -o FSTYPE --mountpoint {disk['root']}")
            assert found == disk.get("filesystem", "xfs")
        else:
            assert host.file(disk["root"]).is_directory


@pytest.mark.on("agents", "public_agents")
def test_they_come_back_at_boot_before_the_agent(host: Host, disks: list[dict[str, Any]]) -> None:
    for disk in disks:
        if disk["type"] == "mount":
            unit = host.check_output(f"systemd-escape --path --suffix=mount {disk['root']}")
            assert host.service(unit).is_enabled
            assert "mesos-agent.service" in host.check_output(
                f"systemctl show --value --property=RequiredBy,Before '{unit}'"
            )


@pytest.mark.on("agents", "public_agents")
def test_mesos_offers_them(name: str, disks: list[dict[str, Any]], mesos: Mesos) -> None:
    if not mesos.inventory.of("masters"):
        pytest.skip("there is no Mesos in this inventory")
    agents = mesos.get(mesos.leader, MASTER_PORT, "/slaves")["slaves"]
    (agent,) = [a for a in agents if mesos.agent_hosts[a["id"]] == name]
    full = agent["unreserved_resources_full"] + agent["used_resources_full"]
    sources = [r["disk"]["source"] for r in full if "source" in r.get("disk", {})]
    seen = {(s["type"], s[s["type"].lower()]["root"]) for s in sources}
    assert seen == {(disk["type"].upper(), disk["root"]) for disk in disks}


@pytest.mark.on("agents", "public_agents")
def test_what_the_agent_is_told_to_offer(host: Host, disks: list[dict[str, Any]]) -> None:
    path = "/etc/mesos/resources.d/20-disks.json"
    offers = json.loads(host.check_output(f"cat {path}"))
    sources = [offer["disk"]["source"] for offer in offers if "disk" in offer]
    assert len(sources) == len(disks)
    assert all(offer["scalar"]["value"] > 0 for offer in offers if offer["name"] == "disk")
