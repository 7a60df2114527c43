"""What people and programs are shown: plain data for JSON, in a form that stays stable.

Times are ISO 8601 in UTC, to the second; null while there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kubedcos.model.service import PodSpec, ServiceSpec
from kubedcos.plan.status import Status
from kubedcos.plan.tree import Phase, Plan, Step
from kubedcos.scheduler.world import World
from kubedcos.state.records import TaskRecord

if TYPE_CHECKING:
    from kubedcos.scheduler.recovery import Assessment

View = dict[str, Any]


def plan_view(plan: Plan, world: World) -> View:
    """`kubedcos plan show NAME --json`."""
    return {
        "name": plan.name,
        "status": str(plan.status),
        "paused": plan.paused,
        "phases": [_phase(phase, world) for phase in plan.phases],
    }


def plan_list(plans: Sequence[Plan]) -> list[View]:
    """`kubedcos plan list --json`."""
    return [
        {
            "name": plan.name,
            "status": str(plan.status),
            "steps": len(plan.steps),
            "complete": sum(step.status is Status.COMPLETE for step in plan.steps),
        }
        for plan in plans
    ]


def pod_list(spec: ServiceSpec, world: World) -> list[View]:
    """`kubedcos pod list --json`: every instance that there is to be."""
    return [_pod(pod, index, world) for pod in spec.pods for index in pod.indices]


def pod_view(spec: ServiceSpec, world: World, instance: str) -> View:
    """`kubedcos pod show NAME --json`.

    Raises:
        KeyError: no such pod instance.
    """
    for pod in spec.pods:
        for index in pod.indices:
            if pod.instance(index) == instance:
                return _pod(pod, index, world, detailed=True)
    raise KeyError(instance)


def recovery_view(found: Assessment) -> View:
    """Part ``recovery`` of a cluster's snapshot: what keeps recovery from doing its work."""
    return {"held": found.held or None, "quorum_lost": dict(found.quorum_lost)}


def pod_history(world: World, instance: str) -> View:
    """What befell a pod instance, the latest last, and the last offers it was held against."""
    told = world.events.get(instance)
    seen = world.considered.get(instance)
    return {
        "events": [
            {"at": moment(entry.at), "what": entry.what} for entry in (told.entries if told else ())
        ],
        "offers": None
        if seen is None
        else {
            "at": moment(seen.at),
            "agents": seen.agents,
            "reason": seen.reason,
            "verdicts": [{"hostname": host, "verdict": said} for host, said in seen.verdicts],
        },
    }


def action_list(world: World) -> list[View]:
    """`kubedcos cluster actions --json`: the latest first."""
    return [
        {
            "number": found.number,
            "at": moment(found.at),
            "who": found.who,
            "why": found.why,
            "what": found.what,
            "outcome": found.outcome,
        }
        for found in sorted(world.actions.values(), key=lambda found: -found.number)
    ]


def _phase(phase: Phase, world: World) -> View:
    return {
        "name": phase.spec.name,
        "strategy": str(phase.spec.strategy),
        "status": str(phase.status),
        "paused": phase.paused,
        "steps": [_step(step, world) for step in phase.steps],
    }


def _step(step: Step, world: World) -> View:
    instance = step.spec.pod_instance
    return {
        "name": step.spec.name,
        "status": str(step.status),
        "pod": instance,
        "tasks": [_task(name, world.tasks.get(f"{instance}/{name}")) for name in step.spec.tasks],
        "started_at": moment(step.started_at),
        "finished_at": moment(step.finished_at),
        "reason": step.reason,
    }


def _task(name: str, task: TaskRecord | None) -> View:
    if task is None:
        empty = dict.fromkeys(("id", "agent", "hostname", "region", "zone", "state"))
        return {"name": name, **empty}
    return {
        "name": name,
        "id": task.task_id,
        "agent": task.agent.id,
        "hostname": task.agent.hostname,
        "region": task.agent.region,
        "zone": task.agent.zone,
        "state": task.state,
    }


def _pod(pod: PodSpec, index: int, world: World, *, detailed: bool = False) -> View:
    instance = pod.instance(index)
    found = [(spec, world.tasks.get(f"{instance}/{spec.name}")) for spec in pod.tasks]
    home = world.pods.get(instance)
    agent = next((task.agent for _, task in found if task is not None and task.alive), None)
    agent = agent or (home.agent if home else None)
    view: View = {
        "name": instance,
        "hostname": agent.hostname if agent else None,
        "region": agent.region if agent else None,
        "zone": agent.zone if agent else None,
        "tasks": [
            _detailed(spec.name, task, world) if detailed else _task(spec.name, task)
            for spec, task in found
        ],
    }
    if detailed:
        view["reservation"] = home.reservation_id if home else None
        view["reason"] = outcome.reason if (outcome := world.placement.get(instance)) else ""
    return view


def _detailed(name: str, task: TaskRecord | None, world: World) -> View:
    if task is None:
        return _task(name, task)
    return {
        **_task(name, task),
        "goal": str(task.spec.goal),
        "ready": task.ready,
        "cpus": task.spec.cpus,
        "mem_mb": task.spec.mem_mb,
        "disk_mb": task.spec.disk_mb,
        "ports": dict(task.ports),
        "volumes": dict(task.volumes),
        "addresses": list(task.addresses),
        "failures": task.failures,
        "message": world.readiness.get(task.task_id, "") or task.message or task.reason,
        "launched_at": moment(task.intended_at),
        "running_at": moment(task.running_at),
        "ended_at": moment(task.ended_at),
    }


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ``2026-11-20T16:00:00Z``; None stays None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
