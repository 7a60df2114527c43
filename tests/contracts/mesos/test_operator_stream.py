"""What operators are told: operator-stream.jsonl, operator-stream-disconnect.jsonl."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from .client import Framework, Http, framework_info, launch, listening, subscribed, task
from .engine import Cluster, start_agent, start_master, wait_for
from .recordings import differences, events, story

# What the container of a task shows, and capabilities of agents: held to elsewhere.
OTHERWISE = ("container_status", "capabilities", "checkpoint", "attributes", "data")


def told(stream: Framework) -> dict[str, Any]:
    """The next event that is no heartbeat."""
    return stream.wait(lambda event: event["type"] != "HEARTBEAT")


def alike(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """An event of the recorded type and shape."""
    assert ours["type"] == theirs["type"]
    found = differences(ours, theirs)
    assert [line for line in found if not any(word in line for word in OTHERWISE)] == []


def recorded(kind: str, position: int = 0) -> dict[str, Any]:
    return events("operator-stream.jsonl", kind)[position]


def updates(stream: Framework, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Bodies of TASK_UPDATED up to the wanted one; nothing else may come."""
    found = []
    while True:
        event = told(stream)
        assert event["type"] == "TASK_UPDATED"
        found.append(event["task_updated"])
        if wanted(found[-1]):
            return found


@pytest.mark.contract(operator="SUBSCRIBE", recordings="operator-stream.jsonl")
def test_it_begins_with_the_state_and_a_heartbeat(master: Http) -> None:
    with listening(master) as stream:
        assert stream.answer.headers["content-type"] == "application/json"
        assert "mesos-stream-id" not in stream.answer.headers
        first = stream.events[0]
        theirs = recorded("SUBSCRIBED")
        assert first["subscribed"]["heartbeat_interval_seconds"] == 15.0
        agent = first["subscribed"]["get_state"]["get_agents"]["agents"][0]
        for optional in ("allocated_resources", "offered_resources", "reregistered_time"):
            agent.pop(optional, None)
        alike(first, theirs)


@pytest.mark.contract(operator="SUBSCRIBE", recordings="operator-stream.jsonl")
def test_a_framework_and_its_tasks_from_first_to_last(master: Http) -> None:
    with listening(master) as stream:
        with subscribed(master, "told", failover_timeout=60.0) as framework:
            alike(told(stream), recorded("FRAMEWORK_ADDED"))
            offer = framework.offers()[0]
            tasks = (task(offer, "st-fin", "exit 0"), task(offer, "st-run", "sleep 1000"))
            framework.accept([offer], [launch(*tasks)])
            for _ in tasks:
                alike(told(stream), recorded("TASK_ADDED"))
            framework.status("st-fin", "TASK_FINISHED")
            framework.status("st-run", "TASK_RUNNING")
            ends = {"st-fin": "TASK_FINISHED", "st-run": "TASK_RUNNING"}
            seen: dict[str, list[str]] = {"st-fin": [], "st-run": []}

            def settled(body: dict[str, Any]) -> bool:
                alike({"type": "TASK_UPDATED", "task_updated": body}, _like(body["status"]))
                seen[body["status"]["task_id"]["value"]].append(body["status"]["state"])
                return all(states[-1:] == [ends[name]] for name, states in seen.items())

            updates(stream, settled)
            assert seen["st-fin"] == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
            framework.call("REVIVE")
            same = {"id": {"value": framework.id}, "failover_timeout": 60.0, **framework.who}
            info = framework_info("renamed", **same)
            answer = framework.call("UPDATE_FRAMEWORK", update_framework={"framework_info": info})
            assert answer.status == 200
            updated = told(stream)
            alike(updated, recorded("FRAMEWORK_UPDATED"))
            named = updated["framework_updated"]["framework"]["framework_info"]["name"]
            assert named == "renamed"
            # The same once more, in another order, is no news (`Master::updateFramework`).
            info["capabilities"] = info["capabilities"][::-1]
            answer = framework.call("UPDATE_FRAMEWORK", update_framework={"framework_info": info})
            assert answer.status == 200
        killed = updates(stream, lambda body: body["state"] == "TASK_KILLED")
        theirs = events("operator-stream.jsonl", "TASK_UPDATED")[-1]["task_updated"]
        assert differences(killed[-1], theirs) == []
        assert killed[-1]["status"]["reason"] == theirs["status"]["reason"]
        alike(told(stream), recorded("FRAMEWORK_REMOVED"))


