"""Ports for servers that are told where to listen before they do."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections import deque

_RANGE = range(20000, 28000)
"""Below those that Linux gives to whoever connects, and those that the tests' agents offer."""
_KEPT = 200
"""Claims of one process; whoever had an older one listens there, or is gone."""
_claims: deque[int] = deque()


def free_port() -> int:
    """A port of any address on which nobody listens, and which no other test is given.

    One that the kernel chose and that is closed again anybody may get before it is used: another
    test, or a connection to anywhere.
    """
    while True:
        port = _RANGE[secrets.randbelow(len(_RANGE))]
        # Abstract names end with the process that holds them.
        with socket.socket(socket.AF_UNIX) as claim, socket.socket() as probe:
            try:
                claim.bind(f"\0kubedcos-test-port-{port}")
                probe.bind(("", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            _claims.append(claim.detach())
        if len(_claims) > _KEPT:
            os.close(_claims.popleft())
        return port
