"""What an agent shows of itself and of its tasks."""

from __future__ import annotations

import pytest

from .client import Framework, Http, Json, launch, task
from .engine import wait_for
from .recordings import book, differences

CALLS = (
    *("GET_AGENT", "GET_CONTAINERS", "GET_EXECUTORS", "GET_FLAGS", "GET_FRAMEWORKS", "GET_HEALTH"),
    *("GET_LOGGING_LEVEL", "GET_OPERATIONS", "GET_RESOURCE_PROVIDERS", "GET_STATE", "GET_TASKS"),
    "GET_VERSION",
)


@pytest.mark.contract(agent_endpoints="/health /version /state /flags /metrics/snapshot")
@pytest.mark.contract(agent_endpoints="/containers /monitor/statistics /files/debug")
def test_every_read_endpoint_answers(agent: Http) -> None:
    answer = agent.get("/health")
    assert (answer.status, answer.body) == (200, b"")
    for name in ("version", "state", "flags", "metrics/snapshot", "files/debug"):
        assert type(agent.get(f"/{name}").json) is dict, name
    for name in ("containers", "monitor/statistics"):
        assert type(agent.get(f"/{name}").json) is list, name
    for name in ("state", "flags", "containers", "monitor/statistics"):
        assert agent.get(f"/slave(1)/{name}").status == 200, name


@pytest.mark.contract(agent_endpoints="/api/v1", agent_calls="GET_AGENT GET_CONTAINERS")
@pytest.mark.contract(agent_calls="GET_EXECUTORS GET_FLAGS GET_FRAMEWORKS GET_HEALTH GET_STATE")
@pytest.mark.contract(agent_calls="GET_LOGGING_LEVEL GET_OPERATIONS GET_RESOURCE_PROVIDERS")
@pytest.mark.contract(agent_calls="GET_TASKS GET_VERSION")
@pytest.mark.parametrize("kind", CALLS)
def test_an_operator_reads(agent: Http, kind: str) -> None:
    answer = agent.operator(kind)
    assert (answer.status, answer.json["type"]) == (200, kind)
    assert type(answer.json.get(kind.lower(), {})) is dict


@pytest.mark.contract(agent_endpoints="/files/browse /files/read /files/download")
@pytest.mark.contract(agent_calls="LIST_FILES READ_FILE")
def test_a_sandbox_can_be_read_in_every_way(framework: Framework, agent: Http) -> None:
    own = agent.get("/state").json["id"]

    def of_this_agent(event: Json) -> bool:
        offers = event.get("offers", {}).get("offers", [])
        return own in [offer["agent_id"]["value"] for offer in offers]

    offers = framework.wait(of_this_agent)["offers"]["offers"]
    chosen = next(offer for offer in offers if offer["agent_id"]["value"] == own)
    framework.accept([chosen], [launch(task(chosen, "talker", "echo hello; exec sleep 100"))])
    framework.status("talker", "TASK_RUNNING")
    mine = next(f for f in agent.get("/state").json["frameworks"] if f["id"] == framework.id)
    sandbox = mine["executors"][0]["directory"]
    wait_for(lambda: b"hello" in agent.get(f"/files/download?path={sandbox}/stdout").body, "hello")
    listed = agent.get(f"/files/browse?path={sandbox}").json
    assert f"{sandbox}/stdout" in [entry["path"] for entry in listed]
    part = agent.get(f"/files/read?path={sandbox}/stdout&offset=0&length=100000").json
    assert (part["offset"], "hello" in part["data"]) == (0, True)
    files = agent.operator("LIST_FILES", list_files={"path": sandbox}).json["list_files"]
    paths = [info["path"] for info in files["file_infos"]]
    assert f"{sandbox}/stdout" in paths
    asked = {"path": f"{sandbox}/stdout", "offset": 0}
    assert agent.operator("READ_FILE", read_file=asked).json["read_file"]["size"] >= len("hello\n")


WHERE_IT_APPLIES = (
    *("git_sha", "git_branch", "git_tag", "log_dir", "external_log_file"),
    "master_hostname",
)
"""Of a build from Git, of an agent with these flags, and where the master's address has a name."""

RECORDED = {entry["path"]: entry["body"] for entry in reversed(book("agent-endpoints.json"))}


@pytest.mark.contract(agent_endpoints="/state", recordings="agent-endpoints.json")
def test_state_has_every_field_that_mesos_gives(framework: Framework, agent: Http) -> None:
    own = agent.get("/state").json["id"]
    found = framework.wait(
        lambda event: (
            own in [o["agent_id"]["value"] for o in event.get("offers", {}).get("offers", [])]
        )
    )
    offers = found["offers"]["offers"]
    chosen = next(offer for offer in offers if offer["agent_id"]["value"] == own)
    framework.accept([chosen], [launch(task(chosen, "ag-run", "sleep 1000"))])
    framework.status("ag-run", "TASK_RUNNING")
    ours, theirs = agent.get("/state").json, RECORDED["/state"]
    for view in (ours, theirs):
        # What is reserved or ended before differs from run to run; flags have a test of their own.
        for name in ("flags", "capabilities", "completed_frameworks", "attributes"):
            del view[name]
        for kind in ("", "_full", "_allocated"):
            view["reserved_resources" + kind] = {}
        for name in WHERE_IT_APPLIES:
            view.pop(name, None)
        view["frameworks"] = [
            found
            for found in view["frameworks"]
            if found["name"] == "recorder-tmp-agent" or found["id"] == framework.id
        ]
        [shown] = view["frameworks"]
        shown["executors"] = [e for e in shown["executors"] if e["id"] == "ag-run"]
        shown["completed_executors"] = []
        shown.pop("principal", None)
    assert differences(ours, theirs) == []


@pytest.mark.contract(
    agent_endpoints="/metrics/snapshot",
    agent_calls="GET_METRICS",
    recordings="agent-endpoints.json",
)
def test_every_metric_of_mesos_is_there(agent: Http) -> None:
    ours = agent.get("/metrics/snapshot").json
    assert set(RECORDED["/metrics/snapshot"]) - ours.keys() == set()
    answer = agent.operator("GET_METRICS", get_metrics={})
    listed = {entry["name"] for entry in answer.json["get_metrics"]["metrics"]}
    assert listed == ours.keys()
    refused = agent.operator("GET_METRICS")
    words = "Failed to validate agent::Call: Expecting 'get_metrics' to be present"
    assert (refused.status, refused.text) == (400, words)


CONTAINERS = [
    pytest.param(entry, id=f"{number}-{entry['note']}")
    for number, entry in enumerate(book("agent-endpoints.json"))
    if entry.get("note") in {"unknown", "no container id", "no parent", "wait after removal"}
    and entry["request"]["type"].startswith(("WAIT_", "KILL_"))
]


@pytest.mark.contract(
    agent_calls="WAIT_CONTAINER KILL_CONTAINER WAIT_NESTED_CONTAINER",
    recordings="agent-endpoints.json",
)
@pytest.mark.parametrize("entry", CONTAINERS)
def test_a_container_that_is_not_there(agent: Http, entry: Json) -> None:
    answer = agent.call("/api/v1", entry["request"])
    assert (answer.status, answer.text) == (entry["status"], entry["body"])