def _like(status: dict[str, Any]) -> dict[str, Any]:
    """The recorded TASK_UPDATED of that state."""
    return next(
        event
        for event in events("operator-stream.jsonl", "TASK_UPDATED")
        if event["task_updated"]["state"] == status["state"]
    )


@pytest.mark.contract(operator="SUBSCRIBE", recordings="operator-stream-disconnect.jsonl")
def test_nothing_is_said_when_a_framework_is_cut_off_until_its_time_is_over(master: Http) -> None:
    name = "operator-stream-disconnect.jsonl"
    with listening(master) as stream, subscribed(master, "cut", failover_timeout=2.0) as framework:
        assert told(stream)["type"] == "FRAMEWORK_ADDED"
        offer = framework.offers()[0]
        framework.accept([offer], [launch(task(offer, "dis-1", "sleep 1000"))])
        assert told(stream)["type"] == "TASK_ADDED"
        # Until the first status is acknowledged the second may stay with the agent.
        framework.status("dis-1", "TASK_RUNNING")
        updates(stream, lambda body: body["status"]["state"] == "TASK_RUNNING")
        framework.close()
        after = [line["body"] for line in story(name) if line["dir"] == "event"][-2:]
        for theirs in after:
            alike(told(stream), theirs)
        removed = {"framework_id": {"value": framework.id}}
        assert master.operator("TEARDOWN", teardown=removed).status == 400
        framework.id = ""


@pytest.fixture
def lab(own_cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """A master of its own that two operators may listen to."""
    del own_cluster
    made = Cluster(f"127.0.0.1:{free_port()}")
    made.own = True
    try:
        start_master(made, tmp_path, "--max_operator_event_stream_subscribers=2")
        yield made
    finally:
        made.stop()


@pytest.mark.contract(operator="SUBSCRIBE", recordings="operator-stream.jsonl")
def test_an_agent_that_joins_and_leaves_is_told_and_one_that_is_lost_is_not(
    lab: Cluster, tmp_path: Path
) -> None:
    with listening(lab.master) as stream:
        agent = start_agent(lab, tmp_path, 0)
        added = told(stream)
        alike(added, recorded("AGENT_ADDED"))
        info = added["agent_added"]["agent"]["agent_info"]
        agent_id = info["id"]
        itself = Http(f"127.0.0.1:{info['port']}")
        wait_for(lambda: itself.get("/state").json["id"] == agent_id["value"], "it knows its id")
        agent.kill()

        def unreachable() -> bool:
            return bool(lab.master.get("/state").json["unreachable_slaves"])

        wait_for(unreachable, "the agent is unreachable")
        agent.start()
        again = told(stream)
        alike(again, recorded("AGENT_ADDED", -1))
        assert again["agent_added"]["agent"]["agent_info"]["id"] == agent_id
        agent.signal(signal.SIGUSR1)
        removed = told(stream)
        alike(removed, recorded("AGENT_REMOVED"))
        assert removed["agent_removed"]["agent_id"] == agent_id


@pytest.mark.contract(operator="SUBSCRIBE")
def test_one_listener_more_than_allowed_ends_the_oldest_stream(lab: Cluster) -> None:
    """mesos-flags.md: --max_operator_event_stream_subscribers closes the oldest connection."""
    with listening(lab.master) as first, listening(lab.master) as second:
        with listening(lab.master) as third:
            first.wait_end()
            assert not second.ended
            assert not third.ended

        def gone() -> bool:
            metrics = lab.master.get("/metrics/snapshot").json
            return metrics["master/operator_event_stream_subscribers"] == 1.0

        wait_for(gone, "who hangs up counts no more")
        with listening(lab.master):
            assert not second.ended
