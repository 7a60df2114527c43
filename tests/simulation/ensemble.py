"""A service with three members that need a majority, a node on each of some agents, and room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kubedcos.embedded.master import draining, maintenance
from kubedcos.embedded.master.machines import MachineID, Schedule, Window
from kubedcos.embedded.protocol import DrainConfig
from kubedcos.mesos import messages as wire
from kubedcos.model.service import PlanSpec, PodSpec, RecoverySpec, ServiceSpec, Strategy
from kubedcos.scheduler import invariants

from .machines import SimulatedAgent
from .simulated_mesos import SimulatedTask
from .stage import Stage, phase, service


def spec(
    members: int = 3,
    nodes: int = 2,
    *,
    replace_after: float = 120.0,
    gap: float = 5.0,
    lead: float = 3600.0,
    restore: str = "",
) -> ServiceSpec:
    """`service` with so many members of etcd, and short times of recovery."""
    found = service(nodes)
    limits = RecoverySpec(replace_after=replace_after, gap=gap)
    pods = tuple(_pod(pod, members, limits) for pod in found.pods)
    [plan] = found.plans
    steps = tuple(("etcd", index, ("peer",)) for index in range(members))
    phases = (phase("etcd", Strategy.SERIAL, *steps), *plan.phases[1:])
    return replace(
        found,
        pods=pods,
        plans=(PlanSpec("deploy", phases),),
        maintenance_lead=lead,
        restore_command=restore,
    )


def agents(in_each: int = 5) -> list[SimulatedAgent]:
    """So many agents in each of two data centres, each in a zone of its own."""
    return [
        SimulatedAgent(f"{place}{number}", f"dc-{place}", f"{place}-{number}")
        for place in ("a", "b")
        for number in range(1, in_each + 1)
    ]


class Ensemble(Stage):
    """The stage for stories of loss."""

    def __init__(
        self,
        found: ServiceSpec | None = None,
        places: list[SimulatedAgent] | None = None,
    ) -> None:
        super().__init__(found or spec(), places or agents())
        self.mesos.patience = min(pod.recovery.replace_after for pod in self.spec.pods)

    def host(self, task: str) -> str:
        """Where a task runs."""
        return self.live[task].agent.hostname

    @property
    def live(self) -> dict[str, SimulatedTask]:
        """Live tasks by name that Mesos can reach."""
        state = self.mesos.engine.state
        return {
            task.info.name: task
            for task in self.mesos.tasks.values()
            if task.live and task.info.agent_id.value in state.agents
        }

    def recovery(self) -> dict[str, dict[str, Any]]:
        """Steps of plan ``recovery`` by pod instance."""
        phases = self.scheduler.plan_show("recovery")["phases"]
        return {step["pod"]: step for part in phases for step in part["steps"]}

    def status(self, plan: str) -> str:
        """Status of a plan."""
        return str(self.scheduler.plan_show(plan)["status"])

    async def until_whole(self, seconds: float = 600.0) -> None:
        """Wait until everything is complete and nothing moves."""
        await self.until(
            lambda: (
                {plan["status"] for plan in self.scheduler.plan_list()} == {"COMPLETE"}
                and not any(found.replacement for found in self.scheduler.world.recovery.values())
            ),
            seconds,
        )

    def sound(self) -> None:
        """Nothing forbidden happened, and every invariant holds."""
        assert self.mesos.violations == []
        assert invariants.broken(self.spec, self.scheduler.world) == ()

    def agent_id(self, hostname: str) -> str:
        """Mesos' id of an agent."""
        records = self.mesos.engine.state.agents.values()
        return next(found.id for found in records if found.info.hostname == hostname)

    def drain(self, hostname: str) -> None:
        """An operator drains an agent."""
        effects = draining.drain(
            self.mesos.engine.state,
            self.agent_id(hostname),
            DrainConfig(),
            now=self.mesos.cluster.clock.time(),
        )
        self.mesos.engine.perform(effects)

    def schedule(self, hostnames: Sequence[str], after: float) -> None:
        """An operator plans maintenance of machines, and of no others, in so many seconds."""
        start = int((self.mesos.cluster.clock.time() + after) * 1e9)
        when = wire.Unavailability(wire.TimeInfo(start))
        machines = tuple(
            MachineID(found.info.hostname, found.address)
            for found in self.mesos.engine.state.agents.values()
            if found.info.hostname in hostnames
        )
        windows = (Window(machine_ids=machines, unavailability=when),) if machines else ()
        effects = maintenance.update_schedule(self.mesos.engine.state, Schedule(windows))
        self.mesos.engine.perform(effects)


def _pod(pod: PodSpec, members: int, limits: RecoverySpec) -> PodSpec:
    if pod.name != "etcd":
        return replace(pod, recovery=replace(limits, group=pod.name))
    placement = replace(pod.placement, unique_agent=True)
    quorum = replace(limits, quorum=True)
    return replace(pod, count=members, placement=placement, recovery=quorum)
