"""The reconcile program's decisions: only differences, only what is ours."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from tests.unit.plugins.module_utils import load

from kubedcos.topology.addressplan import plan_host
from kubedcos.topology.hostoverlay import desired_state
from kubedcos.topology.inventory import Host, Inventory, Overlay

overlay = load("kubedcos_overlay")


def desired(*indices: int, overlays: int = 1) -> dict[str, Any]:
    hosts = tuple(Host(f"h{i}", IPv4Address("10.0.0.0") + i, i, "r", "z") for i in indices)
    nets = tuple(
        Overlay(
            f"net{n}",
            IPv4Network(f"10.24{n}.0.0/16"),
            24,
            IPv4Network(f"10.255.{n}.0/24"),
            1025 + n,
            4789,
        )
        for n in range(overlays)
    )
    plan = plan_host(Inventory(hosts, nets), f"h{indices[0]}")
    return desired_state(plan, "table inet kubedcos_overlay {}\n")


def kernel_after(state: dict[str, Any]) -> Any:
    """A kernel that holds exactly the desired state."""
    kernel = overlay.Kernel(sysctl=dict(state["sysctl"]), firewall=True, firewall_present=True)
    for item in state["overlays"]:
        device, bridge, table = item["device"], item["bridge"], str(item["rule"]["table"])
        common = {"ifalias": f"kubedcos overlay {item['name']}", "flags": ["UP"]}
        common["inet6_addr_gen_mode"] = "none"
        data = {"id": device["vni"], "port": device["port"], "local": device["local"]}
        kernel.links[device["name"]] = {
            **common,
            "mtu": device["mtu"],
            "address": device["mac"],
            "linkinfo": {"info_kind": "vxlan", "info_data": {**data, "learning": False}},
        }
        kernel.links[bridge["name"]] = {
            **common,
            "mtu": bridge["mtu"],
            "address": bridge["mac"],
            "linkinfo": {"info_kind": "bridge"},
        }
        kernel.addresses[device["name"]] = {device["address"]}
        kernel.addresses[bridge["name"]] = {bridge["address"]}
        kernel.offloads[device["name"]] = set()
        kernel.rules.add((item["rule"]["from"], table, item["rule"]["priority"]))
        gateway = bridge["address"].partition("/")[0]
        for peer in item["peers"]:
            name = device["name"]
            kernel.fdb.setdefault(name, {})[peer["mac"]] = peer["underlay"]
            kernel.neighbours.setdefault(name, {})[peer["vtep"]] = peer["mac"]
            kernel.routes["main", peer["slice"]] = (peer["vtep"], name, gateway)
            kernel.routes[table, peer["underlay"]] = (peer["vtep"], name, "")
    return kernel


def commands(state: dict[str, Any], kernel: Any) -> list[str]:
    return [" ".join((change.tool, *change.words)) for change in overlay.differences(state, kernel)]


def test_a_kernel_as_desired_is_left_alone() -> None:
    state = desired(1, 2, 3, overlays=2)
    assert commands(state, kernel_after(state)) == []


def test_an_empty_kernel_gets_everything_in_working_order() -> None:
    done = commands(desired(1, 2), overlay.Kernel())
    wanted = [
        (
            "ip link add v-net0 address 70:b3:d5:ff:00:01 mtu 1450 type vxlan id 1025 dstport 4789 "
            "local 10.0.0.1 nolearning noudpcsum"
        ),
        "ip addr replace 10.255.0.1/24 dev v-net0",
        "ethtool -K v-net0 tx-checksum-ip-generic off",
        # An MTU that a bridge is made with goes when its last port does.
        "ip link add m-net0 address 70:b3:d5:f0:01:01 type bridge",
        "ip link set dev m-net0 mtu 1450",
        "ip addr replace 10.240.1.1/24 dev m-net0",
        "bridge fdb replace 70:b3:d5:ff:00:02 dev v-net0 dst 10.0.0.2 self permanent",
        "ip neigh replace 10.255.0.2 lladdr 70:b3:d5:ff:00:02 dev v-net0 nud permanent",
        (
            "ip route replace 10.240.2.0/24 via 10.255.0.2 dev v-net0 onlink src 10.240.1.1 "
            "table main proto 75"
        ),
        "ip route replace 10.0.0.2 via 10.255.0.2 dev v-net0 onlink table 101025 proto 75",
        "ip rule add from 10.240.0.0/16 lookup 101025 priority 1000 protocol 75",
    ]
    assert [line for line in done if line in wanted] == wanted
    assert done[-1].startswith("nft ")


def test_a_new_peer_is_four_entries() -> None:
    kernel = kernel_after(desired(1, 2))
    done = commands(desired(1, 2, 3), kernel)
    assert len(done) == 4
    assert all("h3" in line or ".3" in line or ":03" in line for line in done)


def test_a_peer_that_left_takes_its_entries_along() -> None:
    kernel = kernel_after(desired(1, 2, 3))
    assert commands(desired(1, 2), kernel) == [
        "bridge fdb del 70:b3:d5:ff:00:03 dev v-net0 dst 10.0.0.3 self",
        "ip neigh del 10.255.0.3 dev v-net0",
        "ip route del 10.0.0.3 table 101025 proto 75",
        "ip route del 10.240.3.0/24 table main proto 75",
    ]


def test_a_peer_with_another_underlay_address_is_redirected() -> None:
    state = desired(1, 2)
    kernel = kernel_after(state)
    kernel.fdb["v-net0"]["70:b3:d5:ff:00:02"] = "10.9.9.9"
    assert commands(state, kernel) == [
        "bridge fdb replace 70:b3:d5:ff:00:02 dev v-net0 dst 10.0.0.2 self permanent"
    ]


@pytest.mark.parametrize("changed", [{"id": 7}, {"port": 8472}, {"local": "10.9.9.9"}])
def test_other_tunnel_settings_make_the_device_anew(changed: dict[str, Any]) -> None:
    state = desired(1, 2)
    kernel = kernel_after(state)
    kernel.links["v-net0"]["linkinfo"]["info_data"].update(changed)
    done = commands(state, kernel)
    assert done[0] == "ip link del v-net0"
    assert done[1].startswith("ip link add v-net0")
    # What went with the device is made again.
    assert "bridge fdb replace 70:b3:d5:ff:00:02 dev v-net0 dst 10.0.0.2 self permanent" in done
    assert any(line.startswith("ip route replace 10.240.2.0/24") for line in done)


def test_mtu_and_mac_are_changed_in_place() -> None:
    state = desired(1, 2)
    kernel = kernel_after(state)
    kernel.links["v-net0"]["mtu"] = 1500
    kernel.links["m-net0"]["address"] = "02:00:00:00:00:01"
    assert commands(state, kernel) == [
        "ip link set dev v-net0 mtu 1450",
        "ip link set dev m-net0 address 70:b3:d5:f0:01:01",
    ]


def test_an_overlay_that_is_gone_is_removed_and_nothing_else() -> None:
    kernel = kernel_after(desired(1, 2, overlays=2))
    kernel.links["vxlan9"] = {"linkinfo": {"info_kind": "vxlan"}, "ifalias": "someone else's"}
    kernel.links["eth0"] = {}
    assert commands(desired(1, 2, overlays=1), kernel) == [
        "ip link del dev m-net1",
        "ip link del dev v-net1",
        "ip rule del from 10.241.0.0/16 lookup 101026 priority 1000 protocol 75",
    ]


def test_no_overlay_at_all_leaves_nothing_of_ours() -> None:
    kernel = kernel_after(desired(1, 2))
    nothing = {"version": 1, "sysctl": {}, "overlays": [], "firewall": ""}
    assert commands(nothing, kernel) == [
        "ip link del dev m-net0",
        "ip link del dev v-net0",
        "ip rule del from 10.240.0.0/16 lookup 101025 priority 1000 protocol 75",
        "nft ",
    ]


@pytest.mark.parametrize(("name", "kind"), [("v-net0", "dummy"), ("m-net0", "vxlan")])
def test_a_stranger_with_our_name_is_refused(name: str, kind: str) -> None:
    state = desired(1, 2)
    kernel = kernel_after(state)
    kernel.links[name] = {"linkinfo": {"info_kind": kind}}
    with pytest.raises(overlay.OverlayError, match=name):
        overlay.differences(state, kernel)


def test_checksum_offload_that_came_back_is_turned_off() -> None:
    state = desired(1, 2)
    kernel = kernel_after(state)
    kernel.offloads["v-net0"] = {"tx-checksum-ip-generic", "rx-checksumming"}
    assert commands(state, kernel) == ["ethtool -K v-net0 tx-checksum-ip-generic off"]


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(overlay.OverlayError, match="version 1"):
        overlay.check_state({"version": 2})
