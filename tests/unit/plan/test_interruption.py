"""What operators may ask of plans, and what a plan makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.model.service import Goal, PhaseSpec, PlanSpec, StepSpec, Strategy
from kubedcos.plan.interruption import Interruption, Target, Verb, decide
from kubedcos.plan.status import Status
from kubedcos.plan.step import Stage, TaskFact
from kubedcos.plan.tree import Plan, StepHistory, StepKey, candidates, grow

READY = TaskFact("t", Goal.RUNNING, Stage.RUNNING, ready=True)
ABSENT = TaskFact("t", Goal.RUNNING)
FAILED = TaskFact("t", Goal.RUNNING, Stage.FAILED, wait_seconds=30)
STARTING = TaskFact("t", Goal.RUNNING, Stage.STARTING)

SPEC = PlanSpec(
    "deploy",
    tuple(
        PhaseSpec(
            name,
            strategy,
            tuple(StepSpec(f"{name}-{at}", name, at, ("t",)) for at in range(2)),
        )
        for name, strategy in (("etcd", Strategy.SERIAL), ("node", Strategy.PARALLEL))
    ),
)
DEPLOY = Target("deploy")
ETCD = Target("deploy", "etcd")
ETCD_0 = Target("deploy", "etcd", "etcd-0")


class Board:
    """A plan with facts, and what was asked of it."""

    def __init__(self, *facts: TaskFact, was_complete: bool = False) -> None:
        self.facts = facts
        self.was_complete = was_complete
        self.standing: dict[Target, Interruption] = {}

    def plan(self) -> Plan:
        keys: list[StepKey] = [(SPEC.name, p.name, s.name) for p in SPEC.phases for s in p.steps]
        history = {key: StepHistory(was_complete=self.was_complete) for key in keys}
        known = {key: [fact] for key, fact in zip(keys, self.facts, strict=True)}
        return grow(SPEC, known, history, self.standing)

    def ask(self, verb: Verb, target: Target) -> bool:
        """Whether anything changed."""
        decision = decide(verb, target, self.plan(), self.standing, by="ann", why="test", at=5.0)
        for at, asked in decision.changes.items():
            self.standing[at] = asked
            if asked.empty:
                del self.standing[at]
        return not decision.already

    def due(self) -> list[str]:
        return [step.spec.name for step in candidates(self.plan())]

    def statuses(self) -> list[str]:
        return [str(step.status) for step in self.plan().steps]


def test_a_paused_plan_begins_nothing_and_says_who_paused_it() -> None:
    board = Board(READY, ABSENT, ABSENT, ABSENT)
    assert board.ask(Verb.PAUSE, DEPLOY)
    assert board.due() == []
    assert board.plan().status is Status.WAITING
    assert board.plan().steps[1].reason == "plan deploy is paused by ann (test)"
    assert not board.ask(Verb.PAUSE, DEPLOY)

    assert board.ask(Verb.RESUME, DEPLOY)
    assert board.due() == ["etcd-1"]
    assert board.standing == {}
    assert not board.ask(Verb.RESUME, DEPLOY)


def test_a_paused_phase_holds_the_plan_up_there() -> None:
    board = Board(READY, READY, ABSENT, ABSENT)
    board.ask(Verb.PAUSE, Target("deploy", "node"))
    plan = board.plan()
    assert (plan.status, plan.phases[1].status) == (Status.WAITING, Status.WAITING)
    assert board.due() == []
    assert "phase node is paused" in plan.steps[2].reason


def test_a_paused_step_waits_and_its_neighbours_do_not() -> None:
    board = Board(READY, READY, ABSENT, ABSENT)
    board.ask(Verb.PAUSE, Target("deploy", "node", "node-0"))
    assert board.due() == ["node-1"]
    assert board.statuses()[2] == "WAITING"


def test_what_is_under_way_goes_on_while_its_plan_is_paused() -> None:
    board = Board(STARTING, ABSENT, ABSENT, ABSENT)
    board.ask(Verb.PAUSE, DEPLOY)
    assert board.statuses()[0] == "STARTING"
    board.facts = (READY, *board.facts[1:])
    assert board.statuses()[0] == "COMPLETE"


def test_recovery_does_not_heed_a_pause_of_the_plan_but_of_the_step() -> None:
    board = Board(READY, READY, ABSENT, READY, was_complete=True)
    board.ask(Verb.PAUSE, DEPLOY)
    assert board.due() == ["node-0"]
    board.ask(Verb.PAUSE, Target("deploy", "node", "node-0"))
    assert board.due() == []


def test_a_complete_element_cannot_be_paused() -> None:
    board = Board(READY, READY, ABSENT, ABSENT)
    assert not board.ask(Verb.PAUSE, ETCD)
    assert not board.ask(Verb.PAUSE, ETCD_0)


def test_a_restart_is_done_in_turn() -> None:
    board = Board(READY, READY, READY, READY, was_complete=True)
    assert board.ask(Verb.RESTART, DEPLOY)
    assert board.statuses() == ["PENDING"] * 4
    assert board.due() == ["etcd-0"]
    assert "is to be restarted, as asked by ann (test)" in board.plan().steps[0].reason
    assert "after phase etcd" in board.plan().steps[3].reason
    assert not board.ask(Verb.RESTART, DEPLOY)


def test_a_restart_lifts_the_pause_and_the_word_that_a_step_is_complete() -> None:
    board = Board(FAILED, ABSENT, ABSENT, ABSENT)
    board.ask(Verb.COMPLETE, ETCD_0)
    board.ask(Verb.PAUSE, DEPLOY)
    assert board.statuses()[0] == "COMPLETE"
    board.ask(Verb.RESTART, DEPLOY)
    assert board.due() == ["etcd-0"]
    assert board.statuses()[0] == "PENDING"


def test_steps_that_never_began_need_no_restart() -> None:
    board = Board(ABSENT, ABSENT, ABSENT, ABSENT)
    assert not board.ask(Verb.RESTART, DEPLOY)


def test_a_step_taken_for_complete_lets_the_next_one_begin() -> None:
    board = Board(FAILED, ABSENT, ABSENT, ABSENT)
    assert board.ask(Verb.COMPLETE, ETCD_0)
    assert board.due() == ["etcd-1"]
    assert board.plan().steps[0].reason == "taken for complete by ann (test)"
    assert not board.ask(Verb.COMPLETE, ETCD_0)

    assert board.ask(Verb.COMPLETE, DEPLOY)
    assert board.plan().status is Status.COMPLETE


def test_stop_pauses_and_begins_anew_when_started() -> None:
    board = Board(READY, STARTING, ABSENT, ABSENT)
    assert board.ask(Verb.STOP, DEPLOY)
    assert board.plan().status is Status.WAITING
    assert board.statuses() == ["PENDING"] * 4
    assert board.due() == []
    assert not board.ask(Verb.STOP, DEPLOY)

    assert board.ask(Verb.START, DEPLOY)
    assert board.due() == ["etcd-0"]


def test_start_does_a_complete_plan_again_and_leaves_a_running_one_alone() -> None:
    board = Board(READY, READY, READY, READY)
    assert board.ask(Verb.START, DEPLOY)
    assert board.due() == ["etcd-0"]
    assert not board.ask(Verb.START, DEPLOY)


def test_unknown_phases_and_steps_are_answered_with_those_that_are() -> None:
    board = Board(READY, READY, ABSENT, ABSENT)
    with pytest.raises(KeyError, match="etcd, node"):
        board.ask(Verb.PAUSE, Target("deploy", "etdc"))
    with pytest.raises(KeyError, match="etcd-0, etcd-1"):
        board.ask(Verb.PAUSE, Target("deploy", "etcd", "node-0"))


_FACTS = st.tuples(*(st.sampled_from([READY, ABSENT, FAILED, STARTING]) for _ in range(4)))
_TARGETS = st.sampled_from(
    [DEPLOY]
    + [Target("deploy", p.name) for p in SPEC.phases]
    + [Target("deploy", p.name, s.name) for p in SPEC.phases for s in p.steps]
)


@given(_FACTS, st.lists(st.tuples(st.sampled_from(list(Verb)), _TARGETS), max_size=8))
def test_asking_again_changes_nothing_and_no_paused_step_is_ever_a_candidate(
    facts: tuple[TaskFact, ...], asked: list[tuple[Verb, Target]]
) -> None:
    board = Board(*facts)
    for verb, target in asked:
        again_differs = verb is Verb.START and board.plan().status is Status.COMPLETE
        board.ask(verb, target)
        if not again_differs:
            assert not board.ask(verb, target), (verb, target)
    paused = {str(target) for target, found in board.standing.items() if found.paused}
    for step in candidates(board.plan()):
        names = {"deploy", f"deploy/{step.phase}", "/".join(step.key)}
        assert not names & paused
    assert all(not found.empty for found in board.standing.values())
