"""Packets as tcpdump wrote them: the outer UDP, the VXLAN header, the inner addresses."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

# Bytes before the IP header, by pcap's link type.
LINK_HEADER = {1: 14, 113: 16, 276: 20}
_ETHERNET, _UDP = 14, 8


@dataclass(frozen=True)
class Tunnelled:
    """One VXLAN packet.

    Attributes:
        vni: None when the flag that says that there is one is not set.
    """

    source: IPv4Address
    destination: IPv4Address
    port: int
    vni: int | None
    inner_source: IPv4Address
    inner_destination: IPv4Address


def tunnelled(captured: str) -> list[Tunnelled]:
    """Packets out of a capture file in base64."""
    content = base64.b64decode(captured)
    magic, link = struct.unpack("<I16xI", content[:24])
    assert magic == 0xA1B2C3D4, "a capture file of a little-endian machine"
    skip, at, found = LINK_HEADER[link], 24, []
    while at < len(content):
        (size,) = struct.unpack("<8xI4x", content[at : at + 16])
        found.append(_packet(content[at + 16 + skip : at + 16 + size]))
        at += 16 + size
    return found


def _packet(data: bytes) -> Tunnelled:
    header = (data[0] & 15) * 4
    udp = data[header:]
    flags, vni = struct.unpack(">B3xI", udp[_UDP : _UDP + 8])
    inner = udp[_UDP + 8 + _ETHERNET :]
    return Tunnelled(
        IPv4Address(data[12:16]),
        IPv4Address(data[16:20]),
        struct.unpack(">H", udp[2:4])[0],
        vni >> 8 if flags & 8 else None,
        IPv4Address(inner[12:16]),
        IPv4Address(inner[16:20]),
    )
