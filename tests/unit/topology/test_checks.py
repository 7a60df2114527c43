"""Every bad inventory is named with its place and identifier; good ones pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from kubedcos.errors import InvalidInput
from kubedcos.topology.checks import SMALLEST_MTU, find_problems
from kubedcos.topology.inventory import read_inventory


def good() -> dict[str, Any]:
    def host(name: str, address: str, index: int, zone: str, *functions: str) -> dict[str, Any]:
        region = zone.rpartition("-")[0]
        return {
            "name": name,
            "address": address,
            "index": index,
            "region": region,
            "zone": zone,
            "functions": list(functions),
        }

    return {
        "hosts": [
            host("m1", "10.89.1.10", 1, "dc-a-1", "bootstrap", "master", "zookeeper"),
            host("a1", "10.89.1.11", 11, "dc-a-1", "agent"),
            host("b1", "10.89.2.21", 21, "dc-b-1", "agent"),
        ],
        "overlays": [
            {
                "name": "kubernetes",
                "subnet": "10.244.0.0/16",
                "prefix": 24,
                "vtep_subnet": "10.255.0.0/24",
                "vni": 1025,
                "port": 4789,
            },
            {
                "name": "apps",
                "subnet": "10.245.0.0/16",
                "prefix": 24,
                "vtep_subnet": "10.255.1.0/24",
                "vni": 1026,
                "port": 4789,
            },
        ],
        "host_networks": {"dc-a": "10.89.1.0/24", "dc-b": "10.89.2.0/24"},
        "service_networks": {"kubernetes": "10.96.0.0/16"},
        "underlay_mtu": 1500,
        "overlay_mtu": 0,
    }


def with_host(position: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["hosts"][position].update(values)


def with_overlay(position: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["overlays"][position].update(values)


def with_value(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(values)


def both(*changes: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for each in changes:
            each(data)

    return change


def more_masters(data: dict[str, Any]) -> None:
    data["hosts"][1]["functions"] = ["master", "zookeeper"]


def masters_apart(data: dict[str, Any]) -> None:
    for host in data["hosts"]:
        host["functions"] = [*host["functions"], "master"]


BAD = [
    ("no hosts", with_value(hosts=[]), "inventory-without-hosts", "inventory"),
    ("no address", with_host(1, address=None), "host-address-invalid", "host a1"),
    ("a name as address", with_host(1, address="a1.example"), "host-address-invalid", "host a1"),
    ("no index", with_host(1, index=None), "host-index-invalid", "host a1"),
    ("index zero", with_host(1, index=0), "host-index-invalid", "host a1"),
    ("index as a truth value", with_host(1, index=True), "host-index-invalid", "host a1"),
    ("same index", with_host(2, index=11), "host-index-duplicate", "hosts a1, b1"),
    ("same address", with_host(1, address="10.89.1.10"), "host-address-duplicate", "hosts m1, a1"),
    ("no region", with_host(1, region=""), "host-region-missing", "host a1"),
    ("no zone", with_host(1, zone=None), "host-zone-missing", "host a1"),
    ("capitals in a region", with_host(1, region="DC-A"), "host-region-invalid", "host a1"),
    ("a newline in a zone", with_host(1, zone="a-1\n"), "host-zone-invalid", "host a1"),
    ("a long zone", with_host(1, zone="z" * 64), "host-zone-invalid", "host a1"),
    ("two masters", more_masters, "master-count-even", "masters"),
    ("two ZooKeeper members", more_masters, "zookeeper-count-even", "ZooKeeper members"),
    ("masters in two regions", masters_apart, "masters-in-several-regions", "masters"),
    ("no master", with_host(0, functions=["bootstrap", "zookeeper"]), "master-count", "masters"),
    ("two bootstrap hosts", with_host(1, functions=["bootstrap"]), "bootstrap-count", "bootstrap"),
    (
        "two kinds of agent",
        with_host(1, functions=["agent", "public_agent"]),
        "agent-twice",
        "hosts a1",
    ),
    (
        "14 characters",
        with_overlay(0, name="a" * 14),
        "overlay-name-too-long",
        "overlay " + "a" * 14,
    ),
    ("a reserved name", with_overlay(0, name="host"), "overlay-name-reserved", "overlay host"),
    ("a name with a blank", with_overlay(0, name="my net"), "overlay-name-invalid", "overlay my"),
    ("the same name", with_overlay(1, name="kubernetes"), "overlay-name-duplicate", "overlays"),
    ("the same VNI", with_overlay(1, vni=1025), "overlay-vni-duplicate", "overlays"),
    ("no VNI", with_overlay(1, vni=None), "overlay-vni-invalid", "overlay apps"),
    ("VNI too large", with_overlay(1, vni=2**24), "overlay-vni-invalid", "overlay apps"),
    ("port zero", with_overlay(1, port=0), "overlay-port-invalid", "overlay apps"),
    ("a misspelt key", with_overlay(1, subnett="x"), "overlay-key-unknown", "overlay apps"),
    (
        "host bits",
        with_overlay(1, subnet="10.245.0.1/16"),
        "overlay-subnet-invalid",
        "overlay apps",
    ),
    ("no tunnels", with_overlay(1, vtep_subnet=""), "overlay-vtep-subnet-invalid", "overlay apps"),
    (
        "few slices",
        with_overlay(1, subnet="10.245.0.0/20"),
        "overlay-subnet-too-small",
        "overlay apps",
    ),
    (
        "few tunnel addresses",
        with_overlay(1, vtep_subnet="10.255.1.0/28"),
        "vtep-subnet-too-small",
        "overlay apps",
    ),
    (
        "a slice as large as the overlay",
        with_overlay(1, prefix=16),
        "overlay-prefix-too-short",
        "overlay apps",
    ),
    ("prefix 31", with_overlay(1, prefix=31), "overlay-prefix-invalid", "overlay apps"),
    (
        "overlays overlap",
        with_overlay(1, subnet="10.244.128.0/17"),
        "subnet-overlap",
        "overlay kubernetes: subnet",
    ),
    (
        "tunnel in a host network",
        with_overlay(1, vtep_subnet="10.89.2.0/24"),
        "subnet-overlap",
        "overlay apps: vtep_subnet",
    ),
    (
        "services in an overlay",
        with_value(service_networks={"kubernetes": "10.244.0.0/24"}),
        "subnet-overlap",
        "overlay kubernetes: subnet",
    ),
    (
        "hosts in an overlay",
        with_value(host_networks={}, service_networks={"kubernetes": "10.89.1.0/24"}),
        "subnet-holds-hosts",
        "service network kubernetes",
    ),
    (
        "few services",
        with_value(service_networks={"kubernetes": "10.96.0.0/28"}),
        "service-network-too-small",
        "service network kubernetes",
    ),
    (
        "many services",
        with_value(service_networks={"kubernetes": "10.160.0.0/11"}),
        "service-network-too-large",
        "service network kubernetes",
    ),
    (
        "a network without prefix",
        with_value(host_networks={"dc-a": "10.89.1.0"}),
        "host-network-invalid",
        "host_networks: dc-a",
    ),
    (
        "a host elsewhere",
        with_value(host_networks={"dc-a": "10.89.1.0/24"}),
        "host-outside-networks",
        "host b1",
    ),
    ("MTU of the underlay", with_value(overlay_mtu=1500), "mtu-too-large", "overlay_mtu"),
    ("MTU one too large", with_value(overlay_mtu=1451), "mtu-too-large", "overlay_mtu"),
    ("a tiny underlay", with_value(underlay_mtu=600), "mtu-too-small", "overlay_mtu"),
    ("a word as MTU", with_value(underlay_mtu="big"), "underlay-mtu-invalid", "underlay_mtu"),
    ("the same tunnels", with_overlay(1, vtep_subnet="10.255.0.0/24"), "vtep-duplicate", "hosts"),
]


def test_a_good_inventory_has_no_problem() -> None:
    assert find_problems(good()) == ()


@pytest.mark.parametrize(
    ("spoil", "identifier", "where"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_bad_inventory_is_named(
    spoil: Callable[[dict[str, Any]], None], identifier: str, where: str
) -> None:
    data = copy.deepcopy(good())
    spoil(data)
    found = {problem.id: problem for problem in find_problems(data)}
    assert identifier in found
    assert found[identifier].where.startswith(where)
    assert found[identifier].seen
    assert found[identifier].wanted


def masters(count: int) -> Callable[[dict[str, Any]], None]:
    def add(data: dict[str, Any]) -> None:
        first = data["hosts"][0]
        for number in range(2, count + 1):
            place = {"name": f"m{number}", "address": f"10.89.1.{100 + number}", "index": number}
            data["hosts"].append({**first, **place, "functions": ["master", "zookeeper"]})

    return add


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (masters(3), []),
        (masters(4), ["master-count-even", "zookeeper-count-even"]),
        (masters(5), []),
        (masters(7), ["master-count", "zookeeper-count"]),
        (with_value(service_networks={"kubernetes": "10.96.0.0/12"}), []),
        (
            with_value(service_networks={"kubernetes": "10.160.0.0/11"}),
            ["service-network-too-large"],
        ),
        (with_value(service_networks={"kubernetes": "10.96.0.0/24"}), []),
        (
            with_value(service_networks={"kubernetes": "10.96.0.0/25"}),
            ["service-network-too-small"],
        ),
        (with_value(overlay_mtu=SMALLEST_MTU), []),
        (with_value(overlay_mtu=SMALLEST_MTU - 1), ["mtu-too-small"]),
        # 32 slices are those of the indices 0 to 31.
        (both(with_overlay(0, subnet="10.244.0.0/19"), with_host(2, index=31)), []),
        (
            both(with_overlay(0, subnet="10.244.0.0/19"), with_host(2, index=32)),
            ["overlay-subnet-too-small"],
        ),
        # Of 32 addresses the last is for broadcasts.
        (both(with_overlay(0, vtep_subnet="10.255.0.0/27"), with_host(2, index=30)), []),
        (
            both(with_overlay(0, vtep_subnet="10.255.0.0/27"), with_host(2, index=31)),
            ["vtep-subnet-too-small"],
        ),
    ],
)
def test_the_last_value_that_fits_passes_and_the_next_does_not(
    change: Callable[[dict[str, Any]], None], expected: list[str]
) -> None:
    data = good()
    change(data)
    assert [problem.id for problem in find_problems(data)] == expected


def test_largest_mtu_is_fine() -> None:
    assert find_problems({**good(), "overlay_mtu": 1450}) == ()


def test_all_problems_come_at_once() -> None:
    data = good()
    data["hosts"][1]["region"] = ""
    data["overlays"][0]["vni"] = "x"
    data["overlay_mtu"] = 9000
    with pytest.raises(InvalidInput) as caught:
        read_inventory(data)
    assert {p.id for p in caught.value.problems} == {"host-region-missing", "overlay-vni-invalid"}
    assert {"host-region-missing", "overlay-vni-invalid", "mtu-too-large"} <= {
        problem.id for problem in find_problems(data)
    }


def test_numbers_may_come_as_text() -> None:
    data = good()
    data["hosts"][0]["index"] = "1"
    data["overlays"][0]["vni"] = "1025"
    assert find_problems(data) == ()
