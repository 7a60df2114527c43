"""Which agents are asked for, and when."""

from __future__ import annotations

from kubedcos.scheduler.roll_call import RollCall, asked_for, question
from kubedcos.scheduler.settings import Pace

PACE = Pace(reconcile_first=2.0, reconcile_most=8.0, reconcile_all=900.0)


def calling(*agents: str) -> tuple[RollCall, list[str]]:
    made = RollCall(PACE)
    made.begin(0.0)
    return made, list(agents)


def test_each_agent_is_asked_for_until_mesos_has_spoken_of_it() -> None:
    call, agents = calling("S1", "S2")
    times = {now: call.due(lambda: agents, float(now)) for now in range(20)}
    assert {now: asked for now, asked in times.items() if asked} == dict.fromkeys(
        (2, 4, 8, 16), ("S1", "S2")
    )
    assert call.is_open("S1")
    call.answered("S1")
    assert not call.is_open("S1")
    assert call.due(lambda: agents, 24.0) == ("S2",)
    call.answered("S2")
    assert call.due(lambda: agents, 60.0) == ()


def test_the_next_round_asks_for_those_that_were_not_heard_of_by_then() -> None:
    call, agents = calling("S1")
    assert call.due(lambda: agents, 2.0) == ("S1",)
    call.answered("S1")
    assert call.due(lambda: ["S2"], 901.0) == ()
    assert call.due(lambda: ["S2"], 902.0) == ("S2",)


def test_until_the_first_round_every_agent_is_in_question() -> None:
    call, agents = calling("S1")
    assert call.due(lambda: agents, 1.0) == ()
    assert call.is_open("S1")
    assert call.is_open("S2")
    call.due(lambda: agents, 2.0)
    assert call.is_open("S1")
    assert not call.is_open("S2")


def test_a_question_tells_its_agent_and_a_task_tells_none() -> None:
    assert asked_for(question("64f6-S1")) == "64f6-S1"
    assert asked_for("etcd-0-peer__1") == ""
