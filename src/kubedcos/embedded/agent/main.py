"""The agent's process: flags, recovery, server, registration, signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubedcos.clock import SystemClock
from kubedcos.embedded import log_files
from kubedcos.embedded.agent import group_store, reconfigure
from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.cgroup_layout import parse_mounts, plan_cgroups
from kubedcos.embedded.agent.cgroups import Cgroups
from kubedcos.embedded.agent.containers import Containers
from kubedcos.embedded.agent.detector import detector_of
from kubedcos.embedded.agent.fetching.fetcher import Fetcher
from kubedcos.embedded.agent.flag_table import AGENT_FLAGS
from kubedcos.embedded.agent.host_mounts import ensure_shared
from kubedcos.embedded.agent.http import AgentHttp
from kubedcos.embedded.agent.isolators import cni
from kubedcos.embedded.agent.isolators.cni import Networks
from kubedcos.embedded.agent.isolators.disk import DiskWatch, du
from kubedcos.embedded.agent.link import MarkedGone, MasterLink
from kubedcos.embedded.agent.machine import boot_id
from kubedcos.embedded.agent.paths import Layout
from kubedcos.embedded.agent.sandbox_gc import SandboxGc
from kubedcos.embedded.agent.settings import Settings, containerizer_fault, load, refused_policy
from kubedcos.embedded.agent.store import Store
from kubedcos.embedded.protocol import MESOS_VERSION
from kubedcos.embedded.serving import server
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import AgentInfo

log = logging.getLogger("kubedcos.embedded.agent")

UNREGISTER_SECONDS = 5.0
"""How long an agent that leaves for good tries to tell its master so."""


class Fatal(KubedcosError):
    """The agent ends with status 1 and this text, as Mesos' EXIT does."""


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> int:
    """Run the agent; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--version" in given:
        sys.stdout.write(f"mesos {MESOS_VERSION}\n")
        return 0
    if "--help" in given:
        sys.stdout.write(usage())
        return 0
    try:
        settings = load(given, os.environ if environment is None else environment)
        log_files.configure(
            "mesos-agent",
            settings.hostname,
            settings.flags.required("logging_level"),
            quiet=settings.flags.boolean("quiet"),
            log_dir=settings.flags.text("log_dir"),
        )
        if problem := refused_policy(settings.flags) or containerizer_fault(settings):
            raise Fatal(problem)
        return asyncio.run(_Process(settings).run())
    except KubedcosError as error:
        sys.stderr.write(f"EXIT with status 1: {error}\n")
        return 1


def usage() -> str:
    """Help: the flags with their defaults."""
    lines = ["Usage: mesos-agent [options]\n\nFlags of Apache Mesos' agent:\n"]
    for flag in sorted(AGENT_FLAGS, key=lambda flag: flag.name):
        default = f" (default: {flag.default})" if flag.default is not None else ""
        note = "" if flag.harmless is None else " [no effect, or refused, here]"
        lines.append(f"  --{flag.name}=VALUE{default}{note}")
    return "\n".join(lines) + "\n"


class _Process:
    """What belongs to one run of the agent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        flags = settings.flags
        self.clock = SystemClock()
        self.layout = Layout(settings.work_dir.absolute(), settings.runtime_dir.absolute())
        self.store = Store(self.layout)
        plan = plan_cgroups(
            parse_mounts(Path("/proc/mounts").read_text(encoding="utf-8")),
            Path(flags.required("cgroups_hierarchy")),
            settings.isolators.names,
            settings.launcher,
            hard_cpu=flags.boolean("cgroups_enable_cfs"),
            limit_swap=flags.boolean("cgroups_limit_swap"),
            count_tasks=flags.boolean("cgroups_cpu_enable_pids_and_tids_count"),
        )
        self.cgroups = Cgroups(plan, flags.required("cgroups_root"))

    async def run(self) -> int:
        settings, flags = self.settings, self.settings.flags
        for directory in (self.layout.work_dir, self.layout.runtime_dir):
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                text = f"Failed to create the directory '{directory}': {error.strerror}"
                raise Fatal(text) from error
        listener = self._listen()
        port = listener.getsockname()[1]
        info = AgentInfo(
            hostname=settings.hostname,
            port=int(flags.text("advertise_port") or port),
            resources=tuple(settings.resources),
            attributes=settings.attributes,
            domain=settings.domain,
            checkpoint=True,
        )
        old = self._compared(info)
        self.cgroups.prepare()
        fetcher = Fetcher(
            Path(flags.required("fetcher_cache_dir")),
            flags.bytes("fetcher_cache_size"),
            size_of,
            frameworks_home=flags.required("frameworks_home"),
            stall_timeout=flags.seconds("fetcher_stall_timeout"),
        )
        await asyncio.to_thread(fetcher.clear)
        containers = Containers(
            self.layout,
            self.cgroups,
            self._networks(),
            destroy_timeout=flags.seconds("cgroups_destroy_timeout"),
        )
        headroom = _fraction(flags.required("gc_disk_headroom"))
        gc = SandboxGc(self.layout, flags.seconds("gc_delay"), headroom, self.clock)
        disk = None
        if "disk/du" in settings.isolators.names:
            interval = flags.seconds("container_disk_watch_interval")
            disk = DiskWatch(interval, flags.boolean("enforce_container_disk_quota"), du)
        agent = Agent(settings, self.store, containers, fetcher, gc, self.clock, disk)
        agent.launcher.port = info.port
        if self.store.rebooted(boot_id()):
            log.info("The machine was booted since the agent ran last")
        await agent.reach_target()
        detector = detector_of(flags.required("master"), flags.seconds("zk_session_timeout"))
        link = MasterLink(agent, detector, info, self.clock)
        began = self.clock.monotonic()
        if old is not None and old.id is not None:
            agent.recover(
                old,
                self.store.runs(old.id.value),
                group_store.executors(self.store, old.id.value),
            )
        agent.destroy_orphans()
        agent.counters["slave/recovery_time_secs"] = self.clock.monotonic() - began
        if flags.required("recover") == "cleanup":
            await self._clean_up(agent)
            return 0
        http = AgentHttp(agent, link, time.time())
        await detector.start()
        try:
            await self._serve(agent, link, http, listener, gc)
        finally:
            await detector.stop()
        return 0

    def _networks(self) -> Networks:
        """The CNI networks; mounts are made ready on the way."""
        settings, flags = self.settings, self.settings.flags
        lasting = flags.boolean("network_cni_root_dir_persist")
        networks = Networks(
            (self.layout.work_dir if lasting else self.layout.runtime_dir) / cni.ROOT,
            flags.text("network_cni_config_dir"),
            flags.text("network_cni_plugins_dir"),
            settings.default_dns,
        )
        try:
            if "filesystem/linux" in settings.isolators.names:
                ensure_shared(self.layout.work_dir)
            networks.make_ready()
        except OSError as error:
            raise Fatal(f"Failed to create a containerizer: {error}") from error
        return networks

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.settings.ip, self.settings.port))
        except OSError as error:
            where = f"{self.settings.ip}:{self.settings.port}"
            raise Fatal(f"Failed to bind on {where}: {error.strerror}") from error
        return listener

    def _compared(self, info: AgentInfo) -> AgentInfo | None:
        """The identity to go on with, if there is one; Fatal when the configuration forbids it."""
        old = self.store.identity()
        if old is None or self.settings.flags.required("recover") == "cleanup":
            return old
        policy = self.settings.flags.required("reconfiguration_policy")
        if problem := reconfigure.refusal(old, info, policy):
            tip = reconfigure.advice(str(self.layout.latest))
            raise Fatal(f"Failed to perform recovery: {problem}\n{tip}")
        return old

    async def _clean_up(self, agent: Agent) -> None:
        """`--recover=cleanup`: end everything, and be a new agent next time."""
        agent.end_all()
        await _all_ended(agent)
        self.store.forget_identity()

    async def _serve(
        self,
        agent: Agent,
        link: MasterLink,
        http: AgentHttp,
        listener: socket.socket,
        gc: SandboxGc,
    ) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        def end_for_good(_message: str) -> None:
            agent.end_all()
            agent.spawn(_stop_when_ended(agent, stop))

        async def leave() -> None:
            # Said before anything ends: without tasks the process would be gone first.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UNREGISTER_SECONDS):
                    await link.unregister()
            end_for_good("")

        def unregister() -> None:
            log.info("Unregistering and shutting down (SIGUSR1)")
            agent.spawn(leave())

        agent.on_shutdown = end_for_good
        loop.add_signal_handler(signal.SIGUSR1, unregister)
        web = server(http.app(), tls=self.settings.tls)
        serving = asyncio.create_task(web.serve(sockets=[listener]))
        linking = asyncio.create_task(link.run())
        collecting = asyncio.create_task(self._collect(gc))
        measuring = asyncio.create_task(agent.watch_disk())
        stopping = asyncio.create_task(_until(stop))
        tasks = {serving, linking, collecting, stopping}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if linking in done and isinstance(linking.exception(), MarkedGone):
            error = linking.exception()
            log.error("%s", error)
            agent.end_all()
            await _all_ended(agent)
            done -= {linking}
        web.should_exit = True
        for task in (linking, collecting, stopping, measuring):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        for task in done - {stopping, serving}:
            task.result()

    async def _collect(self, gc: SandboxGc) -> None:
        interval = self.settings.flags.seconds("disk_watch_interval")
        while True:
            await self.clock.sleep(interval)
            await asyncio.to_thread(gc.collect)


def _fraction(text: str) -> float:
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _all_ended(agent: Agent) -> None:
    """Wait until no container is left, or longer than that may take."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(agent.patience + 10):
            while not agent.all_ended:  # noqa: ASYNC110  rare
                await asyncio.sleep(0.05)


async def _stop_when_ended(agent: Agent, stop: asyncio.Event) -> None:
    await _all_ended(agent)
    stop.set()


async def size_of(uri: str) -> int | None:
    """Bytes behind a URI, asked by HEAD or looked up; None when nobody can say."""
    return await asyncio.to_thread(_size_of, uri)


def _size_of(uri: str) -> int | None:
    try:
        if uri.startswith(("http://", "https://")):
            request = urllib.request.Request(uri, method="HEAD")  # noqa: S310  scheme was checked
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  likewise
                length = answer.headers.get("Content-Length")
            return None if length is None else int(length)
        path = uri.removeprefix("file://")
        return Path(path).stat().st_size if path.startswith("/") else None
    except (OSError, ValueError, urllib.error.URLError):
        return None
