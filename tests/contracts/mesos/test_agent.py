"""What an agent shows of itself and of its tasks."""

from __future__ import annotations

import pytest

from .client import Framework, Http, Json, launch, task
from .engine import wait_for

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
