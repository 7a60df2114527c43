"""What a host needs to build its overlays: desired state of the kernel, CNI configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubedcos.errors import InvalidInput
from kubedcos.topology.addressplan import HostOverlay, plan_host
from kubedcos.topology.checks import find_address_problems
from kubedcos.topology.inventory import Inventory, parse_inventory

# Before the main table (32766), after the kernel's own (0).
RULE_PRIORITY = 1000
SYSCTL = {
    "net.ipv4.ip_forward": "1",
    # Answers may take the tunnel where questions came by the underlay; the larger of
    # "all" and the interface's own value counts, so 2 (loose) here is enough for all.
    "net.ipv4.conf.all.rp_filter": "2",
    "net.ipv4.conf.default.rp_filter": "2",
}


def desired_state(overlays: Iterable[HostOverlay], firewall: str) -> dict[str, Any]:
    """State for the reconcile program, as it stands in /etc/kubedcos/overlay.json.

    Args:
        overlays: the host's overlays.
        firewall: nftables table as text.
    """
    return {
        "version": 1,
        "sysctl": dict(SYSCTL),
        "overlays": [_overlay_state(item) for item in overlays],
        "firewall": firewall,
    }


def _overlay_state(item: HostOverlay) -> dict[str, Any]:
    own, overlay = item.own, item.overlay
    return {
        "name": overlay.name,
        "device": {
            "name": item.device,
            "vni": overlay.vni,
            "port": overlay.port,
            "local": str(own.underlay),
            "mac": own.mac,
            "mtu": item.mtu,
            "address": f"{own.vtep}/{overlay.vtep_subnet.prefixlen}",
            # A VXLAN device over veth leaves the inner checksum empty, and TCP hangs.
            "offloads_off": ["tx-checksum-ip-generic"],
        },
        "bridge": {
            "name": item.bridge,
            "mac": item.bridge_mac,
            "mtu": item.mtu,
            "address": f"{own.gateway}/{overlay.prefix}",
        },
        "rule": {
            "from": str(overlay.subnet),
            "table": item.table,
            "priority": RULE_PRIORITY,
        },
        "peers": [
            {
                "host": peer.host,
                "underlay": str(peer.underlay),
                "vtep": str(peer.vtep),
                "mac": peer.mac,
                "slice": str(peer.slice),
            }
            for peer in item.peers
        ],
    }


def firewall_facts(inventory: Inventory) -> dict[str, list[str]]:
    """Names for the template of the nftables table: which addresses are whose."""
    overlays = [str(overlay.subnet) for overlay in inventory.overlays]
    overlays += [str(overlay.vtep_subnet) for overlay in inventory.overlays]
    hosts = [str(host.address) for host in sorted(inventory.hosts, key=lambda h: h.address)]
    return {
        "ports": sorted({str(overlay.port) for overlay in inventory.overlays}),
        "hosts": hosts,
        "overlays": overlays,
        # Only what answers through the tunnel: anything else in the hosts' networks, such as
        # their router, would not know the way back to a container's own address.
        "inside": overlays + hosts,
    }


def host_view(inventory: Inventory, name: str) -> dict[str, Any]:
    """The plan of one host as plain data, for templates and people."""
    return {
        item.overlay.name: {
            "device": item.device,
            "bridge": item.bridge,
            "mtu": item.mtu,
            "vni": item.overlay.vni,
            "port": item.overlay.port,
            "subnet": str(item.overlay.subnet),
            "vtep": str(item.own.vtep),
            "mac": item.own.mac,
            "slice": str(item.own.slice),
            "gateway": str(item.own.gateway),
        }
        for item in plan_host(inventory, name)
    }


def cni_bridge(item: Mapping[str, Any], data_dir: str) -> dict[str, Any]:
    """The bridge plug-in's part of a CNI configuration.

    Args:
        item: an overlay out of `host_view`.
        data_dir: where host-local keeps its leases; shared by all users of the overlay on a host.
    """
    return {
        "type": "bridge",
        "bridge": item["bridge"],
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "mtu": item["mtu"],
        "ipam": {
            "type": "host-local",
            "dataDir": data_dir,
            "ranges": [[{"subnet": item["slice"], "gateway": item["gateway"]}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }


def overlay_files(
    data: Mapping[str, Any], name: str, render: Callable[[str, Mapping[str, Any]], str]
) -> dict[str, Any]:
    """Everything that the host needs for its overlays.

    Args:
        data: as `kubedcos.topology.inventory.parse_inventory` takes it, and ``cni_dir``,
            ``mesos_cni_dir`` (empty: no files for Mesos) and ``cni_data_dir``.
        name: the host.
        render: renders a shared template with values.

    Returns:
        ``state`` (for the reconcile program), ``state_text`` (its file), ``files`` (path →
        content), ``view`` (the plan for people).

    Raises:
        InvalidInput: addresses that can not work.
    """
    if problems := find_address_problems(data):
        raise InvalidInput(problems)
    inventory, _ = parse_inventory(data)
    overlays = plan_host(inventory, name)
    firewall = ""
    if overlays:
        firewall = render("overlay/kubedcos_overlay.nft.j2", firewall_facts(inventory))
    view = host_view(inventory, name)
    files: dict[str, str] = {}
    for overlay, item in view.items():
        bridge = cni_bridge(item, data["cni_data_dir"])
        values = {"name": overlay, "bridge": bridge}
        files[f"{data['cni_dir']}/{overlay}/10-{overlay}.conflist"] = render(
            "overlay/cni-kubernetes.conflist.j2", values
        )
        if data.get("mesos_cni_dir"):
            files[f"{data['mesos_cni_dir']}/kubedcos-{overlay}.conf"] = render(
                "overlay/cni-mesos.conf.j2", values
            )
    state = desired_state(overlays, firewall)
    text = json.dumps(state, indent=2) + "\n"
    return {"state": state, "state_text": text, "files": files, "view": view}
