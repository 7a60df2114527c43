"""What must always hold is noticed when it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubedcos.mesos import messages as wire
from kubedcos.model.offer import Agent
from kubedcos.model.service import (
    PhaseSpec,
    PlanSpec,
    PodSpec,
    RecoverySpec,
    ServiceSpec,
    StepSpec,
    Strategy,
    TaskSpec,
)
from kubedcos.offers.requirement import RESERVATION_LABEL
from kubedcos.scheduler import invariants
from kubedcos.scheduler.world import World
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import (
    PodRecord,
    RecoveryRecord,
    Replacement,
    ReservationRecord,
    StepRecord,
    TaskRecord,
)

TASK = TaskSpec("peer", "etcd", 1.0, 128, 128)
POD = PodSpec("etcd", 3, (TASK,), recovery=RecoverySpec(quorum=True))
STEPS = tuple(StepSpec(f"etcd-{index}:[peer]", "etcd", index, ("peer",)) for index in range(3))
PLAN = PlanSpec("deploy", (PhaseSpec("etcd", Strategy.SERIAL, STEPS),))
SPEC = ServiceSpec("k8s", "k8s", (POD,), (PLAN,))
AGENTS = tuple(Agent(f"S-a{index}", f"a{index}") for index in range(3))


def member(index: int, **more: object) -> TaskRecord:
    running = TaskRecord(
        f"t{index}", "etcd", index, TASK, AGENTS[index], state="TASK_RUNNING", ready=True
    )
    return replace(running, **more)  # type: ignore[arg-type]


def world(*tasks: TaskRecord) -> World:
    found = World(MemoryStore(), SPEC)
    found.commit(tasks)
    return found


def test_a_majority() -> None:
    assert [invariants.quorum_of(members) for members in (1, 2, 3, 5)] == [1, 2, 2, 3]


def test_one_of_three_members_may_go_and_no_second_one() -> None:
    found = world(*(member(index) for index in range(3)))
    assert invariants.quorum_objection(SPEC, found, POD, 1) == ""
    for broken in (
        member(0, ready=False),
        member(0, kill_asked=True),
        member(0, state="TASK_UNREACHABLE"),
        member(0, ended_at=1.0),
    ):
        found.commit([broken])
        told = invariants.quorum_objection(SPEC, found, POD, 1)
        assert told == (
            "etcd needs 2 of 3 healthy members; without etcd-1 there would be 1 (etcd-2)"
        )
        assert invariants.quorum_objection(SPEC, found, POD, 0) == ""


@pytest.mark.parametrize(
    "record",
    [
        RecoveryRecord("etcd", 0, paused=("peer",)),
        RecoveryRecord("etcd", 0, replacement=Replacement("r", 1.0, admitted_at=2.0)),
    ],
)
def test_a_member_that_is_held_down_is_none_to_count_on(record: RecoveryRecord) -> None:
    found = world(*(member(index) for index in range(3)))
    found.commit([record])
    assert "would be 1 (etcd-2)" in invariants.quorum_objection(SPEC, found, POD, 1)


def test_who_has_never_stood_is_waited_for_by_nobody() -> None:
    found = world(member(0, ready=False, state="TASK_GONE_BY_OPERATOR", ended_at=1.0))
    assert invariants.quorum_objection(SPEC, found, POD, 0) == ""
    found.commit([StepRecord("deploy", "etcd", "etcd-0:[peer]", 1.0, was_complete=True)])
    assert "would be 0 (none)" in invariants.quorum_objection(SPEC, found, POD, 0)
    assert invariants.quorum_objection(SPEC, found, POD, 1) == ""


def ensemble(*tasks: TaskRecord) -> World:
    """Members all of which have done their work once."""
    found = world(*tasks)
    found.commit(
        StepRecord("deploy", "etcd", step.name, 1.0, 2.0, was_complete=True) for step in STEPS
    )
    return found


def test_only_as_many_members_are_ended_as_a_quorum_can_spare() -> None:
    found = ensemble(*(member(index, kill_asked=True) for index in range(3)))
    assert invariants.must_stay(SPEC, found) == {"etcd-1", "etcd-2"}
    assert invariants.must_stay(SPEC, found, sent=("t2",)) == {"etcd-0", "etcd-1"}
    found.commit([member(2, kill_asked=True, state="TASK_KILLING")])
    assert invariants.must_stay(SPEC, found) == {"etcd-0", "etcd-1"}
    found.commit([replace(found.cluster, deleting=True)])
    assert invariants.must_stay(SPEC, found) == frozenset()


def test_nobody_is_ended_before_all_members_have_been_heard_of() -> None:
    found = ensemble(member(0, kill_asked=True), member(1), member(2))
    assert invariants.must_stay(SPEC, found) == frozenset()
    assert invariants.must_stay(SPEC, found, unsure={"t2"}) == {"etcd-0"}
    found.commit([member(2, state="TASK_UNREACHABLE")])
    assert invariants.must_stay(SPEC, found, unsure={"t2"}) == {"etcd-0"}


def test_a_member_that_has_left_its_ensemble_may_end() -> None:
    found = ensemble(member(0, kill_asked=True), member(1), member(2, ready=False))
    assert invariants.must_stay(SPEC, found) == {"etcd-0"}
    moving = Replacement("r", 1.0, admitted_at=2.0, prepared_at=3.0)
    found.commit([RecoveryRecord("etcd", 0, replacement=moving)])
    assert invariants.must_stay(SPEC, found) == frozenset()


def test_before_all_members_have_stood_once_any_of_them_may_end() -> None:
    found = world(member(0, kill_asked=True), member(1))
    assert invariants.must_stay(SPEC, found) == frozenset()
    assert invariants.voting(SPEC, found) == frozenset()
    found.commit([member(2)])
    assert invariants.voting(SPEC, found) == {"etcd-0", "etcd-1", "etcd-2"}


def test_a_sound_world_breaks_nothing() -> None:
    found = world(*(member(index) for index in range(3)))
    found.commit([PodRecord("etcd", 0, AGENTS[0], "r-0")])
    found.commit([ReservationRecord("r-0", "etcd-0", AGENTS[0])])
    assert invariants.broken(SPEC, found) == ()


def test_each_breach_is_named() -> None:
    found = world(*(member(index, kill_asked=True) for index in range(3)))
    found.commit([member(1, task_id="t0"), PodRecord("etcd", 0, AGENTS[0], "r-0")])
    found.tasks["etcd-7/peer"] = member(2)
    found.commit(
        StepRecord("deploy", "etcd", f"etcd-{index}:[peer]", was_complete=True)
        for index in range(3)
    )
    found.commit(RecoveryRecord("etcd", index, paused=("peer",)) for index in range(2))
    twice = TaskSpec("second", "etcd", 1.0, 1, 1)
    found.commit([replace(member(0), task_id="t9", spec=twice, agent=AGENTS[1])])
    told = {(breach.invariant, breach.text) for breach in invariants.broken(SPEC, found)}
    assert told >= {
        ("one-task", "two tasks are called t0"),
        ("one-task", "etcd-7/peer is kept as etcd-2/peer"),
        ("one-task", "etcd-0 runs on S-a0 and S-a1"),
        ("owner", "etcd-0 lives on reservation r-0, unknown"),
    }
    assert ("quorum", "etcd-0, etcd-1 are held down at the same time") in told


def test_a_member_that_stays_for_the_quorums_sake_is_not_held_down() -> None:
    found = world(*(member(index, kill_asked=index < 2) for index in range(3)))
    found.commit(
        StepRecord("deploy", "etcd", f"etcd-{index}:[peer]", was_complete=True)
        for index in range(3)
    )
    assert invariants.must_stay(SPEC, found) == {"etcd-1"}
    assert invariants.broken(SPEC, found) == ()
    assert invariants.quorum_objection(SPEC, found, SPEC.pods[0], 1)


def accept(task_id: str, agent_id: str, reservation: str = "") -> wire.Call:
    info = wire.TaskInfo("etcd-0-peer", wire.TaskID(task_id), wire.AgentID(agent_id))
    launch = wire.Operation(type="LAUNCH", launch=wire.OperationLaunch((info,)))
    operations = [launch]
    if reservation:
        labels = wire.Labels((wire.Label(RESERVATION_LABEL, reservation),))
        level = wire.ReservationInfo(type="DYNAMIC", role="k8s", labels=labels)
        part = wire.Resource(
            name="cpus", type="SCALAR", scalar=wire.Scalar(1.0), reservations=(level,)
        )
        reserve = wire.OperationReserve(resources=(part,))
        operations.insert(0, wire.Operation(type="RESERVE", reserve=reserve))
    return wire.Call(type="ACCEPT", accept=wire.CallAccept((), tuple(operations)))


def test_nothing_is_launched_or_reserved_that_is_not_stored() -> None:
    found = world(member(0, state="INTENDED"), member(1))
    assert invariants.launch_problems(found, accept("t0", "S-a0")) == ()
    assert invariants.launch_problems(found, accept("t5", "S-a0")) == (
        "the intent to launch t5 is not stored",
    )
    assert invariants.launch_problems(found, accept("t1", "S-a1")) == (
        "the intent to launch t1 is not stored",
    )
    assert invariants.launch_problems(found, accept("t0", "S-a2")) == (
        "t0 was intended for S-a0, not S-a2",
    )
    told = invariants.launch_problems(found, accept("t0", "S-a0", "r-9"))
    assert told == ("reservation r-9 is not stored",)
    found.commit([ReservationRecord("r-9", "etcd-0", AGENTS[0])])
    assert invariants.launch_problems(found, accept("t0", "S-a0", "r-9")) == ()
