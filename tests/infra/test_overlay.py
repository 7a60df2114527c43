"""Overlays: all slices reach each other, really by VXLAN, at the full MTU, and TCP too.

Packets go from one host's gateway address to another's, as containers' packets do.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from testinfra.host import Host

from .capture import Tunnelled, tunnelled
from .inventory import Inventory
from .waiting import until

PING_HEADERS = 28  # IPv4 and ICMP
TRANSFER = 4 << 20

SERVER = """
import hashlib, socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    server.settimeout(15)
    connection, peer = server.accept()
    data = b"".join(iter(lambda: connection.recv(65536), b""))
    print(peer[0], len(data), hashlib.sha256(data).hexdigest())
"""
CLIENT = """
import hashlib, socket, sys, time
data = bytes(range(256)) * (int(sys.argv[4]) // 256)
deadline = time.monotonic() + 10
while True:
    try:
        s = socket.create_connection((sys.argv[2], int(sys.argv[3])), 5, (sys.argv[1], 0))
        break
    except ConnectionRefusedError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.05)
with s:
    s.sendall(data)
print(hashlib.sha256(data).hexdigest())
"""


def test_every_slice_reaches_every_other(host: Host, name: str, inventory: Inventory) -> None:
    commands, wanted = [], set()
    for overlay in inventory.overlays(name).values():
        for peer in overlay.peers:
            wanted.add(str(peer.gateway))
            ping = f"ping -q -c 1 -W 3 -I {overlay.own.gateway} {peer.gateway} >/dev/null"
            commands.append(f"({ping} && echo {peer.gateway}) &")
    assert set(host.check_output(" ".join(commands) + " wait").split()) == wanted


@pytest.fixture
def ends(region_pair: tuple[str, str], overlay: str, inventory: Inventory) -> tuple[str, str, int]:
    """Gateways of sender and receiver, and the overlay's MTU."""
    sender, receiver = (inventory.overlays(host)[overlay] for host in region_pair)
    return str(sender.own.gateway), str(receiver.own.gateway), sender.mtu


def test_packets_on_the_wire_are_vxlan(
    region_pair: tuple[str, str],
    overlay: str,
    ends: tuple[str, str, int],
    inventory: Inventory,
    hosts: dict[str, Host],
) -> None:
    sender, receiver = region_pair
    here, there, _ = ends
    plan = inventory.overlays(sender)[overlay]
    # UDP of any port and VNI, as long as these two talk inside.
    inner = " and ".join(
        f"udp[{at}:4] = {int.from_bytes(bytes(map(int, address.split('.'))), 'big')}"
        for at, address in ((42, here), (46, there))
    )
    outer = f"src host {inventory.address(sender)} and dst host {inventory.address(receiver)}"
    tcpdump = "timeout 10 tcpdump --immediate-mode -i any -c 1 -w -"
    capture = f"{tcpdump} '{outer} and udp and {inner}' | base64 -w 0"
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(hosts[receiver].check_output, capture)

        def ping_again() -> bool:
            hosts[sender].run(f"ping -q -c 1 -W 1 -I {here} {there}")
            return seen.done()

        until(ping_again, "a packet was captured", seconds=15, pause=0)
    (packet,) = tunnelled(seen.result())
    assert packet == Tunnelled(
        source=plan.own.underlay,
        destination=inventory.plan.host(receiver).address,
        port=plan.overlay.port,
        vni=plan.overlay.vni,
        inner_source=plan.own.gateway,
        inner_destination=inventory.overlays(receiver)[overlay].own.gateway,
    )


def test_the_full_mtu_passes_and_not_one_byte_more(
    region_pair: tuple[str, str], ends: tuple[str, str, int], hosts: dict[str, Host]
) -> None:
    here, there, mtu = ends
    ping = f"ping -c 1 -M do -I {here} {there}"
    size = mtu - PING_HEADERS
    host = hosts[region_pair[0]]
    full = host.run(f"{ping} -W 1 -s {size}")
    # The sender says so itself, at once.
    more = host.run(f"{ping} -W 0.2 -s {size + 1}")
    assert full.rc == 0, full
    assert more.rc != 0, more
    assert "message too long" in more.stdout + more.stderr


def test_tcp_passes_unspoilt(
    region_pair: tuple[str, str], ends: tuple[str, str, int], hosts: dict[str, Host]
) -> None:
    here, there, _ = ends
    # Above what Mesos offers, below what outgoing connections take.
    port = random.randrange(30000, 32000)
    sender, receiver = region_pair
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(
            hosts[receiver].check_output, f"timeout 20 python3 -c %s {there} {port}", SERVER
        )
        sent = hosts[sender].check_output(f"python3 -c %s {here} {there} {port} {TRANSFER}", CLIENT)
        assert serving.result().split() == [here, str(TRANSFER), sent]
