"""ZooKeeper's wire protocol for one member, in memory: enough for elections and a registry.

It stands in where ZooKeeper itself is not installed; `test_masters.py` and the tests of the
scheduler's store hold it to ZooKeeper where both are there. No ACLs, no chroot.
"""

from __future__ import annotations

import dataclasses
import itertools
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

NO_NODE, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS = -101, -103, -108
NODE_EXISTS, NOT_EMPTY, UNIMPLEMENTED = -110, -111, -6
CREATED, DELETED, CHANGED, CHILD = 1, 2, 3, 4
EPHEMERAL, SEQUENCE = 1, 2
CREATE, DELETE, SET, CHECK, MULTI, ERROR = 1, 2, 5, 13, 14, -1
CLOSE: Final = -11
LARGEST_PACKET: Final = 0xFFFFF
"""ZooKeeper's ``jute.maxbuffer``; it ends the connection of who sends more."""


class Refused(Exception):
    """The request fails with this error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Reader:
    """Takes a record apart."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def buffer(self) -> bytes:
        length = max(self.take(">i"), 0)
        self._at += length
        return self._data[self._at - length : self._at]

    def text(self) -> str:
        return self.buffer().decode()

    def texts(self) -> list[str]:
        return [self.text() for _ in range(max(self.take(">i"), 0))]


