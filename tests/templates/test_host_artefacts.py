"""What hosts get of overlay, DNS and storage, for a cluster of two data centres."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kubedcos.errors import InvalidInput
from kubedcos.render import render
from kubedcos.topology.hostoverlay import overlay_files

Golden = Callable[[str, str], None]

CLUSTER: dict[str, Any] = {
    "hosts": [
        {"name": "m1", "address": "10.89.1.10", "index": 1, "region": "dc-a", "zone": "a-1"},
        {"name": "a1", "address": "10.89.1.11", "index": 11, "region": "dc-a", "zone": "a-1"},
        {"name": "b1", "address": "10.89.2.21", "index": 21, "region": "dc-b", "zone": "b-1"},
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
    "cni_dir": "/etc/kubedcos/cni",
    "mesos_cni_dir": "/etc/mesos/cni",
    "cni_data_dir": "/run/kubedcos/cni",
}


@pytest.mark.parametrize("host", ["m1", "b1"])
def test_overlay_of_a_host(golden: Golden, host: str) -> None:
    made = overlay_files(CLUSTER, host, render)
    golden(f"overlay/{host}/overlay.json", made["state_text"])
    golden(f"overlay/{host}/kubedcos_overlay.nft", made["state"]["firewall"])
    for path, text in made["files"].items():
        json.loads(text)
        golden(f"overlay/{host}{path}", text)


def test_no_overlay_leaves_no_firewall() -> None:
    made = overlay_files({**CLUSTER, "overlays": []}, "m1", render)
    assert made["state"]["firewall"] == ""
    assert made["files"] == {}


def test_addresses_that_can_not_work_are_refused() -> None:
    spoilt = {**CLUSTER, "overlay_mtu": 1500}
    with pytest.raises(InvalidInput, match="wanted at most 1450"):
        overlay_files(spoilt, "m1", render)


def test_overlay_unit(golden: Golden) -> None:
    program = "/usr/local/lib/kubedcos/overlay-reconcile"
    golden(
        "overlay/kubedcos-overlay.service",
        render("overlay/kubedcos-overlay.service.j2", {"program": program}),
    )


def test_corefile(golden: Golden) -> None:
    values = {
        "listen": ["127.0.0.1", "10.89.1.11"],
        "zones": [{"name": "mesos", "servers": ["10.89.1.10:61053", "10.89.1.9:61053"]}],
        "upstreams": ["192.0.2.53"],
    }
    golden("dns/Corefile", render("dns/Corefile.j2", values))
    closed = render("dns/Corefile.j2", {**values, "zones": [], "upstreams": []})
    golden("dns/Corefile-closed-network", closed)


def test_resolver_and_dns_unit(golden: Golden) -> None:
    values = {"servers": ["10.89.1.11"], "search": ["example.org"]}
    golden("dns/resolv.conf", render("dns/resolv.conf.j2", values))
    unit = {
        "program": "/opt/kubedcos/bin/coredns",
        "corefile": "/etc/kubedcos/dns/Corefile",
    }
    golden("dns/kubedcos-dns.service", render("dns/kubedcos-dns.service.j2", unit))


@pytest.mark.parametrize("role", ["*", "storage/fast"])
def test_disks_as_mesos_resources(golden: Golden, role: str) -> None:
    offers = [
        {"type": "ROOT", "root": "", "mb": 8192},
        {"type": "MOUNT", "root": "/srv/mesos/disk1", "mb": 1900},
        {"type": "PATH", "root": "/srv/bulk", "mb": 50000},
    ]
    text = render("storage/mesos-disks.json.j2", {"offers": offers, "role": role})
    resources = json.loads(text)
    assert [entry["scalar"]["value"] for entry in resources] == [8192, 1900, 50000]
    assert {entry.get("role", "*") for entry in resources} == {role}
    golden(f"storage/mesos-disks{'' if role == '*' else '-reserved'}.json", text)


@pytest.mark.parametrize("what", ["device", "image"])
def test_mount_unit(golden: Golden, what: str) -> None:
    disk = {
        "name": "disk1",
        "device": "/dev/disk/by-id/nvme-1" if what == "device" else "",
        "image": "/var/lib/kubedcos/disks/disk1.img" if what == "image" else "",
        "root": "/srv/mesos/disk1",
        "filesystem": "xfs",
        "options": "noatime",
    }
    golden(f"storage/{what}.mount", render("storage/disk.mount.j2", disk))
