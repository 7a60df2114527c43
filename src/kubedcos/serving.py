"""An HTTP server in a program that has signals and failures of its own to see to."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from kubedcos.errors import KubedcosError


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: who runs it has them.

    Uvicorn's raise the signal again after it has stopped, before a master could leave the election:
    its node would stay until the session times out.
    """

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen.

        Raises:
            KubedcosError: nobody can listen there.
        """
        try:
            await super().startup(sockets)
        except SystemExit:
            # uvicorn's way to say so, which would end everything at once; it has logged the reason.
            where = f"{self.config.host}:{self.config.port}"
            raise KubedcosError(f"cannot listen on {where}; see the line before") from None

    def end(self) -> None:
        """Stop serving."""
        self.should_exit = True
