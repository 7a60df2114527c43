"""LAUNCH_GROUP and the default executor: groups.jsonl, groups-more.jsonl."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .client import Framework, Http, launch_group, scalar, status_less_racy, task
from .engine import wait_for
from .recordings import (
    differences,
    differences_but_for_the_signal,
    events,
    recorded,
    status_differences,
    status_of,
)
from .sandbox import LIMITS, ONCE_ANOTHER_IS, READY, agent_at, said_ready, until_ready

Json = dict[str, Any]
WAITS = f"{READY}exec sleep 100"


def story_differences(ours: Json, story: str, position: int = 0) -> list[str]:
    """Those but for what Mesos tells of a container that is being made or destroyed."""
    task_id, state = ours["task_id"]["value"], ours["state"]
    theirs = status_of(story, task_id, state, position)
    if state in {"TASK_STARTING", "TASK_KILLING"}:
        ours, theirs = status_less_racy(ours), status_less_racy(theirs)
    return status_differences(ours, theirs)


def executor(framework: Framework, name: str, **changes: Any) -> Json:
    info: Json = {
        "type": "DEFAULT",
        "executor_id": {"value": name},
        "framework_id": {"value": framework.id},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32), scalar("disk", 32)],
    }
    info |= changes
    return {key: value for key, value in info.items() if value is not None}


def started(framework: Framework, pod: str, *tasks: Json, offer: Json) -> dict[str, Json]:
    """A group up to TASK_RUNNING; the statuses by task."""
    framework.accept([offer], [launch_group(executor(framework, pod), *tasks)])
    return {
        name: framework.status(name, "TASK_RUNNING")
        for name in (entry["task_id"]["value"] for entry in tasks)
    }


def failure(framework: Framework, pod: str) -> Json:
    return framework.wait(
        lambda event: event.get("failure", {}).get("executor_id") == {"value": pod}
    )["failure"]


@pytest.mark.contract(
    operations="LAUNCH_GROUP", events="UPDATE FAILURE", calls="KILL", recordings="groups.jsonl"
)
def test_a_member_that_ends_well_leaves_the_others_alone(framework: Framework) -> None:
    offer = framework.offers()[0]
    tasks = (task(offer, "g-a", f"{ONCE_ANOTHER_IS}true"), task(offer, "g-b", WAITS))
    framework.accept([offer], [launch_group(executor(framework, "pod-1"), *tasks)])
    for state in ("TASK_STARTING", "TASK_RUNNING"):
        for name in ("g-a", "g-b"):
            assert not story_differences(framework.status(name, state), "groups.jsonl")
    assert not story_differences(framework.status("g-a", "TASK_FINISHED"), "groups.jsonl")
    framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": "g-b"}}]})
    ours = framework.status("g-b")
    assert ours["state"] == "TASK_RUNNING"
    assert ours["executor_id"] == {"value": "pod-1"}
    framework.call("KILL", kill={"task_id": {"value": "g-b"}})
    for state in ("TASK_KILLING", "TASK_KILLED"):
        assert not story_differences(framework.status("g-b", state), "groups.jsonl")
    assert failure(framework, "pod-1") == {
        "agent_id": offer["agent_id"],
        "executor_id": {"value": "pod-1"},
        "status": 0,
    }


@pytest.mark.contract(operations="LAUNCH_GROUP", recordings="groups.jsonl")
def test_a_member_that_fails_takes_its_group_along(framework: Framework) -> None:
    offer = framework.offers()[0]
    tasks = (task(offer, "h-a", f"{ONCE_ANOTHER_IS}exit 5"), task(offer, "h-b", WAITS))
    started(framework, "pod-2", *tasks, offer=offer)
    assert not story_differences(framework.status("h-a"), "groups.jsonl")
    for state in ("TASK_KILLING", "TASK_KILLED"):
        assert not story_differences(framework.status("h-b", state), "groups.jsonl")
    assert failure(framework, "pod-2")["status"] == 0


DEAF = f"trap '' TERM; {READY}while true; do sleep 0.1; done"


@pytest.mark.contract(calls="KILL", recordings="groups-more.jsonl")
def test_the_killed_member_ends_first_and_then_the_rest(framework: Framework) -> None:
    """A kill policy counts for the task that is killed; the rest gets 3 s, policy or not.

    The order is that in which the executor told them: the agent passes the updates of two tasks on
    independently of each other.
    """
    offer = framework.offers()[0]
    brief = {"kill_policy": {"grace_period": {"nanoseconds": 300_000_000}}}
    tasks = (task(offer, "a-1", DEAF, **brief), task(offer, "a-2", "sleep 100"))
    until_ready(framework, started(framework, "pod-a", *tasks, offer=offer)["a-1"])
    framework.call("KILL", kill={"task_id": {"value": "a-1"}})
    seen: list[Json] = []
    while len(seen) < 4:
        status = framework.wait_type("UPDATE")["update"]["status"]
        framework.acknowledge(status)
        seen.append(status)
        if status["task_id"]["value"] == "a-1":
            assert not story_differences(status, "groups-more.jsonl")
    seen.sort(key=lambda status: status["timestamp"])
    assert [(status["task_id"]["value"], status["state"]) for status in seen] == [
        ("a-1", "TASK_KILLING"),
        ("a-1", "TASK_KILLED"),
        ("a-2", "TASK_KILLING"),
        ("a-2", "TASK_KILLED"),
    ]


@pytest.mark.contract(
    operations="LAUNCH_GROUP", calls="SHUTDOWN", events="OFFERS", recordings="groups-more.jsonl"
)
def test_two_groups_under_one_executor_and_its_shutdown(framework: Framework) -> None:
    offer = framework.offers()[0]
    until_ready(
        framework, started(framework, "pod-b", task(offer, "b-1", WAITS), offer=offer)["b-1"]
    )
    offer = rest_of(framework, offer, "pod-b")
    tasks = (task(offer, "b-2", f"{ONCE_ANOTHER_IS}exit 3"), task(offer, "b-3", WAITS))
    started(framework, "pod-b", *tasks, offer=offer)
    assert not story_differences(framework.status("b-2"), "groups-more.jsonl")
    assert not story_differences(framework.status("b-3", "TASK_KILLED"), "groups-more.jsonl")
    framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": "b-1"}}]})
    assert not status_differences(
        framework.status("b-1"), status_of("groups-more.jsonl", "b-1", "TASK_RUNNING", 1)
    )
    offer = rest_of(framework, offer, "pod-b")
    resources = [scalar("cpus", 0.2), scalar("mem", 32), scalar("disk", 32)]
    other = executor(framework, "pod-b", resources=resources)
    framework.accept([offer], [launch_group(other, task(offer, "b-4", "true"))])
    ours, theirs = framework.status("b-4"), status_of("groups-more.jsonl", "b-4", "TASK_ERROR")
    their_framework = events("groups-more.jsonl", "SUBSCRIBED")[0]["subscribed"]["framework_id"]
    ours["message"] = ours["message"].replace(framework.id, their_framework["value"])
    assert not status_differences(ours, theirs)
    body = {"executor_id": {"value": "pod-b"}, "agent_id": offer["agent_id"]}
    assert framework.call("SHUTDOWN", shutdown=body).status == 202
    assert not story_differences(framework.status("b-1", "TASK_KILLED"), "groups-more.jsonl")
    assert failure(framework, "pod-b")["status"] == 0
    # Nobody answers for an executor that nobody knows.
    assert framework.call("SHUTDOWN", shutdown=body).status == 202


def rest_of(framework: Framework, offer: Json, pod: str) -> Json:
    """A later offer of the same agent, which names the executor there."""

    def named(event: Json) -> bool:
        offers = event.get("offers", {}).get("offers", [])
        return any({"value": pod} in entry.get("executor_ids", []) for entry in offers)

    offers = framework.wait(named)["offers"]["offers"]
    found = next(entry for entry in offers if {"value": pod} in entry.get("executor_ids", []))
    assert found["agent_id"] == offer["agent_id"]
    return found


BAD_GROUPS: dict[str, tuple[str, Json, list[tuple[str, Json]]]] = {
    "a task with an executor": (
        "pod-c",
        {},
        [("c-1", {"executor": {"executor_id": {"value": "x"}, "type": "DEFAULT"}}), ("c-2", {})],
    ),
    "an executor with a command": ("pod-d", {"command": {"value": "true"}}, [("d-1", {})]),
    "an executor without disk": (
        "pod-e",
        {"resources": [scalar("cpus", 0.1), scalar("mem", 32)]},
        [("e-1", {})],
    ),
    "an executor without type": ("pod-g", {"type": None}, [("g-1", {})]),
    "of two tasks one is invalid": ("pod-i", {}, [("j-1", {}), ("j/2", {})]),
}


@pytest.mark.parametrize("fault", BAD_GROUPS)
@pytest.mark.contract(operations="LAUNCH_GROUP", recordings="groups-more.jsonl")
def test_of_an_invalid_group_every_task_fails_with_the_same_text(
    framework: Framework, fault: str
) -> None:
    pod, changes, members = BAD_GROUPS[fault]
    offer = framework.offers()[0]
    tasks = [task(offer, name, "sleep 1", **more) for name, more in members]
    framework.accept([offer], [launch_group(executor(framework, pod, **changes), *tasks)])
    for name, _ in members:
        assert not story_differences(framework.status(name), "groups-more.jsonl")


@pytest.mark.contract(operations="LAUNCH_GROUP", recordings="groups-more.jsonl")
def test_a_group_that_is_too_large_in_sum(framework: Framework) -> None:
    offer = framework.offers()[0]
    half = next(r for r in offer["resources"] if r["name"] == "cpus")["scalar"]["value"] * 0.75
    resources = [scalar("cpus", half), scalar("mem", 32)]
    tasks = [task(offer, name, "true", resources=resources) for name in ("i-1", "i-2")]
    framework.accept([offer], [launch_group(executor(framework, "pod-h"), *tasks)])
    for name in ("i-1", "i-2"):
        ours, theirs = framework.status(name), status_of("groups-more.jsonl", name, "TASK_ERROR")
        for status in (ours, theirs):
            assert status["message"].startswith("Total resources cpus(allocated: lab):")
            assert (
                " required by task group and its executor are more than available "
                in (status["message"])
            )
        assert not status_differences(ours | {"message": ""}, theirs | {"message": ""})


@pytest.mark.contract(operations="LAUNCH_GROUP", recordings="groups-more.jsonl")
def test_an_executor_without_tasks_still_holds_its_resources(framework: Framework) -> None:
    offer = framework.offers()[0]
    framework.accept([offer], [launch_group(executor(framework, "pod-f"))])
    later = rest_of(framework, offer, "pod-f")
    before, after = amounts(offer), amounts(later)
    assert after["cpus"] == pytest.approx(before["cpus"] - 0.1, abs=1e-9)
    assert (after["mem"], after["disk"]) == (before["mem"] - 32, before["disk"] - 32)


def amounts(offer: Json) -> dict[str, float]:
    return {r["name"]: r["scalar"]["value"] for r in offer["resources"] if "scalar" in r}


@pytest.mark.contract(operations="LAUNCH_GROUP", recordings="groups-more.jsonl")
def test_a_failing_health_check_ends_the_group_and_makes_all_of_it_unhealthy(
    framework: Framework,
) -> None:
    offer = framework.offers()[0]
    health = {
        "type": "COMMAND",
        # Healthy until the task itself makes the file.
        "command": {"value": "! test -e ill", "shell": True},
        "delay_seconds": 0,
        "interval_seconds": 0.3,
        "grace_period_seconds": 0,
        "consecutive_failures": 2,
        "timeout_seconds": 5,
    }
    tasks = (
        task(offer, "k-1", WAITS),
        task(offer, "k-2", f"{ONCE_ANOTHER_IS}touch ill; sleep 100", health_check=health),
    )
    started(framework, "pod-j", *tasks, offer=offer)
    statuses = [framework.status("k-2") for _ in range(4)]
    if statuses[0].get("healthy"):
        statuses = [*statuses[1:], framework.status("k-2")]
    for position, status in enumerate(statuses):
        assert not story_differences(
            status, "groups-more.jsonl", position + 1 if position < 2 else 0
        )
    for state in ("TASK_KILLING", "TASK_KILLED"):
        assert not story_differences(framework.status("k-1", state), "groups-more.jsonl")


@pytest.mark.contract(operations="LAUNCH_GROUP", recordings="groups-more.jsonl")
def test_a_member_that_runs_too_long(framework: Framework) -> None:
    for number, seconds in enumerate(LIMITS):
        offer = framework.offers()[0]
        limit = {"max_completion_time": {"nanoseconds": int(seconds * 1e9)}}
        tasks = (task(offer, "l-1", WAITS, **limit), task(offer, "l-2", WAITS))
        running = started(framework, f"pod-k-{number}", *tasks, offer=offer)
        ours = framework.status("l-1")
        rest = [framework.status("l-2", state) for state in ("TASK_KILLING", "TASK_KILLED")]
        if all(said_ready(framework, status) for status in running.values()):
            break
    assert ours["reason"] == "REASON_MAX_COMPLETION_TIME_REACHED"
    assert not differences_but_for_the_signal(
        ours, status_of("groups-more.jsonl", "l-1", "TASK_FAILED")
    )
    for status in rest:
        assert not story_differences(status, "groups-more.jsonl")


@pytest.mark.contract(operations="LAUNCH_GROUP", recordings="kills.jsonl")
def test_a_kill_before_the_group_was_delivered_ends_all_of_it(framework: Framework) -> None:
    """``slave.cpp``: the text for groups; state, source and reason as for a single task."""
    offer = framework.offers()[0]
    # The fetcher takes its time, so the group is not delivered yet when the kill comes.
    slow = {"value": "sleep 100", "uris": [{"value": "http://127.0.0.1:9/never"}]}
    tasks = (task(offer, "early", "") | {"command": slow}, task(offer, "other", "sleep 100"))
    framework.accept([offer], [launch_group(executor(framework, "pod-early"), *tasks)])
    framework.call("KILL", kill={"task_id": {"value": "other"}})
    for name in ("early", "other"):
        ours, theirs = framework.status(name), status_of("kills.jsonl", "early", "TASK_KILLED")
        message = "A task within the task group was killed before delivery to the executor"
        assert ours["message"] == message
        assert not status_differences(ours | {"message": ""}, theirs | {"message": ""})


@pytest.mark.contract(operator="GET_EXECUTORS", endpoints="/state")
@pytest.mark.contract(agent_endpoints="/state /containers", recordings="agent-endpoints.json")
@pytest.mark.contract(agent_calls="GET_EXECUTORS GET_CONTAINERS GET_TASKS")
def test_views_show_executor_and_members(framework: Framework, master: Http) -> None:
    offer = framework.offers()[0]
    status = started(framework, "ag-pod", task(offer, "ag-g1", "sleep 100"), offer=offer)["ag-g1"]
    listed = master.operator("GET_EXECUTORS").json["get_executors"]["executors"]
    ours = next(e for e in listed if e["executor_info"]["framework_id"]["value"] == framework.id)
    assert ours["agent_id"] == offer["agent_id"]
    assert ours["executor_info"]["type"] == "DEFAULT"
    shown = next(f for f in master.get("/state").json["frameworks"] if f["id"] == framework.id)
    assert shown["executors"][0]["executor_id"] == "ag-pod"
    assert shown["executors"][0]["slave_id"] == offer["agent_id"]["value"]
    assert shown["used_resources"]["cpus"] == pytest.approx(0.2)
    assert shown["tasks"][0]["executor_id"] == "ag-pod"
    compare_agent(agent_at(master, offer["agent_id"]["value"]), framework.id, status)


def compare_agent(agent: Http, framework_id: str, status: Json) -> None:
    """What the agent shows of the pod, with what Mesos' agent showed of one."""
    recorded_state, recorded_containers = (
        next(e["body"] for e in recorded("agent-endpoints.json") if e["path"] == path)
        for path in ("/state", "/containers")
    )
    state = agent.get("/state").json
    mine = next(f for f in state["frameworks"] if f["id"] == framework_id)["executors"][0]
    theirs = recorded_state["frameworks"][0]["executors"][0]
    for view in (mine, theirs):
        first = view["tasks"][0]["statuses"][0]
        assert first["state"] == "TASK_STARTING"
        view["tasks"][0]["statuses"][0] = status_less_racy(first)
    assert differences(mine, theirs) == []
    assert {**mine["resources"]} == theirs["resources"]
    container = status["container_status"]["container_id"]
    containers = agent.get("/containers").json
    found = next(c for c in containers if c["executor_id"] == "ag-pod")
    assert found["container_id"] == container["parent"]["value"] == mine["container"]
    missing = differences(found | {"statistics": {}}, recorded_containers[0] | {"statistics": {}})
    assert missing == []
    calls = {
        json.dumps(e["request"]): e["body"]
        for e in recorded("agent-endpoints.json")
        if isinstance(e.get("request"), dict) and e["request"].get("type", "").startswith("GET_")
    }
    theirs = calls['{"type": "GET_EXECUTORS"}']["get_executors"]["executors"][0]
    executors = agent.operator("GET_EXECUTORS").json["get_executors"]["executors"]
    ours = next(e for e in executors if e["executor_info"]["framework_id"]["value"] == framework_id)
    assert differences(ours, theirs) == []
    nested = wait_for(lambda: nested_of(agent, container["value"]), "the nested container")
    assert nested["container_status"]["container_id"] == container
    launched = agent.operator("GET_TASKS").json["get_tasks"]["launched_tasks"]
    assert any(t["executor_id"] == {"value": "ag-pod"} for t in launched if "executor_id" in t)


