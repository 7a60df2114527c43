"""Connections go to API servers that are ready, and leave those that are not any more."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.waiting import until
from typer.testing import CliRunner

from kubedcos.cli import scheduler
from kubedcos.kubernetes.launcher import balance
from kubedcos.kubernetes.pki import Authority, Profile

NAME = "apiserver.kubernetes.mesos"
SPARE = 20.0


@dataclass
class Authorities:
    folder: Path
    made: dict[str, Authority] = field(default_factory=dict)

    def context(self, authority: str = "ours") -> ssl.SSLContext:
        """For an API server of a cluster."""
        known = self.made.setdefault(authority, Authority.create(authority, time.time()))
        profile = Profile("kube-apiserver", dns_names=(NAME,), server=True)
        pair = known.issue_pair(profile, time.time())
        file = self.folder / "server.pem"
        file.write_bytes(pair.certificate_pem + pair.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    @property
    def ca(self) -> str:
        path = self.folder / "ca.pem"
        path.write_bytes(self.made["ours"].certificate_pem)
        return str(path)

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    return Authorities(tmp_path)


@dataclass
class ApiServer:
    """Says who it is to whoever asks for anything but health."""

    who: str
    ready: bool = True
    failed: str = ""
    lines: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                health = request.startswith("GET /readyz ")
                status = "200 OK" if self.ready or not health else "500 No"
                body = (self.failed or "ok") if health else self.who
                text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                writer.write(text.encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def listening(
    server: ApiServer, address: str, port: int, context: ssl.SSLContext
) -> AsyncIterator[int]:
    found = await asyncio.start_server(server.answer, address, port, ssl=context)
    async with found:
        yield found.sockets[0].getsockname()[1]


async def hold(
    port: int, client: ssl.SSLContext, name: str = NAME
) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    """Who answers, on a connection that stays."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client, server_hostname=name
    )
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.split(b"Content-Length: ")[1]))
    return body.decode(), reader, writer


