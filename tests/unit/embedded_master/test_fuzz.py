"""Random and mutated calls of frameworks, operators and agents, against a master in process.

Whatever comes in: no exception, nothing changed by what was refused, and the books balance. What
was found so stands below as a test of its own. `pytest --hypothesis-profile=deep` looks longer,
and elsewhere each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubedcos.mesos.resources import Resources
from kubedcos.mesos.values import without

from .driven import Driven, Json, check
from .random_calls import (
    AGENT,
    OPERATOR,
    SCHEDULER,
    UUID,
    Callers,
    framework_info,
    ports,
    registration,
    scalar,
)

READS = ("GET_STATE", "GET_ROLES", "GET_METRICS", "GET_MASTER")
PATHS = ("/state", "/state-summary", "/slaves", "/roles", "/tasks")


@pytest.fixture
def master() -> Iterator[Driven]:
    made = Driven()
    yield made
    made.close()


@settings(max_examples=max(150, settings.default.max_examples))
@given(seed=st.integers(0, 2**32), steps=st.integers(20, 60))
def test_nothing_that_is_sent_breaks_the_master(seed: int, steps: int) -> None:
    master = Driven()
    try:
        callers = Callers(master, Random(seed))
        for _ in range(steps):
            before = master.snapshot()
            answer = callers.anything()
            if answer is not None and not answer.ok:
                assert master.snapshot() == before, answer
            check(master.state)
        read_everything(master)
    finally:
        master.close()


def read_everything(master: Driven) -> None:
    before = master.snapshot()
    for kind in READS:
        answer = master.call(OPERATOR, {"type": kind, "get_metrics": {}})
        assert answer.status == 200
        json.loads(answer.text, parse_constant=no_constant)
    for path in PATHS:
        json.loads(master.send(path, b"", method="GET").text, parse_constant=no_constant)
    assert master.snapshot() == before


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


# --- what was found ------------------------------------------------------------------------------


def lab_with_task(master: Driven, *more: Json) -> tuple[str, dict[str, str]]:
    """One agent, a framework in `lab` with the task `t` on it; its id and stream header.

    Args:
        master: the master.
        more: resources of the task besides CPUs and memory.
    """
    assert master.call(AGENT, {"type": "REGISTER", "register": registration(0)}).ok
    info = {"framework_info": framework_info("lab")}
    assert master.call(SCHEDULER, {"type": "SUBSCRIBE", "subscribe": info}).ok
    [framework] = master.state.frameworks.values()
    stream = {"Mesos-Stream-Id": framework.stream_id or ""}
    master.pass_time(1)
    launch(master, framework.id, stream, "t", *more)
    return framework.id, stream


def launch(
    master: Driven, framework_id: str, stream: dict[str, str], name: str, *more: Json
) -> None:
    [offer] = master.state.offers.values()
    task = {
        "name": name,
        "task_id": {"value": name},
        "agent_id": {"value": offer.agent_id},
        "resources": [scalar("cpus", 4), scalar("mem", 32), *more],
        "command": {"value": "true"},
    }
    accept = {
        "offer_ids": [{"value": offer.id}],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}],
        "filters": {"refuse_seconds": 0},
    }
    call = {"type": "ACCEPT", "framework_id": {"value": framework_id}, "accept": accept}
    assert master.call(SCHEDULER, call, stream).ok


def news(master: Driven, framework_id: str, state: str) -> int:
    [agent] = master.state.agents.values()
    part = {
        "framework_id": {"value": framework_id},
        "status": {"task_id": {"value": "t"}, "state": state, "uuid": UUID},
        "latest_state": state,
    }
    session = {"Kubedcos-Session": agent.session}
    return master.call(AGENT, {"type": "STATUS_UPDATE", "status_update": part}, session).status


def test_a_task_that_ended_does_not_run_again_on_what_others_were_given(master: Driven) -> None:
    framework_id, stream = lab_with_task(master)
    assert news(master, framework_id, "TASK_FINISHED") == 200
    master.pass_time(1)
    launch(master, framework_id, stream, "u")
    assert news(master, framework_id, "TASK_RUNNING") == 200
    check(master.state)
    assert master.state.tasks[framework_id, "t"].state == "TASK_FINISHED"


def test_a_task_that_names_a_port_twice_holds_it_once(master: Driven) -> None:
    lab_with_task(master, ports(31520, 31528), ports(31525, 31530))
    check(master.state)
    [agent] = master.state.agents
    assert master.state.used(agent_id=agent).spans() == ((31520, 31530),)
    master.pass_time(1)
    [offer] = master.state.offers.values()
    assert Resources(offer.resources).spans() == ((31000, 31519), (31531, 31999))


@pytest.mark.parametrize("state", ["", "UNKNOWN", "TASK_UNKNOWN", "running"])
def test_a_state_that_is_none_is_refused(master: Driven, state: str) -> None:
    framework_id, _ = lab_with_task(master)
    assert news(master, framework_id, state) == 400


def test_news_of_a_task_on_another_agent_is_refused(master: Driven) -> None:
    framework_id, _ = lab_with_task(master)
    assert master.call(AGENT, {"type": "REGISTER", "register": registration(1)}).ok
    other = next(a for a in master.state.agents.values() if a.info.port == 5052)
    part = {
        "framework_id": {"value": framework_id},
        "status": {"task_id": {"value": "t"}, "state": "TASK_FAILED", "uuid": UUID},
        "latest_state": "TASK_FAILED",
    }
    call = {"type": "STATUS_UPDATE", "status_update": part}
    answer = master.call(AGENT, call, {"Kubedcos-Session": other.session})
    assert (answer.status, "runs on agent" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("resource", "taken"),
    [
        (scalar("mem", 4096), False),
        (scalar("mem", 4064), True),
        (ports(31009, 31010), False),
        (ports(31010, 31010), True),
    ],
)
def test_an_agent_cannot_use_for_others_what_a_task_was_given(
    master: Driven, resource: Json, taken: bool
) -> None:
    framework_id, _ = lab_with_task(master, ports(31000, 31009))
    [agent] = master.state.agents.values()
    part = registration(0)
    part["agent_info"]["id"] = {"value": agent.id}
    stranger = {
        "name": "u",
        "task_id": {"value": "u"},
        "framework_id": {"value": framework_id},
        "agent_id": {"value": agent.id},
        "state": "TASK_RUNNING",
        "resources": [resource | {"allocation_info": {"role": "lab"}}],
    }
    again = {"type": "REREGISTER", "reregister": part | {"tasks": [stranger]}}
    assert master.call(AGENT, again).ok == taken
    check(master.state)


@pytest.mark.parametrize("value", [-1, 1e300, -1e300, "NaN", "Infinity", "-Infinity", 0.0004])
def test_an_agent_with_an_absurd_amount_is_refused(master: Driven, value: float) -> None:
    part = registration(0)
    part["agent_info"]["resources"][0] = scalar("cpus", value)
    before = master.snapshot()
    assert master.call(AGENT, {"type": "REGISTER", "register": part}).status in {400, 403}
    assert master.snapshot() == before


@pytest.mark.parametrize("value", [-1, 1e300, -1e300, "NaN", "Infinity", "-Infinity", 2**70])
@pytest.mark.parametrize("kind", ["LAUNCH", "RESERVE", "CREATE"])
def test_an_absurd_amount_is_no_exception(master: Driven, kind: str, value: float) -> None:
    framework_id, stream = lab_with_task(master)
    master.pass_time(1)
    offers = [{"value": name} for name in master.state.offers]
    resource = scalar("disk", value, reservations=[{"type": "DYNAMIC", "role": "lab"}])
    body: Json = {"resources": [resource]} if kind == "RESERVE" else {"volumes": [resource]}
    if kind == "LAUNCH":
        task = {"name": "u", "task_id": {"value": "u"}, "agent_id": {"value": "S"}}
        body = {"task_infos": [task | {"resources": [resource], "command": {"value": "true"}}]}
    accept = {"offer_ids": offers, "operations": [{"type": kind, kind.lower(): body}]}
    call = {"type": "ACCEPT", "framework_id": {"value": framework_id}, "accept": accept}
    assert master.call(SCHEDULER, call, stream).status in {202, 400}
    check(master.state)
    read_everything(master)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"type":' + b'{"a":' * 50_000,
        b'{"type": NaN}',
        b'{"type": "GET_HEALTH", "x": Infinity}',
        b'{"type": "\\ud800"}',
        b"\xff\xfe",
        b'{"type": "GET_HEALTH"} x',
        b"",
    ],
)
def test_what_is_no_json_is_said_to_be_none(master: Driven, body: bytes) -> None:
    for path in (OPERATOR, SCHEDULER):
        answer = master.send(path, body)
        assert (answer.status, "Failed to parse body into JSON" in answer.text) == (400, True)


def test_objects_without_end_are_refused(master: Driven) -> None:
    parent: Json = {"value": "c"}
    for _ in range(400):
        parent = {"value": "c", "parent": parent}
    status = {"container_status": {"container_id": parent}}
    task = {"task_id": {"value": "t"}, "state": "TASK_RUNNING", "status": status}
    call = {"type": "RECONCILE", "framework_id": {"value": "f"}, "reconcile": {"tasks": [task]}}
    assert master.call(SCHEDULER, call).status == 400


def test_an_agent_leaves_whose_reservations_are_of_ports_too(master: Driven) -> None:
    lab = [{"type": "STATIC", "role": "lab"}]
    part = registration(0)
    part["agent_info"]["resources"] += [
        scalar("gpus", 1, reservations=lab),
        ports(1, 9, reservations=lab),
    ]
    assert master.call(AGENT, {"type": "REGISTER", "register": part}).ok
    master.pass_time(1)
    [agent] = master.state.agents
    gone = {"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": agent}}}
    assert master.call(OPERATOR, gone).ok
    master.pass_time(1)
    assert not master.state.agents


def test_thousands_of_single_ports_cost_no_more_than_a_glance() -> None:
    every_other = tuple((port, port) for port in range(0, 200_000, 2))
    assert len(without(((0, 200_000),), every_other)) == len(every_other)
    assert without(every_other, ((0, 200_000),)) == ()
