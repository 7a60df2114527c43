import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from kubedcos.api import app as application
from kubedcos.api.hosting import Clusters, Links
from kubedcos.clock import SystemClock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import InvalidInput, KubedcosError, Problem
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

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


@dataclass
class Kept:
    kubernetes: Quiet
    forgotten: list[str]

    def forget(self) -> None:
        self.forgotten.append(self.kubernetes.spec.name)


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
        await asyncio.sleep(0)  # others get their turn, as they do while artefacts are asked for
        if self.refuse is not None:
            raise self.refuse
        return Kept(Quiet(options.name), self.forgotten)


Ask = Callable[..., Awaitable[httpx2.Response]]


def serve(house: House, story: Callable[[Ask, Clusters], Awaitable[None]]) -> None:
    """Run `story` against the API over `house`, and close everything."""

    async def main() -> None:
        clusters = house.clusters()
        await clusters.restore()
        transport = httpx2.ASGITransport(app=application.build(clusters, TOKEN))
        async with httpx2.AsyncClient(transport=transport, base_url="https://api") as client:

            async def ask(
                method: str,
                path: str,
                document: Mapping[str, Any] | None = None,
                token: str = TOKEN,
            ) -> httpx2.Response:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                return await client.request(method, path, json=document, headers=headers)

            try:
                async with asyncio.timeout(20):
                    await story(ask, clusters)
            finally:
                await clusters.close()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.01)


def test_operators_need_their_token_and_health_does_not() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        for token in ("", "wrong", f"{TOKEN}x"):
            answer = await ask("GET", "/v1/clusters", token=token)
            assert answer.status_code == 401
        assert (await ask("GET", "/v1/health", token="")).json()["healthy"] is True
        assert (await ask("GET", "/v1/clusters")).json() == []

    serve(House(), story)


def test_every_route_but_health_and_tasks_own_is_guarded() -> None:
    clusters = House().clusters()
    open_paths = {"/v1/health"}
    for route in application.build(clusters, TOKEN).routes:
        path = getattr(route, "path", "")
        dependant = getattr(route, "dependant", None)
        if dependant is not None and path not in open_paths and "/tasks/" not in path:
            assert dependant.dependencies, path


def test_a_cluster_is_created_once_and_shown() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        first = await ask("POST", "/v1/clusters", {"name": "k1"})
        second = await ask("POST", "/v1/clusters", {"name": "k1"})
        assert (first.status_code, first.json()["changed"]) == (201, True)
        assert (second.status_code, second.json()["changed"]) == (200, False)

        shown = (await ask("GET", "/v1/clusters/k1")).json()
        assert (shown["status"], shown["connected"]) == ("PENDING", False)
        assert shown["options"]["name"] == "k1"

    serve(House(), story)


def test_two_requests_at_once_make_one_cluster() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        answers = await asyncio.gather(
            *(ask("POST", "/v1/clusters", {"name": "k1"}) for _ in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]

    serve(House(), story)


def test_other_options_for_a_running_cluster_are_refused_with_the_key() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        answer = await ask("POST", "/v1/clusters", {"name": "k1", "node": {"count": 3}})
        assert (answer.status_code, answer.json()["exit_code"]) == (409, 3)
        assert "(node)" in answer.json()["error"]

    serve(House(), story)


def test_wrong_options_come_back_as_problems() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        answer = await ask("POST", "/v1/clusters", {"name": "k1", "nodes": 3})
        assert (answer.status_code, answer.json()["exit_code"]) == (422, 2)
        assert answer.json()["problems"][0]["where"] == "options: nodes"
        assert clusters.all() == []

    serve(House(), story)


@pytest.mark.parametrize("path", ["k2", "k1/plans/none", "k1/pods/none-0", "k2/kubeconfig"])
def test_what_is_not_there_is_404_and_says_what_is(path: str) -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        answer = await ask("GET", f"/v1/clusters/{path}")
        assert answer.status_code == 404
        assert "wanted one of: " in answer.json()["error"]

    serve(House(), story)


def test_plans_and_pods_are_shown() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        plan = (await ask("GET", "/v1/clusters/k1/plans/deploy")).json()
        assert plan["phases"][0]["steps"][0]["pod"] == "etcd-0"
        assert (await ask("GET", "/v1/clusters/k1/plans")).json()[0]["name"] == "deploy"
        assert (await ask("GET", "/v1/clusters/k1/pods")).json()[0]["name"] == "etcd-0"
        assert (await ask("GET", "/v1/clusters/k1/pods/etcd-0")).json()["tasks"]
        assert (await ask("GET", "/v1/clusters/k1/kubeconfig")).json()["exit_code"] == 2

    serve(House(), story)


def test_clusters_come_back_after_a_restart() -> None:
    house = House()

    async def before(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1", "node": {"count": 5}})

    async def after(ask: Ask, _: Clusters) -> None:
        found = (await ask("GET", "/v1/clusters")).json()
        assert [(c["name"], c["options"]["node"]["count"]) for c in found] == [("k1", 5)]

    serve(house, before)
    serve(house, after)


def test_a_cluster_that_cannot_be_made_leaves_no_trace() -> None:
    house = House(refuse=KubedcosError("the artefact server does not answer"))

    async def story(ask: Ask, _: Clusters) -> None:
        answer = await ask("POST", "/v1/clusters", {"name": "k1"})
        assert (answer.status_code, answer.json()["exit_code"]) == (500, 1)

    serve(house, story)
    assert house.store.clusters() == ()


def test_delete_forgets_the_cluster_and_its_keys() -> None:
    house = House()

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        assert (await ask("DELETE", "/v1/clusters/k1")).status_code == 202
        await until(lambda: not clusters.all())
        assert (await ask("DELETE", "/v1/clusters/k1")).status_code == 404

    serve(house, story)
    assert house.forgotten == ["k1"]
    assert house.store.clusters() == ()


def test_a_cluster_whose_framework_mesos_has_removed_can_be_deleted() -> None:
    house = House(mesos=Removed())

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        await until(lambda: clusters.get("k1").failure)
        assert (await ask("DELETE", "/v1/clusters/k1")).status_code == 202
        await until(lambda: not clusters.all())

    serve(house, story)
    assert house.store.clusters() == ()


def test_a_store_that_fails_ends_the_service_and_is_told() -> None:
    house = House()

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        house.store.full = True
        await ask("DELETE", "/v1/clusters/k1")
        deleting = clusters.get("k1").deleting
        assert deleting is not None
        with pytest.raises(StateError):
            await deleting

    serve(house, story)


def test_a_body_that_is_no_object_or_too_large_is_refused() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        answer = await ask("POST", "/v1/clusters", [1])  # type: ignore[arg-type]
        assert answer.json()["problems"][0]["id"] == "body-json"
        huge = {"name": "x" * (application.MOST_BODY_BYTES + 1)}
        assert (await ask("POST", "/v1/clusters", huge)).status_code == 413

    serve(House(), story)


def test_a_task_that_nobody_knows_gets_no_keys() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        answer = await ask("POST", "/v1/tasks/etcd-0-server__1/material", {}, token="")
        assert answer.status_code == 404

    serve(House(), story)
