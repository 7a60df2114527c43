"""ZooKeeper has a quorum and one leader."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from .inventory import Inventory

PORT = 2181


def answer(host: Host, address: str, port: int, word: str) -> str:
    """What a member answers to a four-letter word."""
    program = (
        "import socket, sys; "
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); "
        "s.sendall(sys.argv[3].encode()); "
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    return str(host.check_output(f"python3 -c %s {address} {port} {word}", program))


@pytest.fixture(scope="module")
def modes(inventory: Inventory, hosts: dict[str, Host]) -> dict[str, str]:
    """Member → what it says to be."""
    port = inventory.get("zookeeper_client_port", PORT)
    found = {}
    for member in inventory.zookeepers:
        lines = answer(hosts[member], inventory.address(member), port, "srvr").splitlines()
        found[member] = dict(line.split(": ", 1) for line in lines if ": " in line)["Mode"]
    return found


def test_every_member_serves(modes: dict[str, str], inventory: Inventory) -> None:
    wanted = {"standalone"} if len(inventory.zookeepers) == 1 else {"leader", "follower"}
    assert set(modes.values()) == wanted


def test_exactly_one_member_leads(modes: dict[str, str]) -> None:
    leading = [member for member, mode in modes.items() if mode in {"leader", "standalone"}]
    assert len(leading) == 1


def test_a_leader_counts_all_others_as_followers(
    modes: dict[str, str], inventory: Inventory, hosts: dict[str, Host]
) -> None:
    leader = next((member for member, mode in modes.items() if mode == "leader"), None)
    if leader is None:
        pytest.skip("one member has no followers")
    port = inventory.get("zookeeper_client_port", PORT)
    lines = answer(hosts[leader], inventory.address(leader), port, "mntr").splitlines()
    facts = dict(line.split("\t", 1) for line in lines if "\t" in line)
    assert int(float(facts["zk_synced_followers"])) == len(modes) - 1


def test_words_that_change_something_are_refused(
    inventory: Inventory, hosts: dict[str, Host]
) -> None:
    member = inventory.zookeepers[0]
    port = inventory.get("zookeeper_client_port", PORT)
    said = answer(hosts[member], inventory.address(member), port, "crst")
    assert "not executed because it is not in the whitelist" in said
