#!/usr/bin/env python3
"""Pass connections on to whichever kube-apiserver is ready.

Argument: a JSON file with ``listen`` (address and port) and ``port`` (of the API servers), and
either ``name``, the DNS name that all API servers of one cluster share, or ``domain``: then the
name that a client puts into its TLS greeting says which cluster it wants,
``apiserver.CLUSTER.DOMAIN``; whoever says none gets ``default``, if that is given. With ``ca`` (a
file) only servers that it vouches for are used.

TLS is not ended here: who talks to whom is for client and API server to find out. DNS is asked
again and again where API servers are, and each of them for ``/readyz``; connections to one that is
not ready any more are cut once another is, so that clients come back and are sent there. One that
says that it is shutting down gets no new connections and ends those that it has by itself, each
when it has answered. A client whose greeting nobody has answered is passed on to another server.
When DNS has no answer, or Mesos has just lost its memory of tasks, what was
known goes on.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import sys
import time
from typing import Any

LOOK_SECONDS = 5.0
"""Between two looks at DNS and at each API server."""
ANSWER_SECONDS = 4.0
"""For an answer to ``/readyz``; connecting is part of it."""
CONNECT_SECONDS = 3.0
GREETING_SECONDS = 10.0
MOST_FAILURES = 2
"""Looks in a row that an API server fails before its connections are cut."""
MOST_TOLD = 5
"""Failed checks of an API server that are told in the log."""
MOST_GREETING = 1 << 14
MOST_NAMES = 64
"""Clusters at a time; names are made up by whoever connects."""
CHUNK = 1 << 16
LOST = (OSError, ValueError, EOFError, asyncio.LimitOverrunError, asyncio.TimeoutError)
"""What a connection may end with."""
NAME = r"apiserver\.[a-z]([a-z0-9-]{0,22}[a-z0-9])?\."


def say(text: str) -> None:
    """Write a line to the log."""
    print(f"balance: {text}", file=sys.stderr, flush=True)


# --- the name in a TLS greeting -----------------------------------------------------------------


class Incomplete(Exception):
    """More bytes are needed."""


def server_name(data: bytes) -> str:
    """The server name in a TLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3); empty without.

    Raises:
        Incomplete: the greeting is longer than `data`.
        ValueError: it is none.
    """
    if data and data[0] != 22:
        raise ValueError("not TLS")
    hello = b""
    while len(hello) < 4 or len(hello) < 4 + int.from_bytes(hello[1:4], "big"):
        if len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
            raise Incomplete
        size = int.from_bytes(data[3:5], "big")
        if data[0] != 22 or not size:
            raise ValueError("not TLS")
        hello, data = hello + data[5 : 5 + size], data[5 + size :]
    if hello[0] != 1:
        raise ValueError("not a greeting")
    at = 4 + 2 + 32
    for width in (1, 2, 1):  # session, ciphers, compressions
        at += width + int.from_bytes(hello[at : at + width], "big")
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    while at + 4 <= min(end, len(hello)):
        kind = int.from_bytes(hello[at : at + 2], "big")
        length = int.from_bytes(hello[at + 2 : at + 4], "big")
        body = hello[at + 4 : at + 4 + length]
        if kind == 0 and len(body) > 5 and body[2] == 0:
            return body[5 : 5 + int.from_bytes(body[3:5], "big")].decode("ascii").lower()
        at += 4 + length
    return ""


# --- API servers --------------------------------------------------------------------------------


class Backend:
    """One API server.

    Attributes:
        ready: what it last said; None before it was asked.
        failures: looks in a row that it did not pass.
        ending: it has said since it was ready last that it is shutting down.
        turn: number of the last connection that was sent there.
        flows: connections that go to it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.ready: bool | None = None
        self.failures = 0
        self.ending = False
        self.turn = 0
        self.flows: set[asyncio.Future[None]] = set()
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def look(self, name: str, port: int, context: ssl.SSLContext) -> None:
        """Ask whether it is ready, on a connection that is kept."""
        why = ""
        kept = self._line is not None
        for _ in range(2 if kept else 1):
            try:
                ready, why = await asyncio.wait_for(self._ask(name, port, context), ANSWER_SECONDS)
                break
            except LOST as error:
                self.hang_up()
                ready, why = False, str(error) or type(error).__name__
        self.note(ready, why)

    def note(self, ready: bool, why: str) -> None:
        """It said, or showed, whether it is ready."""
        if ready != self.ready:
            say(f"{self.address} is {'ready' if ready else f'not ready: {why}'}")
        self.ready = ready
        self.failures = 0 if ready else self.failures + 1
        self.ending = self.ending and not ready

    async def _ask(self, name: str, port: int, context: ssl.SSLContext) -> tuple[bool, str]:
        if self._line is None:
            self._line = await asyncio.open_connection(
                self.address, port, ssl=context, server_hostname=name
            )
        reader, writer = self._line
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        if length is None:
            raise ValueError("an answer without length")
        body = (await reader.readexactly(int(length.group(1)))).decode("latin-1")
        status = head.split(" ", 2)[1]
        # Kubernetes lists what it has checked: "[+]etcd ok", "[-]shutdown failed: reason withheld".
        failed = re.findall(r"(?m)^\[-\](\S+)", body)
        self.ending = "shutdown" in failed
        return status == "200", " ".join((f"/readyz says {status}", *failed[:MOST_TOLD]))

    def hang_up(self) -> None:
        """Close the connection for questions."""
        if self._line is not None:
            self._line[1].transport.abort()
            self._line = None

    def cut(self) -> None:
        """End all connections that go to it."""
        for flow in self.flows:
            if not flow.done():
                flow.set_result(None)


