"""The service itself: settings in, clusters hosted, API served, until systemd says stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
from collections.abc import Callable, Iterator

import uvicorn

from kubedcos import log
from kubedcos.api import app, identity
from kubedcos.api.hosting import Clusters, MakeWorkload
from kubedcos.api.identity import Identity
from kubedcos.api.settings import DaemonSettings
from kubedcos.api.support import House
from kubedcos.clock import Clock, SystemClock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import KubedcosError
from kubedcos.scheduler import settings as framework
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.state.sqlite import SqliteStore

_log = logging.getLogger(__name__)

WorkloadMaker = Callable[[DaemonSettings, Identity, Clock], MakeWorkload]


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
    clock = SystemClock()
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    shown = identity.ensure(settings.identity_dir, settings.api.addresses, clock.time())
    store = SqliteStore(settings.database)
    clusters = Clusters(
        store=store,
        clock=clock,
        make_workload=make(settings, shown, clock),
        framework=lambda options: _framework(settings, options),
        connect=framework.connector,
    )
    house = _house(settings, shown)
    server = _Server(_server_config(settings, clusters, shown, house))
    serving = asyncio.create_task(server.serve())
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    waits = {
        serving,
        asyncio.create_task(stopped.wait()),
        asyncio.create_task(clusters.broken.wait()),
    }
    try:
        await clusters.restore()
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await clusters.close()
        server.should_exit = True
        for wait in waits - {serving}:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        store.close()
    if not stopped.is_set():
        raise ServiceFailed(
            "the service has ended: "
            + ("a scheduler could not go on" if clusters.broken.is_set() else "no server")
        )


class _Server(uvicorn.Server):
    """A server that leaves signals to the service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: `_serve` in this module listens for them."""
        yield


def _house(settings: DaemonSettings, shown: Identity) -> House:
    """What a supporter is shown of the service; its lines go to the journal in the wanted form."""

    def secrets() -> list[str]:
        files = (settings.mesos.secret_file, settings.mesos.agent_secret_file)
        kept = [
            path.read_text(errors="replace").strip()
            for path in files
            if path is not None and path.is_file()
        ]
        return [secret for secret in (shown.token, shown.scrape_token, *kept) if secret]

    recent = log.set_up(log.Form(settings.log.format), settings.log.level, secrets())
    return House(settings.model_dump(mode="json"), secrets, recent.lines)


def _server_config(
    settings: DaemonSettings, clusters: Clusters, shown: Identity, house: House
) -> uvicorn.Config:
    config = uvicorn.Config(
        app.build(clusters, shown.token, shown.scrape_token, house),
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
        webui_url=next(iter(settings.api.urls()), ""),
    )
