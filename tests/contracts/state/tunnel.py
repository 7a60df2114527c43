"""A way to ZooKeeper that a test can cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class Tunnel:
    """Passes connections on to `target`, byte by byte.

    Attributes:
        address: where it listens.
        passed: how many connections were passed on so far.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Connections break, and new ones do not last."""
        with self._lock:
            self._is_cut = True
            broken, self._open = self._open, []
        for one in broken:
            _hang_up(one)

    def mend(self) -> None:
        """New connections pass again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """Nobody gets through any more."""
        self.cut()
        _hang_up(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                _hang_up(client)
                return
            server = socket.create_connection(self._target)
            self._open += [client, server]
            self.passed += 1
        for ends in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        _hang_up(one)


def _hang_up(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
