"""A drain on the agent: policies, statuses, and its beginning and end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubedcos.clock import SystemClock
from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.draining import kill_policy, told
from kubedcos.embedded.agent.paths import Layout
from kubedcos.embedded.agent.store import Store
from kubedcos.embedded.protocol import DrainConfig, UnknownTasks
from kubedcos.mesos.messages import (
    AgentID,
    AgentInfo,
    DurationInfo,
    FrameworkCapability,
    FrameworkID,
    FrameworkInfo,
    KillPolicy,
    TaskID,
    TaskInfo,
    TaskStatus,
)


def framework(*capabilities: str) -> FrameworkInfo:
    listed = tuple(map(FrameworkCapability, capabilities))
    return FrameworkInfo("u", "n", id=FrameworkID("F"), checkpoint=True, capabilities=listed)


def policy(nanoseconds: int) -> KillPolicy:
    return KillPolicy(DurationInfo(nanoseconds))


@pytest.mark.parametrize(
    ("longest", "own", "wanted"),
    [
        (None, None, None),
        (None, policy(5), None),
        (5, None, policy(5)),
        (5, KillPolicy(), policy(5)),
        (5, policy(6), policy(5)),
        (5, policy(5), None),
        (5, policy(4), None),
    ],
)
def test_the_stricter_policy_counts(
    longest: int | None, own: KillPolicy | None, wanted: KillPolicy | None
) -> None:
    config = DrainConfig(DurationInfo(longest) if longest is not None else None)
    assert kill_policy(config, own) == wanted


@pytest.mark.parametrize(
    ("state", "config", "capabilities", "shown", "reason"),
    [
        ("TASK_KILLED", None, (), "TASK_KILLED", "R"),
        ("TASK_RUNNING", DrainConfig(mark_gone=True), (), "TASK_RUNNING", "R"),
        ("TASK_FAILED", DrainConfig(), (), "TASK_FAILED", "R"),
        ("TASK_KILLING", DrainConfig(), (), "TASK_KILLING", "REASON_AGENT_DRAINING"),
        ("TASK_KILLED", DrainConfig(mark_gone=True), (), "TASK_KILLED", "REASON_AGENT_DRAINING"),
        (
            "TASK_KILLING",
            DrainConfig(mark_gone=True),
            ("PARTITION_AWARE",),
            "TASK_GONE_BY_OPERATOR",
            "REASON_AGENT_DRAINING",
        ),
    ],
)
def test_how_statuses_are_told(
    state: str,
    config: DrainConfig | None,
    capabilities: tuple[str, ...],
    shown: str,
    reason: str,
) -> None:
    status = told(TaskStatus(TaskID("t"), state, reason="R"), config, framework(*capabilities))
    assert (status.state, status.reason) == (shown, reason)


def test_a_task_that_comes_during_a_drain_is_dropped_and_ends_it_when_acknowledged(
    tmp_path: Path,
) -> None:
    settings = SimpleNamespace(
        advertise_ip="10.0.0.1", port=5051, flags=SimpleNamespace(integer=lambda _name: 5)
    )
    gc = SimpleNamespace(schedule=lambda *_: None)
    store = Store(Layout(tmp_path, tmp_path))
    nothing = cast("Any", None)
    agent = Agent(cast("Any", settings), store, nothing, nothing, cast("Any", gc), SystemClock())
    agent.info = AgentInfo("h", id=AgentID("S"))
    config = DrainConfig(DurationInfo(5), mark_gone=True)
    agent.draining.start(config)
    assert agent.draining.config is None
    aware = framework("PARTITION_AWARE")
    agent.unknown_tasks([UnknownTasks(aware, (TaskID("there"),))])
    agent.draining.start(config)
    assert store.drain("S") == config
    agent.run_task(aware, TaskInfo("late", TaskID("late"), AgentID("S")))
    dropped = agent.runs["F", "late"].stream.statuses[-1]
    assert (dropped.state, dropped.source, dropped.reason, dropped.message) == (
        "TASK_DROPPED",
        "SOURCE_AGENT",
        "REASON_AGENT_DRAINING",
        "Task was received while agent was already draining",
    )
    for key in (("F", "there"), ("F", "late")):
        assert agent.draining.config == config
        agent.acknowledge(key, agent.runs[key].stream.statuses[-1].uuid or "")
    assert agent.draining.config is None
    assert store.drain("S") is None
