"""What the agent answers readers and operators; as a process, beside a master that we play."""

import asyncio
import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .conftest import Play, one_task_runs

Json = dict[str, Any]


@pytest.mark.contract(agent_endpoints="/state /flags /version /metrics/snapshot")
@pytest.mark.contract(agent_endpoints="/containers /monitor/statistics /files/browse /files/read")
def test_what_it_shows(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        task = wire.task("t", "echo hello; sleep 600", labels={"labels": [{"key": "a"}]})
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=[task])
        await master.until_state("t", "TASK_RUNNING")
        for path in ("/state", "/slave(1)/state", "//state"):
            state = await agent_process.get(master, path)
        (executor,) = state["frameworks"][0]["executors"]
        (shown,) = executor["tasks"]
        assert [s["state"] for s in shown["statuses"]] == ["TASK_STARTING", "TASK_RUNNING"]
        assert executor["resources"]["cpus"] == 0.2
        assert state["pid"] == f"slave(1)@127.0.0.1:{master.address[1]}"
        assert state["unreserved_resources_allocated"]["mem"] == 32
        files = await agent_process.get(master, f"/files/browse?path={executor['directory']}")
        assert [Path(f["path"]).name for f in files] == ["stderr", "stdout"]
        virtual = "/frameworks/f-1/executors/t/runs/latest/stdout"
        path = f"/files/read?path={virtual}&offset=0"
        read = await agent_process.get(master, path)
        # The task runs, and may not have spoken yet.
        async with asyncio.timeout(60):
            while not read["data"]:
                read = await agent_process.get(master, path)
        assert read == {"data": "hello\n", "offset": 0}
        (container,) = await agent_process.get(master, "/containers")
        assert container["statistics"]["mem_limit_bytes"] == 64 << 20
        (statistics,) = await agent_process.get(master, "/monitor/statistics")
        assert statistics["executor_id"] == "t"
        metrics = await agent_process.get(master, "/metrics/snapshot")
        assert (metrics["slave/registered"], metrics["slave/tasks_running"]) == (1, 1)
        assert (metrics["slave/cpus_used"], metrics["slave/cpus_total"]) == (0.1, 4)
        flags = await agent_process.get(master, "/flags")
        assert flags["flags"]["port"] == "0"
        assert (await agent_process.get(master, "/version"))["version"] == "1.12.0"

    play(story)


