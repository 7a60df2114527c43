"""Clusters that do not fit, or clash with others, are refused before anything of them is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from kubedcos.api import updating
from kubedcos.api.hosted import Links
from kubedcos.api.hosting import Clusters
from kubedcos.api.updating import Terms
from kubedcos.clock import SystemClock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import InvalidInput, Refused
from kubedcos.kubernetes import components
from kubedcos.mesos import messages as wire
from kubedcos.mesos.detector import NoMaster
from kubedcos.mesos.operator import AgentAmounts, AgentsUnknown, Site
from kubedcos.model.service import ServiceSpec
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.workload import Command, Launch, Readiness, RunningTask
from kubedcos.state.memory import MemoryStore

OTHER_NETWORKS = {"overlay": "apps", "pod_cidr": "10.245.0.0/16", "service_cidr": "10.97.0.0/16"}


class NoMesos:
    async def connect(self, _: Any) -> Any:
        raise NoMaster("no master answers")


class Real:
    """The shape of a real cluster, and nothing behind it."""

    def __init__(self, options: ClusterOptions) -> None:
        self.spec: ServiceSpec = components.service(options)
        self.delivery: Any = None

    def command(self, _launch: Launch, _peers: Sequence[RunningTask]) -> Command:
        return Command("true")

    async def probe(self, _task: RunningTask, _peers: Sequence[RunningTask]) -> Readiness:
        return Readiness(ready=True)

    def task_ended(self, _task_id: str) -> None:
        pass

    def kubeconfig(self, _user: str = "admin") -> str:
        return ""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class Kept:
    def __init__(self, options: ClusterOptions) -> None:
        self.kubernetes = Real(options)

    def forget(self) -> None:
        pass


def agent(name: str, cpus: float = 4.0, region: str = "dc-a") -> AgentAmounts:
    domain = wire.DomainInfo(
        wire.FaultDomain(wire.RegionInfo(region), wire.ZoneInfo(f"{region}-1"))
    )
    info = wire.AgentInfo(name, id=wire.AgentID(f"S-{name}"), domain=domain)
    scalars = {"cpus": cpus, "mem": 8192.0, "disk": 65536.0}
    resources = tuple(
        wire.Resource(key, "SCALAR", scalar=wire.Scalar(value)) for key, value in scalars.items()
    )
    ports = wire.Resource("ports", "RANGES", ranges=wire.Ranges((wire.Range(1025, 29999),)))
    return AgentAmounts(info, (*resources, ports), (*resources, ports))


def site(*agents: AgentAmounts) -> Site:
    return Site(agents, agents[0].info.domain)


def play(found: Site | None, story: Callable[[Clusters], Awaitable[None]]) -> None:
    async def ask(_: FrameworkSettings) -> Site:
        if found is None:
            raise AgentsUnknown("no master answers")
        return found

    async def make(options: ClusterOptions, _: Links) -> Kept:
        return Kept(options)

    async def main() -> None:
        clusters = Clusters(
            store=MemoryStore(),
            clock=SystemClock(),
            make_workload=make,
            framework=lambda options: FrameworkSettings(options.name, options.mesos_role, "none:1"),
            connect=lambda _: NoMesos(),
            ask=ask,
        )
        try:
            async with asyncio.timeout(60):
                await story(clusters)
        finally:
            await clusters.close()

    asyncio.run(main())


def test_what_fits_is_made() -> None:
    async def story(clusters: Clusters) -> None:
        _, is_new = await clusters.create({"name": "k"}, "options")
        assert is_new

    play(site(agent("a1"), agent("a2")), story)


def test_what_does_not_fit_is_refused_with_what_binds() -> None:
    async def story(clusters: Clusters) -> None:
        with pytest.raises(Refused) as caught:
            await clusters.create({"name": "k", "node": {"count": 3}}, "options")
        assert "cluster k: node: found 2 of 3 find an agent" in str(caught.value)
        # Each agent has a node already, and that node has its ports.
        told = "of 2 agents are ruled out by placement one on each agent 2, ports 2."
        assert f"No one constraint binds alone: {told}" in str(caught.value)
        assert clusters.all() == []

    play(site(agent("a1"), agent("a2")), story)


def test_whoever_waits_for_capacity_gets_the_cluster_all_the_same() -> None:
    async def story(clusters: Clusters) -> None:
        data = {"name": "k", "node": {"count": 3}}
        assert (await clusters.create(data, "options", wait_for_capacity=True))[1]
        # And asking again without the wish changes nothing.
        assert not (await clusters.create(data, "options"))[1]

    play(site(agent("a1"), agent("a2")), story)


def test_a_mesos_that_does_not_say_is_no_reason_to_refuse() -> None:
    async def story(clusters: Clusters) -> None:
        assert (await clusters.create({"name": "k"}, "options"))[1]
        with pytest.raises(AgentsUnknown):
            await clusters.check({"name": "k"}, "options")

    play(None, story)


def test_a_check_tells_where_everything_would_go() -> None:
    async def story(clusters: Clusters) -> None:
        found = await clusters.check({"name": "k", "node_pools": {"big": {"cpus": 3}}}, "options")
        assert found["fits"]
        assert found["places"]["kube-node-big-0"] in {"a2", "b1"}
        assert {pod["pod"]: pod["placed"] for pod in found["pods"]}["kube-node"] == 2
        short = await clusters.check({"name": "k", "node": {"cpus": 30}}, "options")
        assert not short["fits"]
        (node,) = [pod for pod in short["pods"] if pod["pod"] == "kube-node"]
        assert (node["placed"], node["missing"]) == (0, ["kube-node-0", "kube-node-1"])
        assert node["why"]["shortfall"][0]["needed"] == 30.2

    play(site(agent("a1"), agent("a2"), agent("b1", region="dc-b")), story)


def test_a_second_cluster_that_would_share_what_is_the_firsts() -> None:
    async def story(clusters: Clusters) -> None:
        await clusters.create({"name": "one"}, "options")
        with pytest.raises(InvalidInput) as caught:
            await clusters.create({"name": "two"}, "options")
        assert "kubernetes in cluster two and in cluster one" in str(caught.value)
        assert [problem.id for problem in caught.value.problems] == ["cluster-clash"] * 3
        with pytest.raises(InvalidInput):
            await clusters.check({"name": "two"}, "options")
        assert (await clusters.create({"name": "two", "network": OTHER_NETWORKS}, "options"))[1]
        told = [hosted.snapshot() for hosted in clusters.all()]
        assert [(each["name"], each["overlay"], each["nodes"]) for each in told] == [
            ("one", "kubernetes", "0/2"),
            ("two", "apps", "0/2"),
        ]

    play(site(*(agent(f"a{n}") for n in range(5))), story)


def test_a_change_that_would_not_fit_is_refused_unless_it_may_wait() -> None:
    async def story(clusters: Clusters) -> None:
        await clusters.create({"name": "k"}, "options")
        larger = {"name": "k", "node": {"count": 3}}
        with pytest.raises(Refused, match="does not fit"):
            await updating.update(clusters, "k", larger, Terms(dry_run=True))
        waits = Terms(dry_run=True, wait_for_capacity=True)
        assert (await updating.update(clusters, "k", larger, waits)).changed

    play(site(agent("a1"), agent("a2")), story)


def test_a_cluster_that_waits_for_capacity_may_change_what_makes_nothing_worse() -> None:
    async def story(clusters: Clusters) -> None:
        data = {"name": "k", "node": {"count": 3}}
        await clusters.create(data, "options", wait_for_capacity=True)
        smaller = {**data, "node": {"count": 3, "max_pods": 50}}
        assert (await updating.update(clusters, "k", smaller, Terms(dry_run=True))).changed

    play(site(agent("a1"), agent("a2")), story)