def nested_of(agent: Http, container_id: str) -> Json | None:
    body = {"show_nested": True, "show_standalone": False}
    answer = agent.operator("GET_CONTAINERS", get_containers=body).json
    listed = answer["get_containers"]["containers"]
    return next((c for c in listed if c["container_id"]["value"] == container_id), None)


@pytest.mark.contract(endpoints="/roles", operator="UPDATE_QUOTA", operations="LAUNCH_GROUP")
def test_what_a_groups_executor_holds_counts_for_its_role(
    framework: Framework, master: Http
) -> None:
    """`Master::RoleResourceBreakdown` of Mesos: tasks and executors."""
    offer = framework.offers()[0]
    started(framework, "held", task(offer, "h-1", "sleep 100"), offer=offer)
    [lab] = [role for role in master.get("/roles").json["roles"] if role["name"] == "lab"]
    assert lab["allocated"] == {"cpus": 0.2, "mem": 64.0, "disk": 32.0}
    limit = {"role": "lab", "limits": {"cpus": {"value": 0.15}}}
    answer = master.operator("UPDATE_QUOTA", update_quota={"quota_configs": [limit]})
    words = (
        "Invalid QuotaConfig: Role 'lab' is already consuming 'cpus:0.2; disk:32; mem:64'; this is"
        " more than the requested limits 'cpus:0.15' (use 'force' flag to bypass this check)"
    )
    assert (answer.status, answer.text) == (400, words)
