"""One HTTP POST over a connection of its own: all that master and agent need between them.

A full HTTP client would more than double the time that either needs to start.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass

from kubedcos.embedded.connect import connect
from kubedcos.embedded.tls import Tls


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (names in lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def basic(principal: str, secret: str) -> str:
    """Value of the header `Authorization` for HTTP Basic."""
    return "Basic " + base64.b64encode(f"{principal}:{secret}".encode()).decode()


async def post(
    host: str,
    port: int,
    path: str,
    body: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    deadline: float = 10.0,
    tls: Tls | None = None,
) -> Reply:
    """Send a JSON body and return the answer.

    Args:
        host: name or address; `port` and `path` complete the URL.
        port: see above.
        path: see above.
        body: JSON.
        headers: to send beside the necessary ones.
        deadline: seconds that all of it may take.
        tls: None for plain HTTP.

    Raises:
        OSError: no connection, it broke, the answer is no HTTP, or the deadline has passed.
    """
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    try:
        async with asyncio.timeout(deadline):
            reader, writer = await connect(host, port, tls)
            try:
                writer.write(head + body)
                await writer.drain()
                return _parsed(await reader.read())
            finally:
                writer.close()
    except TimeoutError as error:
        raise OSError(f"no answer from {host}:{port} within {deadline:g} s") from error


def _parsed(data: bytes) -> Reply:
    head, separator, body = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    words = status_line.split(" ", 2)
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise OSError("the connection broke before the answer was complete")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    expected = headers.get("content-length")
    if expected is not None and len(body) < int(expected):
        raise OSError("the connection broke within the answer")
    return Reply(int(words[1]), headers, body)
