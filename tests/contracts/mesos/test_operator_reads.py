"""What operators and tools read: operator-misc.json, operator-files.json, v0-endpoints.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.ports import free_port

from .client import Framework, Http, launch, listening, subscribed, task
from .engine import Cluster, start_master, wait_for
from .recordings import book, differences, recorded

Json = dict[str, Any]

# What belongs to the story of the recording rather than to the call.
OTHERS = ("GET_WEIGHTS", "GET_QUOTA", "GET_MASTER", "GET_ROLES", "GET_TASKS", "GET_FRAMEWORKS")
# Facts about the build.
BUILD = ("git_sha", "git_branch", "git_tag")
# There when a flag of the same name is.
BY_FLAG = ("cluster", "log_dir", "external_log_file")


def simple(entry: Json) -> bool:
    kind = entry["request"]["type"]
    if kind in OTHERS or "logging" in kind.lower():
        return False
    return "cut by the recorder" not in str(entry["body"]) and entry.get("note") not in {
        "a framework",
        "the same again",
    }


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=f"{number}-{entry['request']['type']}")
        for number, entry in enumerate(book("operator-misc.json"))
        if simple(entry)
    ],
)
@pytest.mark.contract(
    operator="GET_HEALTH GET_VERSION GET_FLAGS GET_METRICS GET_OPERATIONS GET_EXECUTORS",
    recordings="operator-misc.json",
)
@pytest.mark.contract(operator="LIST_FILES READ_FILE TEARDOWN", recordings="operator-misc.json")
def test_a_call_is_answered_as_recorded(master: Http, entry: Json) -> None:
    if "/master/log" in str(entry["request"]) and "/master/log" in master.get("/files/debug").text:
        pytest.skip("this master has a log file, the recorded one had none")
    answer = master.call("/api/v1", entry["request"])
    assert answer.status == entry["status"]
    assert answer.headers.get("content-type") == entry["headers"].get("Content-Type")
    if isinstance(entry["body"], str):
        assert answer.text == entry["body"]
    else:
        found = differences(answer.json, entry["body"])
        assert [line for line in found if not any(word in line for word in BUILD)] == []


def level(http: Http) -> int:
    answer = http.operator("GET_LOGGING_LEVEL").json
    assert answer["type"] == "GET_LOGGING_LEVEL"
    found: int = answer["get_logging_level"]["level"]
    return found


@pytest.mark.parametrize("who", ["master", "agent"])
@pytest.mark.contract(
    operator="GET_LOGGING_LEVEL SET_LOGGING_LEVEL",
    endpoints="/logging/toggle",
    recordings="operator-misc.json",
)
@pytest.mark.contract(
    agent_calls="GET_LOGGING_LEVEL SET_LOGGING_LEVEL", agent_endpoints="/logging/toggle"
)
def test_the_level_of_logging_is_raised_for_a_while(master: Http, agent: Http, who: str) -> None:
    http = {"master": master, "agent": agent}[who]
    before = level(http)  # by GLOG_v
    body = {"level": before + 1, "duration": {"nanoseconds": 10**12}}
    answer = http.operator("SET_LOGGING_LEVEL", set_logging_level=body)
    assert (answer.status, answer.body, level(http)) == (200, b"", before + 1)
    assert http.get("/logging/toggle").text == f"{before + 1}\n"
    for odd in (99, -1):
        short = {"level": odd, "duration": {"nanoseconds": 10**6}}
        assert http.operator("SET_LOGGING_LEVEL", set_logging_level=short).status == 200
    wait_for(lambda: level(http) == before, "the level is what it was")
    query = f"level={before + 1}&duration=1ms"
    answer = http.request("POST", f"/logging/toggle?{query}", b"")
    assert (answer.status, answer.body) == (200, b"")
    wait_for(lambda: level(http) == before, "the level is what it was")
    for query, words in (
        ("level=1", "Expecting 'duration=value' in query.\n"),
        ("duration=1secs", "Expecting 'level=value' in query.\n"),
        ("level=x&duration=1secs", "Failed to convert 'x' to number.\n"),
        ("level=-1&duration=1secs", "Invalid level '-1'.\n"),
        (f"level={before + 1}&duration=5", "Invalid duration '5'.\n"),
    ):
        refused = http.get(f"/logging/toggle?{query}")
        assert (refused.status, refused.text) == (400, words)


@pytest.mark.contract(endpoints="/system/stats.json", recordings="v0-endpoints.json")
@pytest.mark.contract(agent_endpoints="/system/stats.json")
def test_load_and_memory_of_the_host(master: Http, agent: Http) -> None:
    [theirs] = [e for e in book("v0-endpoints.json") if e["path"] == "/system/stats.json"]
    for http in (master, agent):
        assert differences(http.get("/system/stats.json").json, theirs["body"]) == []


# There once operators decided something.
REGISTRY_KEEPS = (
    *("gone", "machines", "minimum_capabilities", "quota_configs", "quotas", "schedules"),
    *("unreachable", "weights"),
)


@pytest.mark.contract(endpoints="/registrar(1)/registry", recordings="v0-endpoints.json")
def test_the_registry_lists_all_agents(master: Http) -> None:
    [theirs] = [e for e in book("v0-endpoints.json") if "registry" in e["path"]]
    ours = master.get("/registrar(1)/registry").json
    for optional in REGISTRY_KEEPS:
        ours.pop(optional, None)
        theirs["body"].pop(optional, None)
    assert differences(ours, theirs["body"]) == []
    mine, recorded = (seen["master"]["info"] for seen in (ours, theirs["body"]))
    assert mine["capabilities"] == recorded["capabilities"]
    known = {slave["id"] for slave in master.get("/slaves").json["slaves"]}
    assert {slave["info"]["id"]["value"] for slave in ours["slaves"]["slaves"]} >= known


def drained(master: Http, agent_id: str) -> bool:
    [slave] = master.get(f"/slaves?slave_id={agent_id}").json["slaves"]
    return slave.get("drain_info", {}).get("state") == "DRAINED"


@pytest.mark.contract(endpoints="/registrar(1)/registry")
def test_what_operators_decide_is_in_the_registry(master: Http) -> None:
    """`registry.proto` of Mesos: what a master must know to read it is listed with it."""
    quota = {"role": "registered", "limits": {"cpus": {"value": 1000.0}}}
    agent_id = master.get("/slaves").json["slaves"][0]["id"]
    call = {"agent_id": {"value": agent_id}}

    def found() -> tuple[list[Json], set[str], Json]:
        registry = master.get("/registrar(1)/registry").json
        needed = {each["capability"] for each in registry.get("minimum_capabilities", [])}
        agents = registry["slaves"]["slaves"]
        agent = next(each for each in agents if each["info"]["id"]["value"] == agent_id)
        return registry.get("quota_configs", []), needed, agent

    assert master.operator("UPDATE_QUOTA", update_quota={"quota_configs": [quota]}).status == 200
    assert master.operator("DRAIN_AGENT", drain_agent=call).status == 200
    try:
        wait_for(lambda: drained(master, agent_id), "the agent is drained")
        configs, needed, agent = found()
        assert quota in configs
        assert needed >= {"AGENT_DRAINING", "QUOTA_V2"}
        assert agent["drain_info"] == {"config": {"mark_gone": False}, "state": "DRAINED"}
        assert agent["deactivated"] is True
    finally:
        assert master.operator("REACTIVATE_AGENT", reactivate_agent=call).status == 200
        assert master.request("DELETE", f"/quota/{quota['role']}").status == 200
    configs, needed, agent = found()
    assert quota not in configs
    assert "AGENT_DRAINING" not in needed
    assert ("drain_info" in agent, agent["deactivated"]) == (False, False)


@pytest.mark.contract(operator="GET_STATE", recordings="op-get-state.json")
def test_the_whole_state_has_the_recorded_shape(master: Http) -> None:
    theirs = recorded("op-get-state.json")["body"]["get_state"]
    ours = master.operator("GET_STATE").json["get_state"]
    for state in (ours, theirs):
        for agent in state["get_agents"]["agents"]:
            for optional in ("allocated_resources", "offered_resources", "reregistered_time"):
                agent.pop(optional, None)
            del agent["capabilities"]
        # Tasks and frameworks are held to their own recordings.
        for lists in (state["get_frameworks"], state["get_tasks"]):
            lists.update({name: [] for name in lists})
    assert differences(ours, theirs) == []


@pytest.mark.contract(endpoints="/state", recordings="state-empty.json")
def test_state_has_every_field_that_mesos_gives(master: Http) -> None:
    theirs, ours = recorded("state-empty.json")["body"], master.get("/state").json
    for view in (theirs, ours):
        del view["flags"], view["slaves"], view["frameworks"], view["completed_frameworks"]
        for name in (*BUILD, *BY_FLAG, "capabilities"):
            view.pop(name, None)
    assert differences(ours, theirs) == []


METRICS = recorded("metrics.json")["body"]


@pytest.mark.contract(endpoints="/metrics/snapshot", recordings="metrics.json")
def test_every_metric_of_mesos_is_there(master: Http) -> None:
    ours = master.get("/metrics/snapshot").json
    wanted = {name for name in METRICS if "_ms" not in name}
    assert wanted - ours.keys() == set()
    assert all(isinstance(value, float) for value in ours.values())
    wait_for(
        lambda: "allocator/mesos/allocation_run_ms/p99" in master.get("/metrics/snapshot").json,
        "two allocations were measured",
    )


def of_framework(master: Http, framework: Framework) -> dict[str, float]:
    """Metrics of a framework by the end of their names."""
    prefix = f"master/frameworks/counted%20one/{framework.id}/"
    found: dict[str, float] = master.get("/metrics/snapshot").json
    return {
        name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)
    }


@pytest.mark.contract(endpoints="/metrics/snapshot", recordings="metrics-names.json")
def test_a_framework_is_counted(master: Http) -> None:
    names = recorded("metrics-names.json")["body"]
    before = master.get("/metrics/snapshot").json
    with subscribed(master, "counted one", failover_timeout=60.0) as framework:
        prefix = "master/frameworks/recorder-tmp-v0/"
        wanted = {name.removeprefix(prefix).partition("/")[2] for name in names if prefix in name}
        assert wanted - of_framework(master, framework).keys() == set()
        offer = framework.offers()[0]
        tasks = (
            *(task(offer, name, "exit 0") for name in ("c-1", "c-3")),
            task(offer, "c-2", "x", resources=[]),
        )
        framework.accept([offer], [launch(*tasks)])
        framework.status("c-2", "TASK_ERROR")
        for name in ("c-1", "c-3"):
            framework.status(name, "TASK_FINISHED")
        numbers = of_framework(master, framework)
        assert numbers["subscribed"] == 1.0
        assert numbers["calls/accept"] == numbers["calls/subscribe"] == 1.0
        assert numbers["offers/accepted"] == 1.0
        # One for each task that is sent to the agent.
        assert numbers["operations/launch"] == 2.0
        assert numbers["offers/sent"] >= 1.0
        assert numbers["tasks/terminal/task_finished"] == 2.0
        # Of a task that never was, only the whole master's metrics tell.
        assert numbers["tasks/terminal/task_error"] == 0.0
    after = master.get("/metrics/snapshot").json
    reason = "master/task_error/source_master/reason_task_invalid"
    for name, more in (
        ("master/tasks_finished", 2.0),
        ("master/tasks_error", 1.0),
        (reason, 1.0),
        ("master/messages_launch_tasks", 1.0),
    ):
        assert after[name] - before.get(name, 0.0) == more, name


@pytest.fixture
def lab(own_cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """A master of its own that logs into a file."""
    del own_cluster
    made = Cluster(f"127.0.0.1:{free_port()}")
    made.own = True
    try:
        start_master(made, tmp_path, f"--log_dir={tmp_path / 'logs'}")
        yield made
    finally:
        made.stop()


@pytest.mark.contract(
    operator="LIST_FILES READ_FILE",
    endpoints="/files/browse /files/read /files/download /files/debug",
    recordings="operator-files.json",
)
def test_the_log_of_the_master_can_be_read(lab: Cluster) -> None:
    with listening(lab.master):
        pass
    for entry in book("operator-files.json"):
        body = json.dumps(entry["request"]).encode() if entry.get("request") else None
        path = quote(entry["path"], safe="/?=&.")
        headers = entry.get("request_headers") or {}
        answer = lab.master.request(entry["method"], path, body, headers)
        assert answer.status == entry["status"], entry
        kind = entry["headers"].get("Content-Type")
        assert answer.headers.get("content-type") == kind, entry
        if "/files/download" in path:
            assert answer.text.startswith("Log file created at: ")
        elif "/files/debug" in path:
            [(shown, real)] = answer.json.items()
            assert shown == "/master/log"
            assert re.search(r"/mesos-master\.\S+\.log\.INFO\.\d{8}-\d{6}\.\d+$", real), real
        elif isinstance(entry["body"], str):
            assert answer.text == entry["body"]
        else:
            assert differences(answer.json, entry["body"]) == []
            for name in ("offset",):
                if name in entry["body"] and "offset=" in path and "offset=-1" not in path:
                    assert answer.json[name] == entry["body"][name]
