"""Names resolve on every host, over UDP and TCP, by the host's own resolver."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from .inventory import Inventory
from .mesos import Mesos

# A query by hand, because a production host need not have dig. Prints the response code, then
# addresses. TCP puts the length before the message.
QUERY = """
import random, socket, struct, sys
server, name, transport = sys.argv[1:]
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
number = random.randrange(65536)
query = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">2H", 1, 1)
kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
with socket.socket(socket.AF_INET, kind) as s:
    s.settimeout(5)
    s.connect((server, 53))
    s.sendall(struct.pack(">H", len(query)) + query if transport == "tcp" else query)
    answer = s.recv(65535)
    if transport == "tcp":
        size = struct.unpack(">H", answer[:2])[0] + 2
        while len(answer) < size:
            answer += s.recv(65535)
        answer = answer[2:]
found, flags, _, count = struct.unpack(">4H", answer[:8])
assert found == number
print(flags & 15)
at = len(query)
for _ in range(count):
    while answer[at] and answer[at] < 192:
        at += 1 + answer[at]
    at += 2 if answer[at] else 1
    kind, _, _, size = struct.unpack(">2HIH", answer[at:at + 10])
    at += 10
    if kind == 1:
        print(socket.inet_ntoa(answer[at:at + size]))
    at += size
"""
NO_ERROR, NO_SUCH_NAME = 0, 3
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "tcp"])


def resolve(host: Host, server: str, name: str, transport: str) -> tuple[int, set[str]]:
    """Response code and addresses."""
    code, *addresses = host.check_output(
        "python3 -c %s %s %s %s", QUERY, server, name, transport
    ).split()
    return int(code), set(addresses)


@TRANSPORTS
def test_the_leader(
    host: Host, name: str, mesos: Mesos, inventory: Inventory, transport: str
) -> None:
    found = resolve(host, inventory.address(name), "leader.mesos", transport)
    assert found == (NO_ERROR, {inventory.address(mesos.leader)})


@TRANSPORTS
def test_all_masters(host: Host, name: str, inventory: Inventory, transport: str) -> None:
    found = resolve(host, inventory.address(name), "master.mesos", transport)
    assert found == (NO_ERROR, {inventory.address(m) for m in inventory.of("masters")})


@TRANSPORTS
def test_a_name_that_nobody_has(
    host: Host, name: str, inventory: Inventory, transport: str
) -> None:
    found = resolve(host, inventory.address(name), "nobody-has-this-name.mesos", transport)
    assert found == (NO_SUCH_NAME, set())


@TRANSPORTS
def test_an_api_server_of_a_framework(
    host: Host, name: str, mesos: Mesos, inventory: Inventory, transport: str
) -> None:
    for cluster in inventory.kubernetes_clusters:
        wanted = {
            inventory.address(mesos.agent_hosts[task["slave_id"]])
            for task in mesos.running(cluster, "kube-apiserver")
        }
        found = resolve(host, inventory.address(name), f"apiserver.{cluster}.mesos", transport)
        assert found == (NO_ERROR, wanted)


def test_programs_on_the_host_use_it(host: Host, mesos: Mesos, inventory: Inventory) -> None:
    found = host.check_output("getent ahostsv4 leader.mesos").split()[0]
    assert found == inventory.address(mesos.leader)


def test_hosts_know_each_other(host: Host, inventory: Inventory) -> None:
    names = " ".join(inventory.hosts)
    lines = host.check_output(f"getent hosts {names}").splitlines()
    found = {line.split()[1]: line.split()[0] for line in lines}
    assert found == {other: inventory.address(other) for other in inventory.hosts}
