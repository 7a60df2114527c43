"""How command tasks end: kills.jsonl."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Framework, launch, task
from .recordings import differences_but_for_the_signal, status_differences, status_of
from .sandbox import LIMITS, READY, said_ready, until_ready

Json = dict[str, Any]
STORY = "kills.jsonl"
DEAF = f"trap '' TERM; {READY}while true; do sleep 0.1; done"


def nanoseconds(seconds: float) -> Json:
    return {"nanoseconds": int(seconds * 1e9)}


def kill(framework: Framework, task_id: str, **more: Any) -> None:
    assert framework.call("KILL", kill={"task_id": {"value": task_id}, **more}).status == 202


@pytest.mark.contract(behaviour="ends", recordings="kills.jsonl")
def test_tasks_that_end_by_themselves_or_run_too_long(framework: Framework) -> None:
    names = ("limited", "limited-deaf", "sig", "code")
    for seconds in LIMITS:
        offer = framework.offers()[0]
        limit = {"max_completion_time": nanoseconds(seconds)}
        policy = {"kill_policy": {"grace_period": nanoseconds(60)}}
        tasks = (
            task(offer, "limited", f"{READY}exec sleep 100", **limit),
            task(offer, "limited-deaf", DEAF, **policy, **limit),
            task(offer, "sig", "kill -9 $$"),
            task(offer, "code", "exit 143"),
        )
        framework.accept([offer], [launch(*tasks)])
        began = [framework.status(name, "TASK_RUNNING") for name in names[:2]]
        ended = {name: framework.status(name, "TASK_FAILED") for name in names}
        if all(said_ready(framework, status) for status in began):
            break
    for name, ours in ended.items():
        theirs = status_of(STORY, name, "TASK_FAILED")
        compare = differences_but_for_the_signal if name == "limited" else status_differences
        assert not compare(ours, theirs)
    assert not any(
        event["update"]["status"]["state"] == "TASK_KILLING"
        for event in framework.events
        if event["type"] == "UPDATE"
    )


@pytest.mark.contract(calls="KILL", behaviour="ends", recordings="kills.jsonl")
def test_killed_tasks(framework: Framework) -> None:
    offer = framework.offers()[0]
    brief = {"kill_policy": {"grace_period": nanoseconds(0.3)}}
    tasks = (
        task(offer, "deaf-3", DEAF, **brief),
        task(offer, "polite", f"trap 'exit 0' TERM; {READY}while true; do sleep 0.1; done"),
    )
    framework.accept([offer], [launch(*tasks)])
    for name in ("deaf-3", "polite"):
        until_ready(framework, framework.status(name, "TASK_RUNNING"))
        # The wrong agent is no reason for an answer.
        kill(framework, name, agent_id={"value": "no-such-agent"})
        kill(framework, name)
    for name in ("deaf-3", "polite"):
        for state in ("TASK_KILLING", "TASK_KILLED"):
            assert not status_differences(framework.status(name), status_of(STORY, name, state))
    kill(framework, "polite")
    assert not status_differences(
        framework.status("polite"), status_of(STORY, "done", "TASK_UNKNOWN")
    )
    kill(framework, "no-such", agent_id={"value": "no-such-agent"})
    assert not status_differences(
        framework.status("no-such"), status_of(STORY, "no-such", "TASK_UNKNOWN", 1)
    )


@pytest.mark.contract(calls="KILL", behaviour="ends", recordings="kills.jsonl")
def test_a_kill_during_the_launch(framework: Framework) -> None:
    offer = framework.offers()[0]
    # The fetcher is slower than the call.
    slow = {"value": "sleep 100", "uris": [{"value": "http://127.0.0.1:9/never"}]}
    framework.accept([offer], [launch(task(offer, "early", "") | {"command": slow})])
    kill(framework, "early")
    assert not status_differences(
        framework.status("early"), status_of(STORY, "early", "TASK_KILLED")
    )


@pytest.mark.contract(calls="TEARDOWN", recordings="kills.jsonl")
def test_teardown_ends_the_stream_without_a_word_about_tasks(framework: Framework) -> None:
    offer = framework.offers()[0]
    framework.accept([offer], [launch(task(offer, "left", "sleep 100"))])
    framework.status("left", "TASK_RUNNING")
    framework.call("TEARDOWN")
    framework.wait_end()
    last = [e for e in framework.events if e["type"] == "UPDATE"][-1]["update"]["status"]
    assert last["state"] == "TASK_RUNNING"


@pytest.mark.contract(operations="LAUNCH", recordings="accept-many.jsonl")
def test_a_cpu_limit_needs_the_isolator(framework: Framework) -> None:
    """Only where the agents have no cgroups isolators, as in the recording."""
    offer = framework.offers()[0]
    limits = {"cpus": {"value": 8}, "mem": {"value": 64}}
    framework.accept([offer], [launch(task(offer, "limits", "exit 0", limits=limits))])
    ours = framework.status("limits")
    if ours["state"] == "TASK_STARTING":
        pytest.skip("the agents have the isolator")
    assert not status_differences(ours, status_of("accept-many.jsonl", "limits", "TASK_DROPPED"))
