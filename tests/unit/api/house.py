"""A service without Mesos, Kubernetes or network behind its API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from kubedcos.api import app as application
from kubedcos.api.hosted import Links
from kubedcos.api.hosting import Clusters
from kubedcos.api.support import House as Home
from kubedcos.clock import SystemClock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.kubernetes.delivery import SandboxUnreadable
from kubedcos.mesos.client import Connector, SubscriptionEnded
from kubedcos.mesos.detector import NoMaster
from kubedcos.model.service import (
    PhaseSpec,
    PlanSpec,
    PodSpec,
    ServiceSpec,
    StepSpec,
    Strategy,
    TaskSpec,
)
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.workload import Command, Departure, Launch, Readiness, RunningTask
from kubedcos.state.memory import MemoryStore
from kubedcos.state.store import Change, StateError

TOKEN = "open-sesame"
SCRAPE_TOKEN = "only-numbers"


class NoMesos:
    """A way to Mesos that leads nowhere."""

    async def connect(self, _: Any) -> Any:
        raise NoMaster("no master answers")


class Removed:
    """A way to a Mesos that has removed the framework."""

    async def connect(self, _: Any) -> Any:
        raise SubscriptionEnded("Framework has been removed")


class Quiet:
    """One pod with one task, and nothing behind it."""

    def __init__(self, name: str) -> None:
        task = TaskSpec("server", "etcd", 0.1, 32, 32)
        step = StepSpec("etcd-0", "etcd", 0, ("server",))
        plan = PlanSpec("deploy", (PhaseSpec("etcd", Strategy.SERIAL, (step,)),))
        self.spec = ServiceSpec(name, name, (PodSpec("etcd", 1, (task,)),), (plan,))
        self.delivery: Any = None

    def command(self, _launch: Launch, _peers: Sequence[RunningTask]) -> Command:
        return Command("true")

    async def probe(self, _task: RunningTask, _peers: Sequence[RunningTask]) -> Readiness:
        return Readiness(ready=True)

    async def may_stop(self, _departure: Departure, _peers: Sequence[RunningTask]) -> Readiness:
        return Readiness(ready=True)

    async def prepare_departure(
        self, _departure: Departure, _peers: Sequence[RunningTask]
    ) -> Readiness:
        return Readiness(ready=True)

    async def finish_departure(
        self, _departure: Departure, _peers: Sequence[RunningTask]
    ) -> Readiness:
        return Readiness(ready=True)

    def task_ended(self, _task_id: str) -> None:
        pass

    def kubeconfig(self, _user: str = "admin") -> str:
        raise InvalidInput([Problem("cluster", "no kube-apiserver", "one that was started")])

    async def objections_to_leaving(self, _instances: Sequence[str]) -> list[Problem]:
        return []

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


@dataclass
class Kept:
    kubernetes: Quiet
    forgotten: list[str]

    logs: dict[str, str]
    kept_secrets: list[bytes]

    def forget(self) -> None:
        self.forgotten.append(self.kubernetes.spec.name)

    def certificates(self) -> Mapping[str, float]:
        return {"ca-cluster": 1.9e9}

    def secrets(self) -> Iterable[bytes]:
        return self.kept_secrets

    async def log_piece(
        self, address: str, task_id: str, file: str, offset: int, length: int
    ) -> tuple[str, int]:
        text = self.logs.get(file)
        if text is None:
            raise SandboxUnreadable(f"agent {address}: 404 no {file} of {task_id}")
        return ("", len(text)) if offset < 0 else (text[offset : offset + length], offset)


class BrokenStore(MemoryStore):
    """A store whose disk is full from some moment on."""

    full = False

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        if self.full:
            raise StateError("disk full")
        super().write(cluster, changes)


@dataclass
class House:
    store: BrokenStore = field(default_factory=BrokenStore)
    forgotten: list[str] = field(default_factory=list)
    refuse: KubedcosError | None = None
    mesos: Connector = field(default_factory=NoMesos)
    logs: dict[str, str] = field(default_factory=dict)
    secrets: list[bytes] = field(default_factory=list)
    home: Home = field(default_factory=Home)

    def clusters(self) -> Clusters:
        return Clusters(
            store=self.store,
            clock=SystemClock(),
            make_workload=self.make,
            framework=lambda options: FrameworkSettings(options.name, options.name, "none:1"),
            connect=lambda _: self.mesos,
        )

    async def make(self, options: ClusterOptions, links: Links) -> Kept:
        assert links.framework_id() == ""
        # Others get their turn, as they do while artefacts are asked for.
        asked = asyncio.get_running_loop().create_future()
        asked.get_loop().call_soon(asked.set_result, None)
        await asked
        if self.refuse is not None:
            raise self.refuse
        return Kept(Quiet(options.name), self.forgotten, self.logs, self.secrets)


Ask = Callable[..., Awaitable[httpx2.Response]]


def serve(house: House, story: Callable[[Ask, Clusters], Awaitable[None]]) -> None:
    """Run `story` against the API over `house`, and close everything."""

    async def main() -> None:
        clusters = house.clusters()
        await clusters.restore()
        built = application.build(clusters, TOKEN, SCRAPE_TOKEN, house.home)
        transport = httpx2.ASGITransport(app=built, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="https://api") as client:

            async def ask(
                method: str,
                path: str,
                document: Any = None,
                token: str = TOKEN,
                content: bytes | None = None,
                **more: str,
            ) -> httpx2.Response:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                headers |= {name.replace("_", "-"): value for name, value in more.items()}
                if content is not None:
                    return await client.request(method, path, content=content, headers=headers)
                return await client.request(method, path, json=document, headers=headers)

            try:
                async with asyncio.timeout(60):
                    await story(ask, clusters)
            finally:
                await clusters.close()

    asyncio.run(main())
