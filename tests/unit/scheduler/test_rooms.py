"""What Mesos has free for a cluster that is to be made, or that is there and changes."""

from __future__ import annotations

from dataclasses import replace

from kubedcos.mesos import messages as wire
from kubedcos.mesos.operator import AgentAmounts, Site
from kubedcos.model.offer import Agent
from kubedcos.model.service import PlanSpec, PodSpec, ServiceSpec, TaskSpec
from kubedcos.offers.pool import size
from kubedcos.scheduler.rooms import Held, held, rooms
from kubedcos.scheduler.world import World
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import TaskRecord

A1 = Agent("S-a1", "a1", region="dc-a", zone="a-1")
KUBELET = TaskSpec("kubelet", "kubelet", 2.0, 1024, 256)
NODES = PodSpec("kube-node", 2, (KUBELET,))
SERVICE = ServiceSpec("k", "k", (NODES,), (PlanSpec("deploy", ()),))


def world(*tasks: TaskRecord) -> World:
    found = World(MemoryStore(), SERVICE)
    found.commit(tasks)
    return found


def running(index: int, spec: TaskSpec = KUBELET) -> TaskRecord:
    return TaskRecord(
        f"kube-node-{index}__1",
        "kube-node",
        index,
        spec,
        A1,
        {"https": 10250},
        state="TASK_RUNNING",
    )


def site() -> Site:
    region, zone = wire.RegionInfo("dc-a"), wire.ZoneInfo("a-1")
    domain = wire.DomainInfo(wire.FaultDomain(region, zone))
    info = wire.AgentInfo(
        "a1",
        id=wire.AgentID("S-a1"),
        attributes=(wire.Attribute("rack", "TEXT", text=wire.Text("r1")),),
        domain=domain,
    )
    free = (
        wire.Resource("cpus", "SCALAR", scalar=wire.Scalar(1.0)),
        wire.Resource("ports", "RANGES", ranges=wire.Ranges((wire.Range(11000, 12000),))),
    )
    return Site((AgentAmounts(info, free, free),), domain)


def test_an_agent_is_known_by_its_place_and_attributes() -> None:
    (room,), local_region = rooms(site())
    assert local_region == "dc-a"
    assert room.agent == replace(A1, attributes=(("rack", "r1"),))
    assert {part.name: size(part) for part in room.free} == {"cpus": 1000, "ports": 1001_000}


def test_what_stays_as_it_is_has_its_place() -> None:
    found = held(world(running(0)), SERVICE)
    assert found == Held({("kube-node", 0): A1}, {})


def test_what_changes_or_goes_gives_back_what_it_has() -> None:
    larger = replace(SERVICE, pods=(replace(NODES, tasks=(replace(KUBELET, mem_mb=2048),)),))
    fewer = replace(SERVICE, pods=(replace(NODES, count=0),))
    for service in (larger, fewer):
        found = held(world(running(0)), service)
        assert found.placed == {}
        (room,), _ = rooms(site(), found)
        assert {part.name: size(part) for part in room.free} == {
            "cpus": 3000,
            "mem": 1024_000,
            "disk": 256_000,
            "ports": 1002_000,
        }
