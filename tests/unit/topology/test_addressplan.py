"""The address plan: exact addresses, and nobody moves when others come or go."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.topology.addressplan import end_point, mac_of, plan_host, slice_of, vtep_of
from kubedcos.topology.inventory import Host, Inventory, Overlay

APPS = Overlay("apps", IPv4Network("10.245.0.0/16"), 24, IPv4Network("10.255.1.0/24"), 1026, 4789)


def host(name: str, index: int) -> Host:
    return Host(name, IPv4Address("10.0.0.0") + index, index, "dc-a", "a-1")


def inventory(*indices: int) -> Inventory:
    return Inventory(tuple(host(f"h{i}", i) for i in indices), (APPS,))


def test_addresses_of_a_host() -> None:
    point = end_point(APPS, host("b1", 21))
    assert str(point.slice) == "10.245.21.0/24"
    assert str(point.gateway) == "10.245.21.1"
    assert str(point.vtep) == "10.255.1.21"
    assert point.mac == "70:b3:d5:ff:01:15"


def test_mac_is_the_block_and_the_last_three_octets() -> None:
    assert mac_of(IPv4Address("44.128.0.1")) == "70:b3:d5:80:00:01"


def test_mtu_leaves_room_for_the_tunnel() -> None:
    assert plan_host(inventory(1, 2), "h1")[0].mtu == 1450
    smaller = Inventory(inventory(1, 2).hosts, (APPS,), underlay_mtu=1500, overlay_mtu=1400)
    assert plan_host(smaller, "h1")[0].mtu == 1400


def test_names_fit_the_kernel_and_tables_are_apart() -> None:
    item = plan_host(inventory(1), "h1")[0]
    assert (item.device, item.bridge, item.table) == ("v-apps", "m-apps", 101026)


def test_an_index_beyond_the_subnet_is_refused() -> None:
    with pytest.raises(ValueError, match="number 256"):
        slice_of(APPS, 256)
    with pytest.raises(ValueError, match="number 255"):
        vtep_of(APPS, 255)


@given(st.lists(st.integers(1, 254), min_size=2, max_size=20, unique=True))
def test_hosts_share_nothing(indices: list[int]) -> None:
    hosts = inventory(*indices).hosts
    points = [end_point(APPS, item) for item in hosts]
    assert len({p.vtep for p in points}) == len(points)
    assert len({p.mac for p in points}) == len(points)
    ordered = sorted(points, key=lambda p: p.slice)
    assert not any(a.slice.overlaps(b.slice) for a, b in itertools.pairwise(ordered))


@given(
    st.lists(st.integers(1, 254), min_size=3, max_size=12, unique=True),
)
def test_neither_order_nor_a_removed_host_renumbers_the_others(indices: list[int]) -> None:
    name = f"h{indices[0]}"
    before = plan_host(inventory(*indices), name)[0]
    shuffled = [*indices[1:], indices[0]]
    assert plan_host(inventory(*shuffled), name)[0] == before
    after = plan_host(inventory(*indices[:-1]), name)[0]
    assert after.own == before.own
    assert set(after.peers) == {p for p in before.peers if p.host != f"h{indices[-1]}"}


def test_every_host_names_every_other_exactly_once() -> None:
    whole = inventory(3, 1, 2)
    for name in ("h1", "h2", "h3"):
        peers = [peer.host for peer in plan_host(whole, name)[0].peers]
        assert sorted([*peers, name]) == ["h1", "h2", "h3"]
