"""Why steps wait: what offer evaluation said last, agent by agent and stage by stage.

Steps that wait for the same reason are told of together, so that the answer is bounded by the
number of pods, not of instances or agents.
"""

from __future__ import annotations

from typing import Any

from kubedcos.offers.evaluation import Outcome, Verdict
from kubedcos.offers.requirement import UNITS
from kubedcos.plan.status import Status
from kubedcos.plan.tree import Plan
from kubedcos.scheduler.views import moment
from kubedcos.scheduler.world import World

View = dict[str, Any]


def plan_why(plan: Plan, world: World) -> View:
    """`kubedcos plan show NAME --why --json`: the plan's waiting steps by what they wait for."""
    waiting: dict[int, tuple[Outcome, list[str]]] = {}
    for step in plan.steps:
        outcome = world.placement.get(step.spec.pod_instance)
        if step.status is Status.PENDING and outcome is not None:
            waiting.setdefault(id(outcome), (outcome, []))[1].append(step.spec.name)
    return {
        "name": plan.name,
        "status": str(plan.status),
        "waiting": [
            {"steps": steps, **outcome_view(outcome)} for outcome, steps in waiting.values()
        ],
    }


def outcome_view(outcome: Outcome) -> View:
    """One outcome; amounts in the units of their resource, with at most three decimals."""
    return {
        "reason": outcome.reason,
        "at": moment(outcome.at) if outcome.at else None,
        "agents": outcome.agents,
        "rejected": dict(outcome.rejected),
        "binding": outcome.binding or None,
        "shortfall": [
            {
                "resource": short.resource,
                "unit": UNITS[short.resource],
                "needed": short.needed / 1000,
                "best": short.best / 1000,
                "hostname": short.hostname,
            }
            for short in outcome.shortfall
        ],
        "verdicts": [_verdict(verdict) for verdict in outcome.verdicts],
        "verdicts_left_out": max(0, outcome.agents - len(outcome.verdicts)),
    }


def _verdict(verdict: Verdict) -> View:
    agent = verdict.offers.agent
    return {
        "agent": agent.id,
        "hostname": agent.hostname,
        "region": agent.region,
        "zone": agent.zone,
        "stages": [
            {"stage": stage.stage, "passed": stage.passed, "reason": stage.reason}
            for stage in verdict.stages
        ],
    }
