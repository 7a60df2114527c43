"""Mesos: a leader that all masters agree on, agents with their place and what they offer."""

from __future__ import annotations

from typing import Any

import pytest

from .inventory import Inventory
from .mesos import AGENT_PORT, MASTER_PORT, Mesos

State = dict[str, Any]


@pytest.fixture(scope="module")
def state(mesos: Mesos) -> State:
    found: State = mesos.state
    return found


def test_masters_agree_on_one_leader(mesos: Mesos, inventory: Inventory) -> None:
    named = {
        mesos.get(master, MASTER_PORT, "/state")["leader_info"]["hostname"]
        for master in inventory.of("masters")
    }
    assert len(named) == 1
    assert mesos.leader in inventory.of("masters")


def test_every_agent_is_registered_and_active(
    mesos: Mesos, inventory: Inventory, state: State
) -> None:
    active = [agent["hostname"] for agent in state["slaves"] if agent["active"]]
    assert sorted(inventory.host_at(name) for name in active) == inventory.agents


def test_agents_and_master_are_in_their_region_and_zone(
    inventory: Inventory, state: State, mesos: Mesos
) -> None:
    def place(domain: State) -> tuple[str, str]:
        fault = domain["fault_domain"]
        return fault["region"]["name"], fault["zone"]["name"]

    found = {inventory.host_at(a["hostname"]): place(a["domain"]) for a in state["slaves"]}
    assert found == {a: (inventory.region(a), inventory.zone(a)) for a in inventory.agents}
    leader = mesos.leader
    assert place(state["domain"]) == (inventory.region(leader), inventory.zone(leader))


def test_agents_have_the_attributes_of_the_inventory(inventory: Inventory, state: State) -> None:
    found = {inventory.host_at(a["hostname"]): a["attributes"] for a in state["slaves"]}
    for agent in inventory.agents:
        wanted = inventory.variables[agent].get("mesos_agent_attributes") or {}
        assert found[agent].items() >= {k: str(v) for k, v in wanted.items()}.items()


def test_agents_offer_what_the_inventory_says(inventory: Inventory, state: State) -> None:
    names = {"cpus": "mesos_agent_cpus", "mem": "mesos_agent_mem_mb"}
    for agent in state["slaves"]:
        variables = inventory.variables[inventory.host_at(agent["hostname"])]
        for resource, variable in names.items():
            if variables.get(variable):
                assert agent["resources"][resource] == variables[variable]


@pytest.mark.on("agents", "public_agents")
def test_the_agent_knows_itself(
    name: str, mesos: Mesos, inventory: Inventory, state: State
) -> None:
    found = mesos.get(name, AGENT_PORT, "/state")
    assert inventory.host_at(found["hostname"]) == name
    assert found["id"] in {a["id"] for a in state["slaves"]}
