"""The address plan: every overlay address follows from a host's stable index.

Slice, tunnel address and MAC of a host depend on its own index only, never on its place in a list
or on the other hosts, so that adding or removing a host renumbers nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from kubedcos.topology.inventory import Host, Inventory, Overlay

# The block that DC/OS registered and uses for its own tunnel end points.
OUI = (0x70, 0xB3, 0xD5)
# Outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14; the underlay's MTU counts IP packets.
VXLAN_OVERHEAD = 50
# Below this IPv4 hosts need not accept a packet in one piece (RFC 791).
SMALLEST_MTU = 552
# Routing table of an overlay's own packets to cluster hosts: this plus the VNI.
TABLE_BASE = 100_000


@dataclass(frozen=True, slots=True)
class EndPoint:
    """What one host has of one overlay.

    Attributes:
        host: inventory name.
        underlay: the host's own address, which carries the tunnel.
        vtep: tunnel address.
        mac: MAC of the tunnel device.
        slice: the container addresses that the host owns.
    """

    host: str
    underlay: IPv4Address
    vtep: IPv4Address
    mac: str
    slice: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        """First address of the slice: the bridge's, and the containers' default route."""
        return self.slice[1]


@dataclass(frozen=True, slots=True)
class HostOverlay:
    """One overlay as one host has to build it.

    Attributes:
        overlay: the overlay.
        own: this host's end.
        peers: the other ends, by index.
        mtu: MTU of device, bridge and containers in bytes.
    """

    overlay: Overlay
    own: EndPoint
    peers: tuple[EndPoint, ...]
    mtu: int

    @property
    def device(self) -> str:
        """Name of the VXLAN device."""
        return f"v-{self.overlay.name}"

    @property
    def bridge(self) -> str:
        """Name of the bridge that containers join."""
        return f"m-{self.overlay.name}"

    @property
    def bridge_mac(self) -> str:
        """A MAC that stays when containers come and go."""
        return mac_of(self.own.gateway)

    @property
    def table(self) -> int:
        """Routing table for packets of the overlay to cluster hosts."""
        return TABLE_BASE + self.overlay.vni


def slice_of(overlay: Overlay, index: int) -> IPv4Network:
    """The host's slice: block number `index` of the overlay's subnet.

    Raises:
        ValueError: the subnet has no such block.
    """
    size = 1 << (32 - overlay.prefix)
    first = int(overlay.subnet.network_address) + index * size
    block = IPv4Network((first, overlay.prefix))
    if overlay.prefix < overlay.subnet.prefixlen or not block.subnet_of(overlay.subnet):
        raise ValueError(f"{overlay.subnet} has no /{overlay.prefix} number {index}")
    return block


def vtep_of(overlay: Overlay, index: int) -> IPv4Address:
    """The host's tunnel address: number `index` of the tunnel subnet.

    Raises:
        ValueError: the subnet has no such host address.
    """
    subnet = overlay.vtep_subnet
    if index >= subnet.num_addresses - 1:
        raise ValueError(f"{subnet} has no host address number {index}")
    return subnet[index]


def mac_of(address: IPv4Address) -> str:
    """MAC for an address: the OUI and the last three octets."""
    return ":".join(f"{octet:02x}" for octet in (*OUI, *address.packed[1:]))


def end_point(overlay: Overlay, host: Host) -> EndPoint:
    """The host's end of the overlay; ValueError when the overlay is too small for its index."""
    vtep = vtep_of(overlay, host.index)
    return EndPoint(host.name, host.address, vtep, mac_of(vtep), slice_of(overlay, host.index))


def largest_mtu(underlay_mtu: int) -> int:
    """Largest MTU of an overlay in bytes on an underlay of IPv4."""
    return underlay_mtu - VXLAN_OVERHEAD


def plan_host(inventory: Inventory, name: str) -> tuple[HostOverlay, ...]:
    """All overlays as the host has to build them.

    The inventory must have passed `kubedcos.topology.checks.find_problems`.

    Raises:
        KeyError: no host of that name.
        ValueError: an overlay is too small for some host's index.
    """
    own = inventory.host(name)
    others = sorted((h for h in inventory.hosts if h.name != name), key=lambda h: h.index)
    return tuple(
        HostOverlay(
            overlay=overlay,
            own=end_point(overlay, own),
            peers=tuple(end_point(overlay, host) for host in others),
            mtu=inventory.overlay_mtu or largest_mtu(inventory.underlay_mtu),
        )
        for overlay in inventory.overlays
    )