async def say_who(port: int, client: ssl.SSLContext, name: str = NAME) -> str:
    who, _, writer = await hold(port, client, name)
    writer.transport.abort()
    return who


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What DNS answers; loopback addresses stand for agents."""
    found: list[str] = []

    async def getaddrinfo(
        self: asyncio.AbstractEventLoop, host: str, port: int, **about: Any
    ) -> list[Any]:
        if host.startswith("127."):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port)) for place in found]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(balance, "LOOK_SECONDS", 0.05)
    return found


@asynccontextmanager
async def balancer(**spec: Any) -> AsyncIterator[tuple[balance.Balancer, int]]:
    port = free_port()
    found = balance.Balancer({"listen": ["127.0.0.1", port], **spec})
    task = asyncio.ensure_future(found.serve())
    try:
        _, writer = await until(
            lambda: asyncio.open_connection("127.0.0.1", port), SPARE, passing=OSError
        )
        writer.transport.abort()
        yield found, port
    finally:
        found.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))  # type: ignore[arg-type]


def test_connections_leave_an_api_server_that_is_not_ready(
    authorities: Authorities, places: list[str]
) -> None:
    async def story() -> None:
        first, second = ApiServer("first"), ApiServer("second")
        context, port = authorities.context(), free_port()
        spec = {"name": NAME, "port": port, "ca": authorities.ca}
        async with listening(first, "127.0.0.2", port, context):
            places[:] = ["127.0.0.2"]
            async with balancer(**spec) as (found, here):
                client = authorities.client()
                assert await say_who(here, client) == "first"
                who, reader, held = await hold(here, client)
                assert who == "first"
                # Alone it is used whatever it says: there is no better one.
                first.ready = False
                await until(lambda: found.cluster(NAME).backends["127.0.0.2"].failures > 3)
                assert await say_who(here, client) == "first"
                assert not reader.at_eof()
                async with listening(second, "127.0.0.3", port, context):
                    places[:] = ["127.0.0.2", "127.0.0.3"]
                    with pytest.raises(asyncio.IncompleteReadError):
                        await asyncio.wait_for(reader.readexactly(1), SPARE)
                    assert await say_who(here, client) == "second"
                    first.ready = True
                    await until(lambda: found.cluster(NAME).backends["127.0.0.2"].ready)
                    held.transport.abort()
                    both = {await say_who(here, client) for _ in range(4)}
                    assert both == {"first", "second"}

    run(story)


ENDING = "[+]ping ok\n[+]etcd ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n"


def test_one_that_shuts_down_ends_its_connections_itself(
    authorities: Authorities, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        first, second = ApiServer("first"), ApiServer("second")
        context, port = authorities.context(), free_port()
        spec = {"name": NAME, "port": port, "ca": authorities.ca}
        places[:] = ["127.0.0.2", "127.0.0.3"]
        async with (
            listening(second, "127.0.0.3", port, context),
            balancer(**spec) as (found, here),
        ):
            client = authorities.client()
            known = found.cluster(NAME).backends
            async with listening(first, "127.0.0.2", port, context):
                await until(lambda: len(known) == 2 and all(b.ready for b in known.values()))
                held = [await hold(here, client) for _ in range(2)]
                [(_, reader, writer)] = [one for one in held if one[0] == "first"]
                first.ready, first.failed = False, ENDING
                await until(lambda: known["127.0.0.2"].failures > 3)
                # New ones go elsewhere; the old one still gets its answer.
                assert {await say_who(here, client) for _ in range(4)} == {"second"}
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SPARE)
                # One that is not ready for another reason than its end is left.
                first.failed = "[-]etcd failed: reason withheld\n"
                with pytest.raises(asyncio.IncompleteReadError):
                    await asyncio.wait_for(reader.readexactly(100), SPARE)
                for _, _, still_open in held:
                    still_open.transport.abort()

    run(story)
    assert "127.0.0.2 is not ready: /readyz says 500 shutdown" in capsys.readouterr().err


@pytest.mark.parametrize("spec", [{"name": NAME}, {"domain": "mesos"}], ids=["node", "front"])
def test_who_was_taken_by_one_that_dies_is_passed_on_to_another(
    authorities: Authorities, places: list[str], spec: dict[str, Any]
) -> None:
    """The kernel takes connections for a killed process until its memory is cleared away."""
    taken: list[bytes] = []

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.read(1 << 16))
        line = writer.get_extra_info("socket")
        # A connection that is reset, as those of a process that is gone.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def story() -> None:
        context, port = authorities.context(), free_port()
        places[:] = ["127.0.0.2", "127.0.0.3"]
        dying = await asyncio.start_server(die, "127.0.0.2", port)
        async with (
            dying,
            listening(ApiServer("alive"), "127.0.0.3", port, context),
            balancer(**spec, port=port, ca=authorities.ca) as (found, here),
        ):
            # Nobody has been asked yet, so that the first one is tried first.
            cluster = found.cluster(NAME)
            known = cluster.order

            def dying_first() -> list[balance.Backend]:
                return sorted(known(), key=lambda backend: backend.address)

            cluster.order = dying_first  # type: ignore[method-assign]
            await until(lambda: len(cluster.backends) == 2)
            before = len(taken)
            assert await say_who(here, authorities.client()) == "alive"
            assert len(taken) > before

    run(story)


def test_a_client_that_nobody_answers_is_told_so_once_all_were_tried(
    authorities: Authorities, places: list[str]
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.transport.abort()

    async def story() -> None:
        authorities.context()
        port = free_port()
        places[:] = ["127.0.0.2", "127.0.0.3"]
        first = await asyncio.start_server(hang_up, "127.0.0.2", port)
        second = await asyncio.start_server(hang_up, "127.0.0.3", port)
        async with (
            first,
            second,
            balancer(name=NAME, port=port, ca=authorities.ca) as (_, here),
        ):
            with pytest.raises((OSError, ssl.SSLError, EOFError)):
                await asyncio.wait_for(say_who(here, authorities.client()), SPARE)

    run(story)


def test_dns_that_does_not_answer_keeps_nobody_from_hearing_of_an_end(
    authorities: Authorities, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        first, second = ApiServer("first"), ApiServer("second")
        context, port = authorities.context(), free_port()
        places[:] = ["127.0.0.2", "127.0.0.3"]
        async with (
            listening(first, "127.0.0.2", port, context),
            listening(second, "127.0.0.3", port, context),
            balancer(name=NAME, port=port, ca=authorities.ca) as (found, here),
        ):
            cluster = found.cluster(NAME)
            await until(lambda: len(cluster.backends) == 2)
            await until(lambda: all(b.ready for b in cluster.backends.values()))
            asked, answer = asyncio.Event(), asyncio.Event()

            async def resolve() -> None:
                asked.set()
                await answer.wait()

            first.ready = False
            monkeypatch.setattr(cluster, "resolve", resolve)
            await asked.wait()
            await until(lambda: not cluster.backends["127.0.0.2"].ready)
            assert {await say_who(here, authorities.client()) for _ in range(4)} == {"second"}
            answer.set()

    run(story)


def test_one_that_is_gone_is_passed_over_at_once(
    authorities: Authorities, places: list[str]
) -> None:
    async def story() -> None:
        context, port = authorities.context(), free_port()
        places[:] = ["127.0.0.2", "127.0.0.3"]
        async with (
            listening(ApiServer("only"), "127.0.0.3", port, context),
            balancer(name=NAME, port=port, ca=authorities.ca) as (_, here),
        ):
            assert await say_who(here, authorities.client()) == "only"

    run(story)


def test_no_answer_of_dns_changes_nothing_but_another_answer_does(
    authorities: Authorities, places: list[str]
) -> None:
    async def story() -> None:
        context, port = authorities.context(), free_port()
        places[:] = ["127.0.0.2"]
        async with (
            listening(ApiServer("old"), "127.0.0.2", port, context),
            listening(ApiServer("new"), "127.0.0.3", port, context),
            balancer(domain="mesos", port=port) as (found, here),
        ):
            client = authorities.client()
            assert await say_who(here, client) == "old"
            places.clear()
            old = found.cluster(NAME).backends["127.0.0.2"]
            await until(lambda: old.ready)
            assert await say_who(here, client) == "old"
            places[:] = ["127.0.0.3"]
            await until(lambda: set(found.cluster(NAME).backends) == {"127.0.0.3"})
            assert await say_who(here, client) == "new"

    run(story)


def test_an_api_server_of_another_cluster_is_not_taken_for_ours(
    authorities: Authorities, places: list[str]
) -> None:
    async def story() -> None:
        ours, theirs = authorities.context(), authorities.context("theirs")
        port = free_port()
        places[:] = ["127.0.0.2", "127.0.0.3"]
        async with (
            listening(ApiServer("theirs"), "127.0.0.2", port, theirs),
            listening(ApiServer("ours"), "127.0.0.3", port, ours),
            balancer(name=NAME, port=port, ca=authorities.ca) as (found, here),
        ):
            known = found.cluster(NAME).backends
            await until(lambda: len(known) == 2 and known["127.0.0.3"].ready)
            await until(lambda: known["127.0.0.2"].ready is False)
            assert await say_who(here, authorities.client()) == "ours"
            # Ours stays although DNS, for a while, knows of the other one alone.
            places[:] = ["127.0.0.2"]
            await until(lambda: known["127.0.0.2"].failures > 3)
            assert "127.0.0.3" in known

    run(story)


def test_the_front_serves_the_cluster_that_is_named_and_no_other_name(
    authorities: Authorities, places: list[str]
) -> None:
    async def story() -> None:
        context, port = authorities.context(), free_port()
        places[:] = ["127.0.0.2"]
        async with (
            listening(ApiServer("api"), "127.0.0.2", port, context),
            balancer(domain="mesos", port=port) as (found, here),
        ):
            assert await say_who(here, authorities.client()) == "api"
            for name in ("apiserver.kubernetes.mesos.example", "www.example.org", "api.mesos"):
                with pytest.raises((OSError, ssl.SSLError, EOFError)):
                    await say_who(here, authorities.client(), name)
            reader, writer = await asyncio.open_connection("127.0.0.1", here)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await asyncio.wait_for(reader.read(), SPARE) == b""
            writer.transport.abort()
            assert set(found.names()) == {NAME}

    run(story)


def test_whoever_names_no_cluster_gets_the_default_one(
    authorities: Authorities, places: list[str]
) -> None:
    async def story() -> None:
        context, port = authorities.context(), free_port()
        places[:] = ["127.0.0.2"]
        nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        nameless.check_hostname = False
        nameless.verify_mode = ssl.CERT_NONE
        async with listening(ApiServer("api"), "127.0.0.2", port, context):
            async with balancer(domain="mesos", port=port, default=NAME) as (_, here):
                assert await say_who(here, nameless, "") == "api"
            async with balancer(domain="mesos", port=port, default="") as (_, here):
                with pytest.raises((OSError, ssl.SSLError, EOFError)):
                    await say_who(here, nameless, "")

    run(story)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        here = list(taken.getsockname())
        config = tmp_path / "front.json"
        config.write_text(json.dumps({"listen": here, "port": 6443, "domain": "mesos"}))
        done = CliRunner().invoke(scheduler.app, ["front", "--config", str(config)])
    assert done.exit_code == 1
    assert f"cannot listen at 127.0.0.1:{here[1]}" in done.stderr


@pytest.mark.parametrize("turns", range(4))
def test_what_is_forgotten_while_dns_answers_is_looked_at_no_more(
    monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        asked = asyncio.Event()

        def getaddrinfo(*_: Any, **__: Any) -> asyncio.Future[list[Any]]:
            asked.set()
            return answer

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        balancer = balance.Balancer({"listen": ["127.0.0.1", 0], "port": 6443})
        balancer.cluster(NAME)
        [(_, keeping)] = balancer._clusters.values()
        await asked.wait()
        answer.set_result([])
        for _ in range(turns):
            await asyncio.sleep(0)
        balancer.close()
        _, unfinished = await asyncio.wait({keeping}, timeout=SPARE)
        while not keeping.done():
            keeping.cancel()
            await asyncio.sleep(0)
        assert not unfinished

    monkeypatch.setattr(balance, "LOOK_SECONDS", 0.01)
    asyncio.run(story())
