"""The service: settings in, a place taken, clusters hosted, API served, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable

import uvicorn

from kubedcos import log
from kubedcos.api import app, capacity, leading
from kubedcos.api.front import Front
from kubedcos.api.hosted import MakeWorkload
from kubedcos.api.hosting import Clusters
from kubedcos.api.identity import Identity
from kubedcos.api.leading import Leadership
from kubedcos.api.leftovers import keep_collecting
from kubedcos.api.settings import DaemonSettings
from kubedcos.api.support import House
from kubedcos.api.workloads import agent_logins
from kubedcos.clock import Clock, SystemClock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import KubedcosError
from kubedcos.kubernetes.vault import SecretStore
from kubedcos.scheduler import settings as framework
from kubedcos.scheduler.fencing import FencedConnector
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.serving import Server
from kubedcos.state.store import Store

_log = logging.getLogger(__name__)

WorkloadMaker = Callable[
    [DaemonSettings, Identity, Clock, Store, Callable[[str], SecretStore]], MakeWorkload
]


class ServiceFailed(KubedcosError):
    """The service ended by itself; systemd starts it again."""


def run(settings: DaemonSettings, make: WorkloadMaker) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ServiceFailed: the store or the server failed.
        KubedcosError: it could not even begin.
    """
    asyncio.run(_serve(settings, make))


async def _serve(settings: DaemonSettings, make: WorkloadMaker) -> None:
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    leadership = leading.leadership(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        shown = await leadership.enter(SystemClock().time())
        house = _house(settings, shown)
        front = Front(leadership.leader)
        server = _Server(_server_config(settings, front, shown))
        waits = {
            "no server": asyncio.create_task(server.serve()),
            "stopped": asyncio.create_task(stopped.wait()),
            "another scheduler may lead": asyncio.create_task(leadership.lost.wait()),
            "": asyncio.create_task(_lead(settings, make, leadership, front, shown, house)),
        }
        try:
            await asyncio.wait(waits.values(), return_when=asyncio.FIRST_COMPLETED)
            ended = next(reason for reason, wait in waits.items() if wait.done())
        finally:
            front.app = None
            server.end()
            for reason, wait in waits.items():
                if reason != "no server":
                    wait.cancel()
            results = await asyncio.gather(*waits.values(), return_exceptions=True)
    finally:
        await leadership.close()
    if not stopped.is_set():
        said = next((str(e) for e in results if isinstance(e, Exception)), "") or ended
        raise ServiceFailed(f"the service has ended: {said}")


async def _lead(
    settings: DaemonSettings,
    make: WorkloadMaker,
    leadership: Leadership,
    front: Front,
    shown: Identity,
    house: House,
) -> None:
    """Wait for the lead, host all clusters, and serve the API; ends when they cannot go on.

    Raises:
        KubedcosError: the state cannot be read, or a scheduler could not go on.
    """
    clock = SystemClock()
    await leadership.lead()
    _log.info("this scheduler leads")
    front.taking_over = True
    store = await leadership.store()
    clusters = Clusters(
        store=store,
        clock=clock,
        make_workload=make(
            settings, shown, clock, store, lambda cluster: leadership.secrets(store, cluster)
        ),
        framework=lambda options: _framework(settings, options),
        connect=lambda who: FencedConnector(framework.connector(who), leadership.prove),
        ask=capacity.asker(lambda: agent_logins(settings)),
        pace=pace(settings),
    )
    collecting: asyncio.Task[None] | None = None
    try:
        await clusters.restore()
        collecting = asyncio.create_task(keep_collecting(clusters.leftovers))
        front.app = app.build(clusters, shown.token, shown.scrape_token, house)
        await clusters.broken.wait()
        raise ServiceFailed("a scheduler could not go on")
    finally:
        front.app = None
        if collecting is not None:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
        await clusters.close()
        store.close()


class _Server(Server):
    """One that systemd waits for."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell systemd so: only then may the next one of several restart.

        Raises:
            KubedcosError: nobody can listen there.
        """
        await super().startup(sockets)
        if self.started:
            _tell_systemd("READY=1")


def _tell_systemd(text: str) -> None:
    """What sd_notify(3) does; nothing where systemd does not wait for it."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        address = "\0" + name[1:] if name.startswith("@") else name
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link, contextlib.suppress(OSError):
            link.sendto(text.encode(), address)


def _house(settings: DaemonSettings, shown: Identity) -> House:
    """What a supporter is shown of the service; its lines go to the journal in the wanted form."""

    def secrets() -> list[str]:
        mesos, state = settings.mesos, settings.state
        files = (
            *(mesos.secret_file, mesos.agent_secret_file, mesos.key_file),
            *(state.password_file, state.seal_file, shown.key),
        )
        kept = [
            path.read_text(errors="replace").strip()
            for path in files
            if path is not None and path.is_file()
        ]
        return [secret for secret in (shown.token, shown.scrape_token, *kept) if secret]

    recent = log.set_up(log.Form(settings.log.format), settings.log.level, secrets())
    return House(settings.model_dump(mode="json"), secrets, recent.lines)


def _server_config(settings: DaemonSettings, front: Front, shown: Identity) -> uvicorn.Config:
    config = uvicorn.Config(
        front,
        host=settings.api.listen,
        port=settings.api.port,
        ssl_certfile=str(shown.certificate),
        ssl_keyfile=str(shown.key),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        lifespan="off",
    )
    config.load()
    assert config.ssl is not None
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def pace(settings: DaemonSettings) -> Pace:
    """The times that all schedulers keep."""
    return Pace(release_arrives=settings.mesos.agent_lost_seconds)


def _framework(settings: DaemonSettings, options: ClusterOptions) -> FrameworkSettings:
    """Who a cluster's framework is to Mesos."""
    masters = ",".join(options.mesos.masters) or settings.mesos.masters
    return FrameworkSettings(
        name=options.name,
        role=options.mesos_role,
        masters=masters,
        principal=settings.mesos.principal,
        secret_file=settings.mesos.secret_file,
        ca_file=settings.mesos.ca_file,
        cert_file=settings.mesos.cert_file,
        key_file=settings.mesos.key_file,
        failover_timeout=settings.mesos.failover_timeout_seconds,
        hostname=settings.mesos.hostname,
        webui_url=next(iter(settings.api.own_urls()), ""),
        other_roles=tuple(pool.role for pool in options.pools.values() if pool.role),
    )
