"""TCP between two sides, which a test can cut, and in which it can hold one message."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from io import BufferedReader

from tests.contracts.mesos.client import DEADLINE

BYSTANDER = b"Libprocess-From: executor"
"""In the messages of Apache Mesos' executors, which reach their agent at the relay's port, too."""


@dataclass
class Held:
    """One HTTP request, or its answer, that is on its way until somebody says what becomes of it.

    Between Apache Mesos' own processes every message is a request, one after the other on one
    connection, and nothing is answered.

    Attributes:
        text: what the request holds.
        answer: the request passes, its answer is held.
        arrived: the request is here (the other side has it, if it is the answer that is held).
    """

    text: bytes
    answer: bool = False
    arrived: threading.Event = field(default_factory=threading.Event)
    decided: threading.Event = field(default_factory=threading.Event)
    passes: bool = True

    def wait(self) -> None:
        assert self.arrived.wait(DEADLINE), f"nobody sent {self.text!r}"

    def let_pass(self) -> None:
        self.decided.set()

    def drop(self) -> None:
        self.passes = False
        self.decided.set()


class _Connection:
    def __init__(self, client: socket.socket) -> None:
        self.sockets = [client]
        self.severed = False
        self.spared = False

    def close(self) -> None:
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Relay:
    """Listens on a port of its own and passes everything on to `target`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._held: list[Held] = []
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._dark = False
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, text: bytes, *, answer: bool = False) -> Held:
        """Hold the next request that contains `text`."""
        held = Held(text, answer)
        with self._lock:
            self._held.append(held)
        return held

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told: connections stay open and are silent."""
        with self._lock:
            self._dark = True
            for connection in self._connections:
                connection.severed = not connection.spared

    def heal(self) -> None:
        """New connections pass again; those that were cut stay silent."""
        with self._lock:
            self._dark = False

    def close_severed(self) -> None:
        """Either side hears at last that the connections that were cut are no more."""
        with self._lock:
            severed = [one for one in self._connections if one.severed]
            self._connections.difference_update(severed)
        for connection in severed:
            connection.close()

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            connection = _Connection(client)
            with self._lock:
                connection.severed = self._dark
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: _Connection) -> None:
        try:
            with contextlib.suppress(OSError):
                self._relay(connection)
        finally:
            if not connection.severed:
                connection.close()
                with self._lock:
                    self._connections.discard(connection)

    def _relay(self, connection: _Connection) -> None:
        client = connection.sockets[0]
        reader = client.makefile("rb")
        request = _request(reader)
        if BYSTANDER in request:
            connection.spared, connection.severed = True, False
        held = self._matching(request)
        if held is not None and not held.answer and not _passes(held):
            return
        if connection.severed or not request:
            return
        server = socket.create_connection(("127.0.0.1", self._target))
        connection.sockets.append(server)
        server.sendall(request)
        if held is not None and held.answer:
            first = server.recv(65536)
            if not _passes(held):
                return
            client.sendall(first)
        back = threading.Thread(target=self._pump, args=(connection, server, client), daemon=True)
        back.start()
        self._pass_on(connection, reader, server)
        back.join()

    def _pass_on(
        self, connection: _Connection, reader: BufferedReader, server: socket.socket
    ) -> None:
        """The requests that follow on the same connection."""
        with contextlib.suppress(OSError):
            while request := _request(reader):
                held = self._matching(request)
                if held is not None and not _passes(held):
                    connection.close()
                    return
                if connection.severed:
                    return
                server.sendall(request)
        _hang_up(connection, server)

    def _matching(self, request: bytes) -> Held | None:
        with self._lock:
            for held in self._held:
                if held.text in request:
                    self._held.remove(held)
                    return held
        return None

    def _pump(self, connection: _Connection, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if connection.severed:
                    return
                sink.sendall(data)
        _hang_up(connection, sink)


def _hang_up(connection: _Connection, sink: socket.socket) -> None:
    if not connection.severed:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _passes(held: Held) -> bool:
    held.arrived.set()
    held.decided.wait()
    return held.passes


def _request(client: BufferedReader) -> bytes:
    """One HTTP request, as far as it came."""
    data = head = client.readline()
    headers: dict[bytes, bytes] = {}
    while head.strip():
        data += (head := client.readline())
        name, _, value = head.partition(b":")
        headers[name.lower()] = value.strip().lower()
    if headers.get(b"transfer-encoding") != b"chunked":
        return data + client.read(int(headers.get(b"content-length", b"0")))
    length = 1
    while length:
        data += (size := client.readline())
        length = int(size or b"0", 16)
        data += client.read(length + 2)
    return data
