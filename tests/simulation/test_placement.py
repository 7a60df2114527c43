"""Where pods go when rules, pools and roles have a say, and what waiting steps tell."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from kubedcos.config.constraints import read, rows
from kubedcos.mesos import messages as wire
from kubedcos.model.service import (
    PhaseSpec,
    PlacementSpec,
    PlanSpec,
    PodSpec,
    ServiceSpec,
    Strategy,
)

from .machines import SimulatedAgent
from .stage import Stage, lab, phase, play, service, task


@dataclass(eq=False)
class Special(SimulatedAgent):
    """An agent with an attribute, or one whose resources are a role's."""

    rack: str = ""
    role: str = ""

    def info(self) -> wire.AgentInfo:
        plain = super().info()
        attributes = (wire.Attribute("rack", "TEXT", text=wire.Text(self.rack)),)
        kept = (wire.ReservationInfo(type="STATIC", role=self.role),)
        return wire.AgentInfo(
            hostname=plain.hostname,
            resources=tuple(
                wire.Resource(
                    part.name,
                    part.type,
                    scalar=part.scalar,
                    ranges=part.ranges,
                    reservations=kept if self.role else (),
                )
                for part in plain.resources
            ),
            attributes=attributes if self.rack else (),
            domain=plain.domain,
            checkpoint=True,
        )


def with_pool(pool: PodSpec, nodes: int = 2) -> ServiceSpec:
    """The usual service and one more pool of nodes, staged beside the default one."""
    usual = service(nodes)
    (plan,) = usual.plans
    names = tuple(each.name for each in pool.tasks)
    more = phase("pool", Strategy.PARALLEL, *((pool.name, i, names) for i in range(pool.count)))
    phases: list[PhaseSpec] = []
    for found in plan.phases:
        both = (*found.steps, *more.steps) if found.name == "node" else found.steps
        phases.append(replace(found, steps=both))
    return replace(usual, pods=(*usual.pods, pool), plans=(PlanSpec("deploy", tuple(phases)),))


def hosts(stage: Stage, pod: str) -> dict[str, str]:
    return {
        found["name"]: str(found["hostname"])
        for found in stage.scheduler.pod_list()
        if str(found["name"]).rpartition("-")[0] == pod
    }


def test_a_pool_goes_where_its_rules_say() -> None:
    async def story() -> None:
        rules = PlacementSpec(rules=read(rows("rack:LIKE:g[12],rack:UNIQUE")))
        pool = PodSpec("kube-node-gpu", 2, (task("kubelet", 1.0, 1024),), rules)
        racks = [Special(f"g{n}", "dc-b", "b-1", rack=f"g{n % 2 + 1}") for n in range(4)]
        stage = Stage(with_pool(pool), [*lab(), *racks, Special("h1", "dc-b", "b-1", rack="h1")])
        stage.start()
        await stage.until_complete()
        found = hosts(stage, "kube-node-gpu").values()
        assert len(set(found)) == 2
        assert {int(host[1]) % 2 for host in found} == {0, 1}
        assert all(host.startswith("g") for host in found)
        await stage.close()

    play(story)


def test_a_pool_takes_what_is_reserved_for_its_role() -> None:
    async def story() -> None:
        pool = PodSpec("kube-node-public", 1, (task("kubelet", 1.0, 1024),), role="slave_public")
        stage = Stage(with_pool(pool), [*lab(), Special("p1", "dc-a", "a-1", role="slave_public")])
        stage.start()
        await stage.until_complete()
        assert hosts(stage, "kube-node-public") == {"kube-node-public-0": "p1"}
        assert "p1" not in hosts(stage, "kube-node").values()
        # It dies and comes again on the same terms.
        stage.mesos.fail("kube-node-public-0-kubelet")
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE")
        await stage.until_complete()
        assert hosts(stage, "kube-node-public") == {"kube-node-public-0": "p1"}
        # Deletion releases the volume of etcd although offers to the other role never show it.
        await stage.scheduler.delete()
        assert [part for part in stage.mesos.reserved() if part.reservations[-1].labels] == []
        await stage.close()

    play(story)


def waiting(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.scheduler.plan_why("deploy")["waiting"]
    return found


def test_waiting_steps_tell_every_stage_of_each_agent_also_between_offers() -> None:
    async def story() -> None:
        agents = [
            SimulatedAgent("a1", "dc-a", "a-1"),
            SimulatedAgent("b1", "dc-b", "b-1", cpus=1.5),
        ]
        stage = Stage(service(2, regions=("dc-b",), spread_by=""), agents)
        stage.start()
        await stage.until(lambda: bool(waiting(stage) and waiting(stage)[0]["shortfall"]), 120)
        (why,) = waiting(stage)
        # Both nodes wait for the same, which is told once.
        assert [step.partition(":")[0] for step in why["steps"]] == ["kube-node-0", "kube-node-1"]
        assert why["reason"] == "needs 2 cpus in region dc-b; best offer there: 1.5 (b1)"
        assert why["shortfall"] == [
            {"resource": "cpus", "unit": "cpus", "needed": 2.0, "best": 1.5, "hostname": "b1"}
        ]
        assert why["binding"] == "cpus"
        assert why["verdicts_left_out"] == 0
        stages = {
            v["hostname"]: {s["stage"]: s["passed"] for s in v["stages"]} for v in why["verdicts"]
        }
        assert stages["b1"]["placement"]
        assert not stages["b1"]["cpus"]
        assert not stages["a1"]["placement"]
        # Offers were declined; what they told is not forgotten before the next ones come.
        for _ in range(40):
            assert waiting(stage)[0]["shortfall"]
            await asyncio.sleep(0.5)
        await stage.close()

    play(story)


def test_what_no_longer_waits_has_no_reason_any_more() -> None:
    async def story() -> None:
        stage = Stage(service(1, regions=("dc-b",), spread_by=""), lab()[:2])
        stage.start()
        await stage.until(lambda: bool(waiting(stage)), 120)
        await stage.close()
        stage = Stage()
        stage.start()
        await stage.until_complete()
        assert waiting(stage) == []
        assert stage.scheduler.world.placement == {}
        await stage.close()

    play(story)


def test_two_nodes_wait_for_two_regions_and_never_share_an_agent_with_another_pool() -> None:
    async def story() -> None:
        placement = PlacementSpec(apart_from=("kube-node",))
        pool = PodSpec("kube-node-gpu", 2, (task("kubelet", 3.0, 4096),), placement)
        usual = with_pool(pool)
        pods = tuple(
            replace(each, placement=replace(each.placement, apart_from=("kube-node-gpu",)))
            if each.name == "kube-node"
            else each
            for each in usual.pods
        )
        big = [SimulatedAgent(f"x{n}", "dc-b", "b-1", cpus=8.0, mem=16384.0) for n in range(2)]
        stage = Stage(replace(usual, pods=pods), [*lab(), *big])
        stage.start()
        await stage.until_complete()
        nodes, pool_nodes = hosts(stage, "kube-node"), hosts(stage, "kube-node-gpu")
        assert not set(nodes.values()) & set(pool_nodes.values())
        assert len(set(nodes.values())) == len(set(pool_nodes.values())) == 2
        await stage.close()

    play(story)
