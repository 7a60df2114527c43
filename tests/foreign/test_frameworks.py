"""Published framework libraries register, launch, kill and fail over, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.mesos.engine import Cluster, start_agent, start_master, wait_for
from tests.ports import free_port

from .client import Client, avmesos, mesos_framework

pytestmark = pytest.mark.long

Start = Callable[..., Client]


@pytest.fixture(params=[avmesos, mesos_framework], ids=["avmesos", "mesos-framework"])
def start(request: pytest.FixtureRequest) -> Start:
    return request.param


def tasks(cluster: Cluster, framework_id: str) -> dict[str, str]:
    """States by task id, as the master lists them."""
    listed = cluster.master.get("/tasks?limit=1000").json["tasks"]
    return {task["id"]: task["state"] for task in listed if task["framework_id"] == framework_id}


def frameworks(cluster: Cluster, kind: str = "frameworks") -> dict[str, Any]:
    return {entry["id"]: entry for entry in cluster.master.get("/frameworks").json[kind]}


def test_a_published_client_runs_tasks_and_another_process_of_it_takes_over(
    cluster: Cluster, start: Start, tmp_path: Path
) -> None:
    with start(cluster.address, tmp_path) as first:
        framework_id = first.wait("subscribed")["framework_id"]
        first.tell(launch=["one", "two"])
        # A library may lengthen the names.
        one, two = (first.wait("update", state="TASK_RUNNING")["task_id"] for _ in range(2))
        assert tasks(cluster, framework_id) == {one: "TASK_RUNNING", two: "TASK_RUNNING"}
        first.tell(kill=one)
        first.wait("update", task_id=one, state="TASK_KILLED")
        wait_for(lambda: tasks(cluster, framework_id)[one] == "TASK_KILLED", "the end is known")
        first.kill()
        wait_for(lambda: not frameworks(cluster)[framework_id]["connected"], "the break is noticed")
        assert tasks(cluster, framework_id)[two] == "TASK_RUNNING"
        assert [event for event in first.events if event["event"] == "error"] == []
    with start(cluster.address, tmp_path, framework_id) as second:
        assert second.wait("subscribed")["framework_id"] == framework_id
        second.tell(reconcile=[two])
        second.wait("update", task_id=two, state="TASK_RUNNING", reason="REASON_RECONCILIATION")
        second.tell(kill=two)
        second.wait("update", task_id=two, state="TASK_KILLED")
        second.tell(teardown=True)
        second.wait("torn-down")
        wait_for(
            lambda: framework_id in frameworks(cluster, "completed_frameworks"), "it is removed"
        )


def test_a_published_client_finds_its_task_again_after_the_master_was_killed(
    tmp_path: Path,
) -> None:
    cluster = Cluster(f"127.0.0.1:{free_port()}")
    cluster.own = True
    try:
        start_master(cluster, tmp_path, in_memory=False)
        start_agent(cluster, tmp_path, 0)
        cluster.wait_for_agents(1)
        with avmesos(cluster.address, tmp_path) as client:
            framework_id = client.wait("subscribed")["framework_id"]
            client.tell(launch=["survivor"])
            client.wait("update", task_id="survivor", state="TASK_RUNNING")
            cluster.processes[0].kill()
            client.wait("disconnected")
            cluster.processes[0].start()
            assert client.wait("subscribed")["framework_id"] == framework_id
            wait_for(lambda: "survivor" in tasks(cluster, framework_id), "the agent is back")
            client.tell(reconcile=["survivor"])
            client.wait("update", task_id="survivor", state="TASK_RUNNING")
            client.tell(kill="survivor")
            client.wait("update", task_id="survivor", state="TASK_KILLED")
            client.tell(teardown=True)
            client.wait("torn-down")
    finally:
        cluster.stop()
