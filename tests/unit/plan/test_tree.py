"""Which steps may be worked on, and what the others wait for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubedcos.model.service import Goal, PhaseSpec, PlanSpec, StepSpec, Strategy
from kubedcos.plan.status import Status
from kubedcos.plan.step import Stage, TaskFact
from kubedcos.plan.tree import StepHistory, StepKey, candidates, grow

READY = TaskFact("t", Goal.RUNNING, Stage.RUNNING, ready=True)
ABSENT = TaskFact("t", Goal.RUNNING)


def plan(*phases: tuple[str, Strategy, int]) -> PlanSpec:
    return PlanSpec(
        "deploy",
        tuple(
            PhaseSpec(
                name,
                strategy,
                tuple(
                    StepSpec(f"{name}-{index}:[t]", name, index, ("t",)) for index in range(count)
                ),
            )
            for name, strategy, count in phases
        ),
    )


SPEC = plan(("etcd", Strategy.SERIAL, 3), ("node", Strategy.PARALLEL, 3))


def facts(**done: int) -> dict[StepKey, list[TaskFact]]:
    return {
        ("deploy", phase.name, step.name): [READY if step.index < done[phase.name] else ABSENT]
        for phase in SPEC.phases
        for step in phase.steps
    }


def names(spec: PlanSpec, known: dict[StepKey, list[TaskFact]], **history: bool) -> list[str]:
    past = {key: StepHistory(was_complete=True) for key in known if key[2] in history}
    return [step.spec.name for step in candidates(grow(spec, known, past))]


def test_a_serial_phase_offers_one_step_at_a_time() -> None:
    assert names(SPEC, facts(etcd=0, node=0)) == ["etcd-0:[t]"]
    assert names(SPEC, facts(etcd=1, node=0)) == ["etcd-1:[t]"]


def test_a_parallel_phase_offers_all_open_steps_once_it_is_its_turn() -> None:
    assert names(SPEC, facts(etcd=3, node=1)) == ["node-1:[t]", "node-2:[t]"]


def test_a_complete_plan_offers_nothing() -> None:
    known = facts(etcd=3, node=3)
    assert names(SPEC, known) == []
    assert grow(SPEC, known, {}).status is Status.COMPLETE


def test_what_was_complete_recovers_out_of_turn() -> None:
    known = facts(etcd=1, node=2)
    past = {("deploy", "node", "node-2:[t]"): StepHistory(was_complete=True)}
    found = [step.spec.name for step in candidates(grow(SPEC, known, past))]
    assert found == ["etcd-1:[t]", "node-2:[t]"]


def test_steps_that_must_wait_say_for_what() -> None:
    grown = grow(SPEC, facts(etcd=1, node=0), {})
    reasons = {step.spec.name: step.reason for step in grown.steps}
    assert reasons["etcd-2:[t]"] == "after step etcd-1:[t]"
    assert reasons["node-0:[t]"] == "after phase etcd (IN_PROGRESS)"
    assert reasons["etcd-1:[t]"] == "t is not launched"


def test_a_step_stays_complete_until_it_is_to_be_done_again() -> None:
    key = ("deploy", "etcd", "etcd-0:[t]")
    past = {key: StepHistory(started_at=1.0, finished_at=2.0, was_complete=True)}
    for known in (facts(etcd=1, node=0), facts(etcd=0, node=0)):
        done = grow(SPEC, known, past).steps[0]
        assert done.status is Status.COMPLETE
        assert (done.started_at, done.finished_at) == (1.0, 2.0)
    past = {key: StepHistory(started_at=1.0, was_complete=True)}
    again = grow(SPEC, facts(etcd=0, node=0), past).steps[0]
    assert again.status is Status.PENDING
    assert (again.started_at, again.finished_at) == (1.0, None)


@given(
    st.lists(st.tuples(st.sampled_from(list(Strategy)), st.integers(0, 4)), min_size=1, max_size=4),
    st.data(),
)
def test_an_open_plan_always_has_a_candidate_and_never_one_behind_an_open_phase(
    shape: list[tuple[Strategy, int]], data: st.DataObject
) -> None:
    spec = plan(*((f"p{at}", strategy, count) for at, (strategy, count) in enumerate(shape)))
    stages = st.sampled_from([READY, ABSENT, TaskFact("t", Goal.RUNNING, Stage.STARTING)])
    known: dict[StepKey, list[TaskFact]] = {
        ("deploy", phase.name, step.name): [data.draw(stages)]
        for phase in spec.phases
        for step in phase.steps
    }
    grown = grow(spec, known, {})
    found = candidates(grown)
    assert bool(found) == (grown.status is not Status.COMPLETE)
    first_open = next((p for p in grown.phases if p.status is not Status.COMPLETE), None)
    for step in found:
        assert first_open is not None
        assert step.phase == first_open.spec.name
        assert step.status is not Status.COMPLETE
