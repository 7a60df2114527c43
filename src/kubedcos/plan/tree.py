"""The tree of a plan with statuses, and which of its steps may be worked on now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubedcos.model.service import PhaseSpec, PlanSpec, StepSpec, Strategy
from kubedcos.plan.status import Status, aggregate
from kubedcos.plan.step import TaskFact, judge

StepKey = tuple[str, str, str]
"""Plan, phase and step name."""


@dataclass(frozen=True, slots=True)
class StepHistory:
    """What outlives a step's tasks; times in seconds since 1970."""

    started_at: float | None = None
    finished_at: float | None = None
    was_complete: bool = False

    @property
    def lasting(self) -> bool:
        """Whether the step is done with: what its tasks suffer now is for recovery to mend.

        A step that is to be done again has no `finished_at`.
        """
        return self.was_complete and self.finished_at is not None


NO_HISTORY = StepHistory()


@dataclass(frozen=True, slots=True)
class Step:
    """A step with its status.

    Attributes:
        was_complete: it has been complete once, so its return there is a recovery.
    """

    plan: str
    phase: str
    spec: StepSpec
    status: Status
    reason: str
    started_at: float | None = None
    finished_at: float | None = None
    was_complete: bool = False

    @property
    def key(self) -> StepKey:
        """Names that identify the step within a service."""
        return self.plan, self.phase, self.spec.name


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase with its steps."""

    spec: PhaseSpec
    status: Status
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan with its phases."""

    name: str
    status: Status
    phases: tuple[Phase, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for phase in self.phases for step in phase.steps)


def grow(
    spec: PlanSpec,
    facts: Mapping[StepKey, Sequence[TaskFact]],
    history: Mapping[StepKey, StepHistory],
) -> Plan:
    """The plan with statuses.

    A step without facts is pending. A pending step that is not a candidate says what it waits for.
    """
    phases = [_phase(spec.name, phase, facts, history) for phase in spec.phases]
    front = _front(Strategy.SERIAL, [phase.status for phase in phases])
    waiting = [
        phase if index in front else _blocked(phase, f"after phase {_first_open(phases)}")
        for index, phase in enumerate(phases)
    ]
    statuses = [phase.status for phase in phases]
    status = aggregate(statuses, [statuses[index] for index in front])
    return Plan(spec.name, status, tuple(waiting))


def candidates(plan: Plan) -> tuple[Step, ...]:
    """Incomplete steps that may be worked on: those in turn, and every one that recovers.

    Recovery does not wait its turn: a node that was lost is not held up by a control plane that is
    restarting.
    """
    front: set[StepKey] = set()
    for index in _front(Strategy.SERIAL, [phase.status for phase in plan.phases]):
        phase = plan.phases[index]
        statuses = [step.status for step in phase.steps]
        front |= {phase.steps[at].key for at in _front(phase.spec.strategy, statuses)}
    return tuple(
        step
        for step in plan.steps
        if step.status is not Status.COMPLETE and (step.key in front or step.was_complete)
    )


def _phase(
    plan: str,
    spec: PhaseSpec,
    facts: Mapping[StepKey, Sequence[TaskFact]],
    history: Mapping[StepKey, StepHistory],
) -> Phase:
    steps = []
    for step in spec.steps:
        key = (plan, spec.name, step.name)
        known = facts.get(key)
        status, reason = judge(known) if known is not None else (Status.PENDING, "")
        past = history.get(key, NO_HISTORY)
        if past.lasting:
            status, reason = Status.COMPLETE, ""
        steps.append(
            Step(
                plan=plan,
                phase=spec.name,
                spec=step,
                status=status,
                reason=reason,
                started_at=past.started_at,
                finished_at=past.finished_at if status is Status.COMPLETE else None,
                was_complete=past.was_complete,
            )
        )
    statuses = [step.status for step in steps]
    front = _front(spec.strategy, statuses)
    status = aggregate(statuses, [statuses[index] for index in front])
    behind = next((steps[index].spec.name for index in front), "")
    shown = [
        step if index in front else _step_blocked(step, f"after step {behind}")
        for index, step in enumerate(steps)
    ]
    return Phase(spec, status, tuple(shown))


def _front(strategy: Strategy, statuses: Sequence[Status]) -> tuple[int, ...]:
    open_ones = tuple(
        index for index, status in enumerate(statuses) if status is not Status.COMPLETE
    )
    return open_ones[:1] if strategy is Strategy.SERIAL else open_ones


def _first_open(phases: Sequence[Phase]) -> str:
    found = next((phase for phase in phases if phase.status is not Status.COMPLETE), None)
    return f"{found.spec.name} ({found.status})" if found is not None else ""


def _blocked(phase: Phase, reason: str) -> Phase:
    return replace(phase, steps=tuple(_step_blocked(step, reason) for step in phase.steps))


def _step_blocked(step: Step, reason: str) -> Step:
    if step.status is not Status.PENDING or step.was_complete:
        return step
    return replace(step, reason=reason)
