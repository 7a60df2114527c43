"""What other tools read: v0-endpoints.json, op-*.json, state-running.json and so on."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from .client import Http, launch, subscribed, task
from .engine import Cluster, wait_for
from .recordings import book, differences, recorded

# Facts about the build that the embedded engine does not have, and times of a restart.
BUILD = ("git_sha", "git_branch", "git_tag", "reregistered_time", "capabilities")
# There when a flag of the same name is.
BY_FLAG = ("cluster", "log_dir", "external_log_file")


def departures(ours: Any, theirs: Any) -> list[str]:
    return [line for line in differences(ours, theirs) if not any(word in line for word in BUILD)]


@pytest.mark.contract(endpoints="/health")
def test_health_answers_with_nothing(master: Http) -> None:
    answer = master.get("/health")
    assert (answer.status, answer.body) == (200, b"")
    assert "content-type" not in answer.headers


@pytest.mark.contract(endpoints="/redirect")
def test_redirect_names_the_leader_without_a_scheme(master: Http) -> None:
    for path in ("/redirect", "/master/redirect"):
        answer = master.get(path)
        assert answer.status == 307
        info = master.get("/state").json["leader_info"]
        assert answer.headers["location"] == f"//{info['hostname']}:{info['port']}"


@pytest.mark.parametrize("name", ["version", "slaves", "op-get-version", "op-get-master"])
@pytest.mark.contract(endpoints="/version", recordings="version.json")
@pytest.mark.contract(endpoints="/slaves", recordings="slaves.json")
@pytest.mark.contract(operator="GET_VERSION", recordings="op-get-version.json")
@pytest.mark.contract(operator="GET_MASTER", recordings="op-get-master.json")
def test_an_endpoint_has_the_recorded_shape(master: Http, name: str) -> None:
    theirs = recorded(f"{name}.json")
    if "call" in theirs:
        answer = master.operator(theirs["call"]["type"])
    else:
        answer = master.get(theirs["path"])
    assert answer.status == theirs["status"]
    assert answer.headers["content-type"] == "application/json"
    assert departures(answer.json, theirs["body"]) == []


@pytest.mark.contract(operator="GET_HEALTH", recordings="op-get-health.json")
def test_get_health(master: Http) -> None:
    assert master.operator("GET_HEALTH").json == recorded("op-get-health.json")["body"]


@pytest.mark.contract(operator="GET_AGENTS", recordings="op-get-agents.json")
def test_agents_have_the_recorded_shape(master: Http) -> None:
    ours = master.operator("GET_AGENTS").json
    for agent in ours["get_agents"]["agents"]:
        for optional in ("allocated_resources", "offered_resources", "reregistered_time"):
            agent.pop(optional, None)
    assert departures(ours, recorded("op-get-agents.json")["body"]) == []


@pytest.mark.contract(operator="GET_FRAMEWORKS", recordings="op-get-frameworks.json")
def test_frameworks_have_the_recorded_shape(master: Http) -> None:
    with subscribed(master, "views", suppressed=["lab"]):
        ours = master.operator("GET_FRAMEWORKS").json["get_frameworks"]["frameworks"][-1]
    theirs = recorded("op-get-frameworks.json")["body"]["get_frameworks"]["frameworks"][0]
    theirs.pop("allocated_resources")
    assert departures(ours, theirs) == []


@pytest.mark.contract(endpoints="/state", recordings="state-running.json")
def test_state_has_the_recorded_shape(master: Http) -> None:
    ours, theirs = master.get("/state").json, recorded("state-running.json")["body"]
    for view in (ours, theirs):
        for part in ("flags", "frameworks", "completed_frameworks"):
            del view[part]
        for part in BY_FLAG:
            view.pop(part, None)
    assert departures(ours, theirs) == []
    assert ours["leader"] == ours["pid"]


@pytest.mark.contract(endpoints="/state /state-summary /slaves /frameworks /tasks /roles /flags")
def test_every_read_endpoint_answers_under_both_paths_and_to_post(master: Http) -> None:
    for name in ("state", "state-summary", "slaves", "frameworks", "tasks", "roles", "flags"):
        for path in (f"/{name}", f"/master/{name}"):
            assert master.get(path).status == 200, path
        assert master.request("POST", f"/{name}", b"").status == 200
    assert master.get("/state.json").status == 404
    assert master.get("//state").status == 200


# GET endpoints of the recording that say what is wrong with a request.
WRONG = [
    pytest.param(entry, id=f"{entry['method']} {entry['path']}")
    for entry in book("v0-endpoints.json")
    if entry["status"] in {400, 404, 405} and "profiler" not in entry["path"]
    if "-1secs" not in entry["path"] and "timeout=x" not in entry["path"]
    if "offset=x" not in entry["path"]
]


@pytest.mark.parametrize("entry", WRONG)
@pytest.mark.contract(endpoints="/metrics/snapshot /teardown", recordings="v0-endpoints.json")
@pytest.mark.contract(
    endpoints="/files/browse /files/read /files/download", recordings="v0-endpoints.json"
)
def test_a_wrong_request_is_answered_as_recorded(master: Http, entry: dict[str, Any]) -> None:
    if "/master/log" in entry["path"] and "/master/log" in master.get("/files/debug").text:
        pytest.skip("this master has a log file, the recorded one had none")
    request = entry.get("request")
    body = request.encode() if isinstance(request, str) else None
    path = quote(entry["path"], safe="/?=&.")
    answer = master.request(entry["method"], path, body, entry.get("request_headers") or {})
    assert (answer.status, answer.text) == (entry["status"], entry["body"])


@pytest.mark.contract(endpoints="/metrics/snapshot", operator="GET_METRICS")
def test_metrics_have_the_names_that_monitoring_reads(master: Http) -> None:
    metrics = master.get("/metrics/snapshot").json
    for name in (
        *("master/elected", "master/slaves_active", "master/slaves_inactive"),
        *("master/frameworks_connected", "master/tasks_running", "master/tasks_finished"),
        *("master/cpus_total", "master/mem_used"),
    ):
        assert isinstance(metrics[name], float)
    assert metrics["master/elected"] == 1.0
    answer = master.operator("GET_METRICS", get_metrics={})
    listed = {entry["name"] for entry in answer.json["get_metrics"]["metrics"]}
    assert "master/elected" in listed


@pytest.mark.contract(endpoints="/teardown", operator="TEARDOWN")
def test_a_framework_is_torn_down_by_an_operator(master: Http) -> None:
    with subscribed(master, "operated", failover_timeout=600.0) as framework:
        body = f"frameworkId={framework.id}".encode()
        assert master.request("POST", "/teardown", body).status == 200
        framework.wait_end()
        again = master.operator("TEARDOWN", teardown={"framework_id": {"value": framework.id}})
        assert (again.status, again.text) == (400, "No framework found with specified ID")
        framework.id = ""


@pytest.mark.contract(endpoints="/tasks")
def test_completed_tasks_can_be_paged(cluster: Cluster) -> None:
    with subscribed(cluster.master, "paged") as framework:
        offer = framework.offers()[0]
        names = ["p-1", "p-2", "p-3"]
        framework.accept([offer], [launch(*(task(offer, name, "exit 0") for name in names))])
        done: set[str] = set()
        while len(done) < len(names):
            status = framework.wait_type("UPDATE")["update"]["status"]
            framework.acknowledge(status)
            done |= {status["task_id"]["value"]} if status["state"] == "TASK_FINISHED" else set()

        def completed() -> bool:
            shown = cluster.master.get(f"/frameworks?framework_id={framework.id}").json
            return len(shown["frameworks"][0]["completed_tasks"]) == len(names)

        wait_for(completed, "all ends are acknowledged")
        query = f"/tasks?framework_id={framework.id}"

        def listed(more: str) -> list[str]:
            return [entry["id"] for entry in cluster.master.get(query + more).json["tasks"]]

        everything = listed("&order=asc")
        assert sorted(everything) == names
        assert listed("&order=desc") == everything[::-1]
        assert listed("&limit=1&offset=1&order=asc") == everything[1:2]
        assert listed("&limit=0") == []
        assert sorted(listed("&limit=-1")) == names
        assert listed("&offset=999") == []
