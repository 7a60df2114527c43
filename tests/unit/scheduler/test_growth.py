"""Plans are grown anew when something they follow from has changed, and only then."""

from __future__ import annotations

from dataclasses import replace

from kubedcos.model.offer import Agent
from kubedcos.model.service import (
    PhaseSpec,
    PlanSpec,
    PodSpec,
    ServiceSpec,
    StepSpec,
    Strategy,
    TaskSpec,
)
from kubedcos.scheduler import staging
from kubedcos.scheduler.world import World
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import InterruptionRecord, StepRecord, TaskRecord

TASK = TaskSpec("peer", "etcd", 1.0, 128, 128)
STEP = StepSpec("etcd-0:[peer]", "etcd", 0, ("peer",))
PLAN = PlanSpec("deploy", (PhaseSpec("etcd", Strategy.SERIAL, (STEP,)),))
SPEC = ServiceSpec("k8s", "k8s", (PodSpec("etcd", 1, (TASK,)),), (PLAN,))
RUNNING = TaskRecord("t0", "etcd", 0, TASK, Agent("S-a1", "a1"), state="TASK_RUNNING")


def test_every_fact_that_changes_shows_at_once() -> None:
    world, growth = World(MemoryStore(), SPEC), staging.Growth()
    seen = [staging.plans(SPEC, world, 1.0, growth)[0]]
    assert staging.plans(SPEC, world, 2.0, growth)[0] is seen[0]
    changes = (
        lambda: world.commit([RUNNING]),
        lambda: world.readiness.update(t0="answers 503"),
        lambda: world.commit([StepRecord("deploy", "etcd", STEP.name, started_at=1.0)]),
        lambda: world.commit([InterruptionRecord("deploy", paused=True)]),
    )
    for change in changes:
        change()
        grown = staging.plans(SPEC, world, 3.0, growth)[0]
        assert grown == staging.plans(SPEC, world, 3.0)[0]
        assert grown != seen[-1]
        seen.append(grown)


def test_a_reason_has_one_line_whatever_mesos_adds() -> None:
    said = "Memory limit exceeded: 128MB\n\nMEMORY STATISTICS: \ncache 12288\n"
    failed = replace(RUNNING, state="TASK_FAILED", message=said, ended_at=1.0, not_before=9.0)
    world = World(MemoryStore(), SPEC)
    world.commit([failed])
    (step,) = staging.plans(SPEC, world, 4.0)[0].steps
    assert step.reason == "peer failed (Memory limit exceeded: 128MB); next attempt in 5 s"