async def call(master: Any, body: str, **headers: str) -> tuple[int, str]:
    """POST to /api/v1; status and text."""
    sent = {"Content-Type": "application/json"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    url = "http://{}:{}/api/v1".format(*master.address)
    request = urllib.request.Request(url, body.encode(), sent)

    def fetch() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


@pytest.mark.contract(
    agent_endpoints="/api/v1", agent_calls="GET_AGENT GET_CONTAINERS GET_EXECUTORS GET_FRAMEWORKS"
)
@pytest.mark.contract(
    agent_calls="GET_FLAGS GET_HEALTH GET_STATE GET_TASKS GET_VERSION LIST_FILES READ_FILE"
)
def test_the_operator_api(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    async def story(master: Any) -> None:
        await one_task_runs(master, agent_process, wire)

        async def read(kind: str, **part: Any) -> Any:
            body = {"type": kind} | ({kind.lower(): part} if part else {})
            status, text = await call(master, json.dumps(body))
            assert status == 200, text
            answer = json.loads(text)
            assert answer["type"] == kind
            return answer[kind.lower()]

        assert await read("GET_HEALTH") == {"healthy": True}
        assert (await read("GET_VERSION"))["version_info"]["version"] == "1.12.0"
        agent = await read("GET_AGENT")
        assert agent["agent_info"]["id"] == {"value": "m-S0"}
        (task,) = (await read("GET_TASKS"))["launched_tasks"]
        assert (task["state"], task["status_update_state"]) == ("TASK_RUNNING", "TASK_RUNNING")
        (container,) = (await read("GET_CONTAINERS"))["containers"]
        assert container["executor_id"] == {"value": "t"}
        assert set(await read("GET_STATE")) == {"get_tasks", "get_executors", "get_frameworks"}
        assert (await read("GET_FRAMEWORKS"))["frameworks"][0]["framework_info"]["name"] == "f-1"
        assert (await read("GET_EXECUTORS"))["executors"][0]["executor_info"]["source"] == "t"
        assert {"name": "port", "value": "0"} in (await read("GET_FLAGS"))["flags"]
        path = "/frameworks/f-1/executors/t/runs/latest"
        listed = await read("LIST_FILES", path=path)
        assert listed["file_infos"][0]["path"] == f"{path}/stderr"
        part = await read("READ_FILE", path=f"{path}/stderr", offset=0, length=1)
        assert base64.b64decode(part["data"]) == b"I"

    play(story)


MALFORMED = [
    ("", {}, 400, "Failed to parse body into JSON: syntax error at line 1 near: "),
    ("[]", {}, 400, "Expecting a JSON object"),
    ("{}", {}, 400, "Failed to validate agent::Call: Expecting 'type' to be present"),
    (
        '{"type":"GET_AGENTS"}',
        {},
        400,
        "Failed to validate agent::Call: Expecting 'type' to be present",
    ),
    ('{"type":1}', {}, 400, "Not expecting a JSON number for field 'type'"),
    ('{"type":"UNKNOWN"}', {}, 501, "501 Not Implemented."),
    (
        '{"type":"GET_VERSION"} trailing',
        {},
        400,
        (
            "Failed to parse body into JSON: Parsed JSON included non-whitespace trailing "
            "characters:  trailing"
        ),
    ),
    (
        '{"type":"GET_VERSION"}',
        {"Content_Type": "text/plain"},
        415,
        (
            "Expecting 'Content-Type' of application/json or application/x-protobuf or "
            "application/recordio"
        ),
    ),
    (
        '{"type":"GET_VERSION"}',
        {"Accept": "text/html"},
        406,
        (
            "Expecting 'Accept' to allow application/json or application/x-protobuf or "
            "application/recordio"
        ),
    ),
    (
        '{"type":"READ_FILE"}',
        {},
        400,
        "Failed to validate agent::Call: Expecting 'read_file' to be present",
    ),
    (
        '{"type":"LAUNCH_CONTAINER","launch_container":{}}',
        {},
        501,
        "The embedded agent does not support the call LAUNCH_CONTAINER",
    ),
    ('{"type":"LIST_FILES","list_files":{"path":"/etc"}}', {}, 404, ""),
]


def test_malformed_calls_are_answered_as_mesos_does(play: Play, agent_process: Any) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        for body, headers, status, text in MALFORMED:
            assert await call(master, body, **headers) == (status, text), body

    play(story)


@pytest.mark.contract(behaviour="authentication")
def test_basic_authentication(play: Play, agent_process: Any) -> None:
    credentials = {"credentials": [{"principal": "ops", "secret": "geheim"}]}

    async def story(master: Any) -> None:
        agent_process.start(
            master,
            "--authenticate_http_readonly=true",
            "--authenticate_http_readwrite=true",
            f"--http_credentials={json.dumps(credentials)}",
        )
        await master.registered()
        for path, realm in (("/state", "readonly"), ("/files/debug", "readonly")):
            with pytest.raises(urllib.error.HTTPError) as refused:
                await agent_process.get(master, path)
            with refused.value as answer:
                assert answer.code == 401
                expected = f'Basic realm="mesos-agent-{realm}"'
                assert answer.headers["WWW-Authenticate"] == expected
        assert await call(master, '{"type":"GET_HEALTH"}') == (401, "401 Unauthorized.")
        for secret, status in (("geheim", 200), ("falsch", 401)):
            header = "Basic " + base64.b64encode(f"ops:{secret}".encode()).decode()
            found, _ = await call(master, '{"type":"GET_HEALTH"}', Authorization=header)
            assert found == status
        assert (await agent_process.get(master, "/version"))["version"] == "1.12.0"

    play(story)