class Cluster:
    """The API servers of one cluster."""

    def __init__(self, name: str, port: int, ca: str = "") -> None:
        self.name = name
        self.port = port
        self.backends: dict[str, Backend] = {}
        self.used = time.monotonic()
        self.forgotten = False
        self._turn = 0
        self._verified = bool(ca)
        self._context = ssl.create_default_context(cafile=ca or None)
        if not ca:
            # What a server says of its readiness is no secret, and believed from nobody else.
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE

    async def keep(self) -> None:
        """Look at DNS and at all API servers until it is forgotten.

        Being cancelled is not enough: before Python 3.12 asyncio.wait_for forgets a cancellation
        that meets an answer, and before 3.11 there is nothing in its stead.
        """
        try:
            while not self.forgotten:
                due = time.monotonic() + LOOK_SECONDS
                await self.look()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            for backend in self.backends.values():
                backend.hang_up()

    async def look(self) -> None:
        """Look once."""
        known = list(self.backends.values())
        # DNS that is slow to answer must not keep anyone from hearing that a server ends.
        await asyncio.gather(self._look_for_more(), *map(self._look_at, known))
        if any(backend.ready for backend in self.backends.values()):
            for backend in known:
                if backend.failures >= MOST_FAILURES and not backend.ending:
                    backend.cut()

    async def _look_at(self, backend: Backend) -> None:
        await backend.look(self.name, self.port, self._context)
        if self.backends.get(backend.address) is not backend:
            backend.hang_up()  # DNS has given it up meanwhile

    async def _look_for_more(self) -> None:
        known = set(self.backends)
        await self.resolve()
        await asyncio.gather(
            *(self._look_at(self.backends[address]) for address in set(self.backends) - known)
        )

    async def resolve(self) -> None:
        """Ask DNS where the API servers are."""
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wait_for(
                loop.getaddrinfo(
                    self.name, self.port, family=socket.AF_INET, type=socket.SOCK_STREAM
                ),
                LOOK_SECONDS,
            )
        except LOST:
            return
        self.accept({str(entry[4][0]) for entry in found})

    def accept(self, addresses: set[str]) -> None:
        """These are the API servers by now; an empty answer is none."""
        if not addresses:
            return
        for address in addresses - set(self.backends):
            self.backends[address] = Backend(address)
        for address in set(self.backends) - addresses:
            backend = self.backends[address]
            # Mesos forgets running tasks for a while when its masters change. Whoever has proved
            # to be of this cluster and is ready stays.
            if self._verified and backend.ready:
                continue
            del self.backends[address]
            backend.hang_up()
            backend.cut()

    def order(self) -> list[Backend]:
        """API servers in the order in which to try them: the ready ones, the least used first."""
        ranks = {True: 0, None: 1, False: 2}
        known = self.backends.values()
        return sorted(known, key=lambda b: (ranks[b.ready], len(b.flows), b.turn))

    async def connect(
        self, tried: list[Backend]
    ) -> tuple[Backend, asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to one of them, and to none that was tried.

        Raises:
            OSError: none accepts any.
        """
        self.used = time.monotonic()
        if not self.backends:
            await self.resolve()
        last: Exception = OSError(f"{self.name} has no address")
        for backend in self.order():
            if backend in tried:
                continue
            try:
                reader, writer = await asyncio.wait_for(
                    asyncio.open_connection(backend.address, self.port), CONNECT_SECONDS
                )
            except LOST as error:
                last = error
                backend.note(False, str(error) or type(error).__name__)
            else:
                self._turn += 1
                backend.turn = self._turn
                return backend, reader, writer
        raise OSError(str(last) or type(last).__name__)


# --- connections --------------------------------------------------------------------------------


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from one side to the other until it says that there are no more."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def notice_silence(writer: asyncio.StreamWriter) -> None:
    """Let the kernel find out within a minute that the other side is no more."""
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


class Balancer:
    """Takes connections in."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._clusters: dict[str, tuple[Cluster, asyncio.Task[None]]] = {}

    async def serve(self) -> None:
        """Listen, for ever."""
        host, port = self._spec["listen"]
        if "name" in self._spec:
            self.cluster(self._spec["name"])
        server = await asyncio.start_server(self._take, host, port, limit=CHUNK)
        async with server:
            await server.serve_forever()

    def cluster(self, name: str) -> Cluster:
        """The cluster whose API servers are called `name`."""
        if name not in self._clusters:
            if len(self._clusters) >= MOST_NAMES:
                self._forget(min(self.names(), key=lambda known: self._clusters[known][0].used))
            made = Cluster(name, self._spec["port"], self._spec.get("ca", ""))
            self._clusters[name] = (made, asyncio.ensure_future(made.keep()))
        return self._clusters[name][0]

    def names(self) -> list[str]:
        """Names of clusters that were asked for."""
        return list(self._clusters)

    def close(self) -> None:
        """Forget all clusters."""
        for name in self.names():
            self._forget(name)

    def _forget(self, name: str) -> None:
        cluster, task = self._clusters.pop(name)
        cluster.forgotten = True
        task.cancel()
        for backend in cluster.backends.values():
            backend.hang_up()
            backend.cut()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            name, greeting = self._spec.get("name", ""), b""
            if not name:
                name, greeting = await asyncio.wait_for(self._greeting(reader), GREETING_SECONDS)
            await self._pass_on(self.cluster(name), greeting, reader, writer)
        except LOST:
            pass  # the client sees the connection end, and tries again or tells its user
        finally:
            writer.transport.abort()

    async def _greeting(self, reader: asyncio.StreamReader) -> tuple[str, bytes]:
        """The name that the client wants, and the bytes that it came in."""
        data = b""
        while len(data) < MOST_GREETING:
            more = await reader.read(CHUNK)
            if not more:
                break
            data += more
            try:
                name = server_name(data)
            except Incomplete:
                continue
            if not name and self._spec.get("default"):
                return self._spec["default"], data
            if re.fullmatch(NAME + re.escape(self._spec["domain"]), name):
                return name, data
            raise ValueError(f"no name of a cluster: {name!r}")
        raise ValueError("no greeting")

    async def _pass_on(
        self,
        cluster: Cluster,
        greeting: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        notice_silence(writer)
        said = greeting or await asyncio.wait_for(reader.read(CHUNK), GREETING_SECONDS)
        tried: list[Backend] = []
        while said:
            backend, there, back = await cluster.connect(tried)
            flow: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            backend.flows.add(flow)
            notice_silence(back)
            try:
                said, answer = await self._first_answer(said, reader, there, back, flow)
                if answer:
                    writer.write(answer)
                    await self._both_ways(reader, writer, there, back, flow)
                    return
            finally:
                backend.flows.discard(flow)
                back.transport.abort()
            # A server that has just died takes connections until its memory is cleared away. What
            # nobody has answered nobody has acted on: another one may hear the same greeting.
            tried.append(backend)

    async def _first_answer(
        self,
        said: bytes,
        reader: asyncio.StreamReader,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        flow: asyncio.Future[None],
    ) -> tuple[bytes, bytes]:
        """All that the client has said, and the server's first bytes; none when it went away.

        Raises:
            EOFError: the client went away, or the connection was cut.
        """
        back.write(said)
        answer = asyncio.ensure_future(there.read(CHUNK))
        more: asyncio.Future[bytes] | None = None
        try:
            while True:
                # A greeting is answered before more is said; who says more has to wait.
                if more is None and len(said) < MOST_GREETING:
                    more = asyncio.ensure_future(reader.read(CHUNK))
                ends: set[asyncio.Future[Any]] = {answer, flow, *([more] if more else [])}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if more and more.done():
                    if not more.result():
                        raise EOFError("nobody waits for an answer")
                    said += more.result()
                    back.write(more.result())
                    more = None
                if flow.done():
                    raise EOFError("cut")
                if answer.done():
                    return said, b"" if answer.exception() else answer.result()
        finally:
            left = [answer, *([more] if more else [])]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        flow: asyncio.Future[None],
    ) -> None:
        both = asyncio.gather(pump(reader, back), pump(there, writer))
        ends: set[asyncio.Future[Any]] = {both, flow}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            both.cancel()
            await asyncio.gather(both, return_exceptions=True)


def main(arguments: list[str]) -> int:
    """Entry point; see the module's text."""
    with open(arguments[0]) as file:
        spec = json.load(file)
    try:
        asyncio.run(Balancer(spec).serve())
    except OSError as error:
        host, port = spec["listen"]
        say(f"cannot listen at {host}:{port}: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