def buffer(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


@dataclass
class Node:
    """One node of the tree."""

    data: bytes
    created: int
    owner: int = 0
    changed: int = 0
    version: int = 0
    child_version: int = 0
    next_sequence: int = 0
    children: set[str] = field(default_factory=set)

    def stat(self) -> bytes:
        now = int(time.time() * 1000)
        times = (self.created, self.changed or self.created, now, now)
        counts = (self.version, self.child_version, 0, self.owner)
        rest = (len(self.data), len(self.children), self.created)
        return struct.pack(">qqqqiiiqiiq", *times, *counts, *rest)


@dataclass
class Session:
    """A client, connected or not."""

    id: int
    timeout: float
    connection: socket.socket | None = None
    expiry: threading.Timer | None = None
    sending: threading.Lock = field(default_factory=threading.Lock)

    def send(self, record: bytes) -> None:
        with self.sending, suppress(OSError):
            if self.connection is not None:
                self.connection.sendall(buffer(record))


class ZooKeeperDouble:
    """Listens on loopback from the start; `stop` ends it and forgets everything."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._zxid = itertools.count(1)
        self._ids = itertools.count(1)
        self._nodes = {"/": Node(b"", 0)}
        self._sessions: dict[int, Session] = {}
        self._watches: dict[tuple[str, str], set[int]] = {}
        self._held_back: list[tuple[str, str, int]] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for session in self._sessions.values():
                if session.expiry is not None:
                    session.expiry.cancel()
            self.cut()

    def cut(self) -> None:
        """Break all connections; sessions go on for their timeout."""
        with self._lock:
            for session in self._sessions.values():
                if session.connection is not None:
                    with suppress(OSError):
                        session.connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")

        def record() -> bytes:
            (length,) = struct.unpack(">i", stream.read(4))
            if length > LARGEST_PACKET:
                raise OSError("packet too large")
            return bytes(stream.read(length))

        session = None
        try:
            session = self._connect(connection, Reader(record()))
            if session is not None:
                connection.settimeout(session.timeout)
                while self._request(session, Reader(record())):
                    pass
        except TimeoutError:
            if session is not None:
                self._expire(session)
        except (OSError, struct.error):
            pass
        finally:
            connection.close()
            if session is not None:
                self._disconnected(session, connection)

    def _connect(self, connection: socket.socket, hello: Reader) -> Session | None:
        hello.take(">i")
        hello.take(">q")
        timeout, wanted = hello.take(">i"), hello.take(">q")
        with self._lock:
            session = self._sessions.get(wanted)
            if session is None and wanted == 0:
                session = Session(next(self._ids), timeout / 1000)
                self._sessions[session.id] = session
            known = session.id if session is not None else 0
            if session is not None:
                if session.expiry is not None:
                    session.expiry.cancel()
                session.connection, session.expiry = connection, None
            answer = struct.pack(">iiq", 0, timeout if known else 0, known) + buffer(b"\0" * 16)
            with suppress(OSError):
                connection.sendall(buffer(answer + b"\0"))
            return session

    def _disconnected(self, session: Session, connection: socket.socket) -> None:
        with self._lock:
            if session.connection is not connection or session.id not in self._sessions:
                return
            session.connection = None
            session.expiry = threading.Timer(session.timeout, self._expire, (session,))
            session.expiry.daemon = True
            session.expiry.start()

    def _expire(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.id, None)
            for path in [path for path, node in self._nodes.items() if node.owner == session.id]:
                self._delete(path)

    def _request(self, session: Session, request: Reader) -> bool:
        xid, kind = request.take(">i"), request.take(">i")
        with self._lock:
            error, body = 0, b""
            try:
                body = self._answer(session, kind, request)
            except Refused as refused:
                error = refused.code
            session.send(struct.pack(">iqi", xid, next(self._zxid), error) + body)
            if kind == CLOSE:
                self._expire(session)
        return kind != CLOSE

    def _answer(self, session: Session, kind: int, request: Reader) -> bytes:
        if kind in {CLOSE, 11, 100}:
            return b""
        if kind == 101:
            return self._set_watches(session, request)
        if kind == MULTI:
            return self._multi(session, request)
        path = request.text()
        if kind == 9:
            return buffer(path.encode())
        if kind in {1, 15}:
            return self._create(session, path, request, stat=kind == 15)
        if kind == 3 and path not in self._nodes:
            self._watch(session, "data", path, request)
        node = self._nodes.get(path)
        if node is None:
            raise Refused(NO_NODE)
        if kind in {2, 5}:
            data = request.buffer() if kind == 5 else b""
            if request.take(">i") not in {-1, node.version}:
                raise Refused(BAD_VERSION)
            return self._set(path, data) if kind == 5 else self._delete(path)
        return self._read(session, kind, path, request)

    def _multi(self, session: Session, request: Reader) -> bytes:
        """All operations or none; of those behind the one that fails nothing is said."""
        before, answer, passed = dict[str, Node | None](), b"", 0
        self._held_back = []
        try:
            while not (header := (request.take(">i"), request.take(">?"), request.take(">i")))[1]:
                body = self._one_of_several(session, header[0], request, before)
                answer += struct.pack(">i?i", header[0], False, 0) + body
                passed += 1
        except Refused as refused:
            for path, node in before.items():
                self._nodes.pop(path, None)
                if node is not None:
                    self._nodes[path] = node
            self._held_back = []
            codes = [0] * passed + [refused.code]
            answer = b"".join(struct.pack(">i?ii", ERROR, False, code, code) for code in codes)
        happened, self._held_back = self._held_back, None
        for event in happened:
            self._fire(*event)
        return answer + struct.pack(">i?i", ERROR, True, -1)

    def _one_of_several(
        self, session: Session, kind: int, request: Reader, before: dict[str, Node | None]
    ) -> bytes:
        path = request.text()
        for touched in (path, path.rpartition("/")[0] or "/"):
            there = self._nodes.get(touched)
            if touched not in before:
                before[touched] = there and dataclasses.replace(there, children={*there.children})
        if kind == CREATE:
            created = self._create(session, path, request, stat=False)
            before.setdefault(Reader(created).text(), None)
            return created
        node = self._nodes.get(path)
        if node is None:
            raise Refused(NO_NODE)
        data = request.buffer() if kind == SET else b""
        if request.take(">i") not in {-1, node.version}:
            raise Refused(BAD_VERSION)
        if kind == SET:
            return self._set(path, data)
        return self._delete(path) if kind == DELETE else b""

    def _read(self, session: Session, kind: int, path: str, request: Reader) -> bytes:
        node = self._nodes[path]
        self._watch(session, "child" if kind in {8, 12} else "data", path, request)
        if kind == 3:
            return node.stat()
        if kind == 4:
            return buffer(node.data) + node.stat()
        if kind in {8, 12}:
            names = b"".join(buffer(name.encode()) for name in sorted(node.children))
            listed = struct.pack(">i", len(node.children)) + names
            return listed + (node.stat() if kind == 12 else b"")
        raise Refused(UNIMPLEMENTED)

    def _create(self, session: Session, path: str, request: Reader, *, stat: bool) -> bytes:
        data = request.buffer()
        for _ in range(request.take(">i")):  # ACLs
            request.take(">i")
            request.text()
            request.text()
        flags = request.take(">i")
        above, _, name = path.rpartition("/")
        parent = self._nodes.get(above or "/")
        if parent is None:
            raise Refused(NO_NODE)
        if parent.owner:
            raise Refused(NO_CHILDREN_FOR_EPHEMERALS)
        if flags & SEQUENCE:
            name += f"{parent.next_sequence:010d}"
        path = f"{above}/{name}"
        if path in self._nodes:
            raise Refused(NODE_EXISTS)
        node = Node(data, next(self._zxid), session.id if flags & EPHEMERAL else 0)
        self._nodes[path] = node
        parent.children.add(name)
        parent.child_version += 1
        parent.next_sequence += 1
        self._fire("data", path, CREATED)
        self._fire("child", above or "/", CHILD)
        return buffer(path.encode()) + (node.stat() if stat else b"")

    def _set(self, path: str, data: bytes) -> bytes:
        node = self._nodes[path]
        node.data, node.changed = data, next(self._zxid)
        node.version += 1
        self._fire("data", path, CHANGED)
        return node.stat()

    def _delete(self, path: str) -> bytes:
        if self._nodes[path].children:
            raise Refused(NOT_EMPTY)
        del self._nodes[path]
        above, _, name = path.rpartition("/")
        self._nodes[above or "/"].children.discard(name)
        self._fire("data", path, DELETED)
        self._fire("child", path, DELETED)
        self._fire("child", above or "/", CHILD)
        return b""

    def _watch(self, session: Session, kind: str, path: str, request: Reader) -> None:
        if request.take(">?"):
            self._watches.setdefault((kind, path), set()).add(session.id)

    def _set_watches(self, session: Session, request: Reader) -> bytes:
        """A client that is back names what it watched; what changed meanwhile is told at once."""
        since = request.take(">q")
        for kind, there in (("data", True), ("data", False), ("child", True)):
            for path in request.texts():
                node = self._nodes.get(path)
                changed = max(node.created, node.changed) if node is not None else 0
                missed = (node is not None) != there or changed > since or kind == "child"
                self._watches.setdefault((kind, path), set()).add(session.id)
                if missed:
                    what = DELETED if node is None else CHILD if kind == "child" else CHANGED
                    self._fire(kind, path, what)
        return b""

    def _fire(self, kind: str, path: str, what: int) -> None:
        if self._held_back is not None:
            self._held_back.append((kind, path, what))
            return
        for session_id in self._watches.pop((kind, path), set()):
            session = self._sessions.get(session_id)
            if session is not None:
                event = struct.pack(">iqiii", -1, -1, 0, what, 3) + buffer(path.encode())
                session.send(event)
