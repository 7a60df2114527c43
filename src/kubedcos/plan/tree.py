"""The tree of a plan with statuses, and which of its steps may be worked on now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kubedcos.model.service import PhaseSpec, PlanSpec, StepSpec, Strategy
from kubedcos.plan.interruption import NOT_INTERRUPTED, Interruption, Standing, Target
from kubedcos.plan.status import Status, aggregate
from kubedcos.plan.step import Stage, TaskFact, judge

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
        stands: all of its tasks do their work, whatever is wanted of them.
        begun: one of its tasks was launched, whatever became of it.
        restarting: an operator wants it done again, and its turn has not come.
        forced: it counts as complete because an operator said so.
        outdated: an update has to start some of its tasks anew, which waits its turn.
    """

    plan: str
    phase: str
    spec: StepSpec
    status: Status
    reason: str
    started_at: float | None = None
    finished_at: float | None = None
    was_complete: bool = False
    begun: bool = False
    restarting: bool = False
    forced: bool = False
    outdated: bool = False
    stands: bool = False

    @property
    def key(self) -> StepKey:
        """Names that identify the step within a service."""
        return self.plan, self.phase, self.spec.name


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase with its steps.

    Attributes:
        paused: an operator wants nothing more begun in it.
    """

    spec: PhaseSpec
    status: Status
    steps: tuple[Step, ...]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan with its phases.

    Attributes:
        paused: an operator wants nothing more begun in it.
        endless: it is never done with: complete now, it may have work later.
    """

    name: str
    status: Status
    phases: tuple[Phase, ...]
    paused: bool = False
    endless: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for phase in self.phases for step in phase.steps)


def grow(
    spec: PlanSpec,
    facts: Mapping[StepKey, Sequence[TaskFact]],
    history: Mapping[StepKey, StepHistory],
    standing: Standing | None = None,
) -> Plan:
    """The plan with statuses.

    A step without facts is pending. A pending step that is not a candidate says what it waits for.

    Args:
        spec: the plan.
        facts: what is known of each step's tasks.
        history: what outlives them.
        standing: what operators have asked of the plan and its parts.
    """
    asked = standing or {}
    phases = [_phase(spec.name, phase, facts, history, asked) for phase in spec.phases]
    statuses = [phase.status for phase in phases]
    front = _front(Strategy.SERIAL, statuses)
    own = asked.get(Target(spec.name), NOT_INTERRUPTED)
    status = aggregate(
        statuses, [statuses[index] for index in front], interrupted=own.paused and bool(front)
    )
    if own.paused:
        shown = [_blocked(phase, f"plan {spec.name} is paused {own.origin}") for phase in phases]
    else:
        shown = [
            phase if index in front else _blocked(phase, f"after phase {_first_open(phases)}")
            for index, phase in enumerate(phases)
        ]
    return Plan(spec.name, status, tuple(shown), own.paused)


def candidates(plan: Plan) -> tuple[Step, ...]:
    """Incomplete steps that may be worked on: those in turn, and every one that recovers.

    Recovery does not wait its turn: a node that was lost is not held up by a control plane that is
    restarting, nor by a pause of its phase or plan. A step that is paused itself is no candidate,
    and one that an operator or an update restarts waits for its turn.
    """
    front = front_keys(plan)
    return tuple(
        step
        for step in plan.steps
        if step.status not in (Status.COMPLETE, Status.WAITING)
        and (step.key in front or (step.was_complete and not step.restarting and not step.outdated))
    )


def front_keys(plan: Plan) -> frozenset[StepKey]:
    """Incomplete steps whose turn it is, as far as nobody has paused them."""
    front: set[StepKey] = set()
    for index in () if plan.paused else _front(Strategy.SERIAL, [p.status for p in plan.phases]):
        phase = plan.phases[index]
        if phase.paused:
            continue
        statuses = [step.status for step in phase.steps]
        found = (phase.steps[at] for at in _front(phase.spec.strategy, statuses))
        front |= {step.key for step in found if step.status is not Status.WAITING}
    return frozenset(front)


def _phase(
    plan: str,
    spec: PhaseSpec,
    facts: Mapping[StepKey, Sequence[TaskFact]],
    history: Mapping[StepKey, StepHistory],
    standing: Standing,
) -> Phase:
    steps = []
    for step in spec.steps:
        key = (plan, spec.name, step.name)
        past = history.get(key, NO_HISTORY)
        asked = standing.get(Target(*key), NOT_INTERRUPTED)
        steps.append(_step(key, step, facts.get(key), past, asked))
    own = standing.get(Target(plan, spec.name), NOT_INTERRUPTED)
    statuses = [step.status for step in steps]
    front = _front(spec.strategy, statuses)
    status = aggregate(
        statuses, [statuses[index] for index in front], interrupted=own.paused and bool(front)
    )
    behind = next((steps[index].spec.name for index in front), "")
    if own.paused:
        shown = [_step_blocked(step, f"phase {spec.name} is paused {own.origin}") for step in steps]
    else:
        shown = [
            step if index in front else _step_blocked(step, f"after step {behind}")
            for index, step in enumerate(steps)
        ]
    return Phase(spec, status, tuple(shown), own.paused)


def _step(
    key: StepKey,
    spec: StepSpec,
    known: Sequence[TaskFact] | None,
    past: StepHistory,
    asked: Interruption,
) -> Step:
    """A step as its tasks say, and as operators want it."""
    status, reason = judge(known) if known is not None else (Status.PENDING, "")
    stands = status is Status.COMPLETE
    outdated = any(task.outdated for task in known or ())
    if past.lasting and not outdated:
        status, reason = Status.COMPLETE, ""
    begun = any(task.stage is not Stage.ABSENT for task in known or ())
    restarting = asked.restart and begun
    forced = asked.completed and status is not Status.COMPLETE
    if restarting:
        status, reason = Status.PENDING, f"is to be restarted, as asked {asked.origin}"
    elif forced:
        status, reason = Status.COMPLETE, f"taken for complete {asked.origin}"
    if asked.paused and status in (Status.PENDING, Status.DELAYED):
        status, reason = Status.WAITING, f"paused {asked.origin}"
    return Step(
        plan=key[0],
        phase=key[1],
        spec=spec,
        status=status,
        reason=reason,
        started_at=past.started_at,
        finished_at=past.finished_at if status is Status.COMPLETE else None,
        was_complete=past.was_complete,
        begun=begun,
        restarting=restarting,
        forced=forced,
        outdated=outdated,
        stands=stands,
    )


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
    again = step.restarting or step.outdated
    if step.status is not Status.PENDING or (step.was_complete and not again):
        return step
    if again:
        return replace(step, reason=f"{step.reason}; {reason}")
    return replace(step, reason=reason)
