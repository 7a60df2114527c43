"""The running server: asks Mesos for its state, writes the zone, keeps CoreDNS and HTTP going.

Neither DNS nor HTTP listens before the first state was read. When a later read fails, the old
records stay; the SOA serial tells how old they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from kubedcos import __version__, serving
from kubedcos.embedded.mesos_dns import api, corefile, zone
from kubedcos.embedded.mesos_dns.config import Config
from kubedcos.embedded.mesos_dns.leader import MasterDetector
from kubedcos.embedded.mesos_dns.records import Records, generate
from kubedcos.embedded.mesos_dns.state import BadState, pid_host_port
from kubedcos.errors import KubedcosError
from kubedcos.mesos.tls import client_context

COREDNS_VARIABLE = "MESOS_DNS_COREDNS"


class CannotServe(KubedcosError):
    """The server has to end; the text says why."""


def log(text: str) -> None:
    """One line on stderr, where systemd's journal takes it."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  this program's log is its stderr


class Server:
    """One Mesos-DNS. `run` returns only by an exception or a signal."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._snapshot = api.Snapshot(Records(), 0)
        self._wake = asyncio.Event()
        self._detector: MasterDetector | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="mesos-dns-"))
        self._dns: asyncio.subprocess.Process | None = None
        self._tls: ssl.SSLContext | bool = True
        if config.mesos_https_on:
            self._tls = client_context(
                config.ca_cert_file or None, config.cert_file or None, config.key_file or None
            )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            CannotServe: CoreDNS missing or ended, an address is taken, no leader was detected.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if self._config.zk:

            def changed() -> None:
                loop.call_soon_threadsafe(self._wake.set)

            self._detector = MasterDetector(self._config.zk, changed)
            self._detector.start()
        tasks = [asyncio.create_task(self._serve()), asyncio.create_task(stop.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()

    async def _serve(self) -> None:
        await self._first_load()
        parts = []
        if self._config.dns_on:
            parts.append(self._watch_dns(await self._start_dns()))
        if self._config.http_on:
            parts.append(self._serve_http())
        await asyncio.gather(self._refresh(), *parts)

    async def _first_load(self) -> None:
        deadline = time.monotonic() + self._config.zk_detection_timeout
        while not await self._load():
            waited_long = self._config.zk_detection_timeout > 0 and time.monotonic() > deadline
            if self._detector and not self._detector.masters and waited_long:
                raise CannotServe(
                    f"master detection timed out after {self._config.zk_detection_timeout}s"
                )
            await self._pause(min(self._config.refresh_seconds, 1))

    async def _refresh(self) -> None:
        while True:
            await self._pause(self._config.refresh_seconds)
            await self._load()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    def _masters(self) -> tuple[str, ...]:
        if self._detector and self._detector.masters:
            return self._detector.masters
        return self._config.masters

    async def _load(self) -> bool:
        for master in self._masters():
            try:
                state = await self._fetch(master)
                leader_host, _ = pid_host_port(state.get("leader") or "")
                host, _, port = master.rpartition(":")
                if leader_host != host.strip("[]"):
                    state = await self._fetch(f"{leader_host}:{port}")
                await self._publish(state)
            except (httpx2.HTTPError, ValueError, OSError) as error:
                log(f"no state from {master}: {str(error) or type(error).__name__}")
                continue
            return True
        return False

    async def _fetch(self, master: str) -> dict[str, Any]:
        scheme = "https" if self._config.mesos_https_on else "http"
        auth = None
        if self._config.mesos_authentication == "basic":
            auth = httpx2.BasicAuth(self._config.mesos_principal, self._config.mesos_secret)
        timeout = httpx2.Timeout(5, read=self._config.state_timeout_seconds)
        async with httpx2.AsyncClient(
            timeout=timeout,
            follow_redirects=True,
            trust_env=False,
            verify=self._tls,
            headers={"user-agent": "Mesos-DNS", "accept-encoding": "gzip", "connection": "close"},
        ) as client:
            response = await client.get(f"{scheme}://{master}/master/state", auth=auth)
        document = response.json()
        if not isinstance(document, dict):
            raise BadState("the state is no object")
        return document

    async def _publish(self, state: dict[str, Any]) -> None:
        config = self._config
        if self._detector and self._detector.masters:
            config = replace(config, masters=self._detector.masters)
        local = _local_addresses() if config.listener in ("0.0.0.0", "::") else ()  # noqa: S104  read
        records = await asyncio.to_thread(generate, state, config, _lookup, local_addresses=local)
        serial = max(int(time.time()), self._snapshot.serial)
        self._snapshot = api.Snapshot(records, serial)
        self._write_zone(config.domain, zone.render(records, config, serial))
        if config.reverse_dns_on:
            for name in zone.REVERSE_ZONES:
                self._write_zone(name, zone.render_reverse(records, config, serial, name))

    def _write_zone(self, name: str, text: str) -> None:
        zones = self._directory / "zones"
        zones.mkdir(exist_ok=True)
        # Written beside the directory that CoreDNS reads, then renamed into it: never half a zone.
        draft = self._directory / "zone.draft"
        draft.write_text(text, encoding="ascii")
        draft.rename(zones / f"{name}.zone")

    async def _start_dns(self) -> asyncio.subprocess.Process:
        program = os.environ.get(COREDNS_VARIABLE) or shutil.which("coredns")
        if not program:
            raise CannotServe(
                f"coredns is not in PATH and {COREDNS_VARIABLE} does not name it: nothing can "
                "serve the zone"
            )
        _check_free(self._config)
        path = self._directory / "Corefile"
        path.write_text(corefile.render(self._config, self._directory / "zones"), encoding="ascii")
        self._dns = await asyncio.create_subprocess_exec(program, "-conf", str(path), "-quiet")
        return self._dns

    async def _watch_dns(self, process: asyncio.subprocess.Process) -> None:
        raise CannotServe(f"coredns ended with status {await process.wait()}")

    async def _serve_http(self) -> None:
        application = api.application(self._config, __version__, lambda: self._snapshot)
        server = serving.Server(
            uvicorn.Config(
                application,
                host=self._config.http_listener,
                port=self._config.http_port,
                log_config=None,
                lifespan="off",
                server_header=False,
            )
        )
        try:
            await server.serve()
        except KubedcosError:
            raise CannotServe(
                "failed to setup http server: listen tcp "
                f"{self._config.http_listener}:{self._config.http_port}: cannot bind"
            ) from None

    async def _close(self) -> None:
        if self._detector:
            self._detector.stop()
        if self._dns and self._dns.returncode is None:
            self._dns.terminate()
            try:
                await asyncio.wait_for(self._dns.wait(), 5)
            except TimeoutError:
                self._dns.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


def _check_free(config: Config) -> None:
    """Say in Mesos-DNS' words that an address is not ours or a port is taken."""
    family = socket.AF_INET6 if ":" in config.listener else socket.AF_INET
    for kind, name in ((socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")):
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.listener, config.port))
            except OSError as error:
                raise CannotServe(
                    f'failed to setup "{name}" server: listen {name} '
                    f"{config.listener}:{config.port}: bind: {(error.strerror or '').lower()}"
                ) from None


def _lookup(host: str) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _local_addresses() -> tuple[str, ...]:
    """Addresses of this host by its own name; loopback is left out."""
    return tuple(
        address
        for address in _lookup(socket.gethostname())
        if not ipaddress.ip_address(address.partition("%")[0]).is_loopback
    )
