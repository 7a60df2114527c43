"""Connections of master and agent to each other, plain or by TLS with Mesos' checks of names."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from kubedcos.embedded.tls import Tls, name_fault

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(host: str, port: int, tls: Tls | None) -> Connection:
    """A connection to a server whose certificate is checked as `tls` says.

    Raises:
        OSError: no connection, or the wrong certificate (`ssl.SSLError` is one, too).
    """
    if tls is None:
        return await asyncio.open_connection(host, port)
    if tls.client.check_hostname and _is_address(host) and not tls.verify_ip:
        raise OSError(f"{host} has no name to check, and LIBPROCESS_SSL_VERIFY_IPADD is off")
    reader, writer = await asyncio.open_connection(host, port, ssl=tls.client)
    if tls.legacy and tls.verify_server:
        fault = await legacy_fault(writer.transport, tls)
        if fault is not None:
            writer.close()
            raise OSError(fault)
    return reader, writer


async def legacy_fault(transport: asyncio.BaseTransport, tls: Tls) -> str | None:
    """Why the peer of a connection is not whom its address belongs to, by reverse lookup."""
    address = transport.get_extra_info("peername")[0]
    return name_fault(
        transport.get_extra_info("peercert") or {},
        hostname=await asyncio.to_thread(_name_of, address),
        ip=address,
        verify_ip=tls.verify_ip,
        strict=tls.require_client,
    )


def _name_of(address: str) -> str | None:
    try:
        return socket.gethostbyaddr(address)[0]
    except OSError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
