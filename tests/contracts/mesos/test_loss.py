"""Agents and masters that die: agent-restart*.jsonl, agent-gone*.jsonl, master-failover-*.jsonl."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from .client import Framework, launch, launch_group, scalar, subscribed, task
from .engine import Cluster, start_agent, start_master, wait_for
from .recordings import status_differences, status_of
from .sandbox import READY, until_ready

DURABLE = {"failover_timeout": 600.0}


@contextmanager
def cluster_of_its_own(directory: Path, **more: int) -> Iterator[Cluster]:
    """One agent, since it will be hurt."""
    made = Cluster(f"127.0.0.1:{free_port()}")
    made.own = True
    try:
        start_master(made, directory, in_memory=False, **more)
        start_agent(made, directory, 0)
        made.wait_for_agents(1)
        yield made
    finally:
        made.stop()


@pytest.fixture
def lab(own_cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """Its master gives an agent up soon."""
    del own_cluster
    with cluster_of_its_own(tmp_path) as made:
        yield made


@pytest.fixture
def patient_lab(own_cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """Its master waits as long as an agent takes to start again, on a busy machine, too."""
    del own_cluster
    with cluster_of_its_own(tmp_path, patience=30) as made:
        yield made


def running(framework: Framework, *task_ids: str, command: str = "sleep 1000") -> dict[str, Any]:
    """Tasks up to TASK_RUNNING, and an offer of the rest that is held; the offer."""
    offer = framework.offers()[0]
    framework.accept([offer], [launch(*(task(offer, name, command) for name in task_ids))])
    states: dict[str, str] = {}
    while set(states.values()) != {"TASK_RUNNING"} or len(states) < len(task_ids):
        event = framework.wait_type("UPDATE")["update"]["status"]
        framework.acknowledge(event)
        states[event["task_id"]["value"]] = event["state"]
    return framework.offers()[0]


def reconciled(framework: Framework, task_id: str, **where: Any) -> dict[str, Any]:
    framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": task_id}, **where}]})
    return framework.status(task_id)


@pytest.mark.contract(behaviour="agent-restart", events="RESCIND", recordings="agent-restart.jsonl")
def test_a_killed_agent_finds_its_tasks_again(patient_lab: Cluster) -> None:
    with subscribed(patient_lab.master, "restart", **DURABLE) as framework:
        held = running(framework, "re-cmd", "re-killed")
        agent = patient_lab.agents[0]
        agent.kill()
        assert framework.wait_type("RESCIND")["rescind"]["offer_id"] == held["id"]
        assert not status_differences(
            reconciled(framework, "re-cmd"),
            status_of("agent-restart.jsonl", "re-cmd", "TASK_RUNNING", 1),
        )
        # A kill that nobody could hear is carried out at the return.
        framework.call("KILL", kill={"task_id": {"value": "re-killed"}})
        agent.start()
        framework.status("re-killed", "TASK_KILLED")
        assert reconciled(framework, "re-cmd")["state"] == "TASK_RUNNING"
        assert framework.offers()


@pytest.mark.contract(behaviour="agent-loss", events="FAILURE", recordings="agent-restart.jsonl")
def test_an_agent_that_stays_away_makes_its_tasks_unreachable_until_it_returns(
    lab: Cluster,
) -> None:
    with subscribed(lab.master, "unreachable", **DURABLE) as framework:
        agent_id = running(framework, "re-cmd")["agent_id"]
        agent = lab.agents[0]
        agent.kill()
        theirs = status_of("agent-restart.jsonl", "re-cmd", "TASK_UNREACHABLE")
        assert not status_differences(framework.status("re-cmd", "TASK_UNREACHABLE"), theirs)
        assert "executor_id" not in framework.wait_type("FAILURE")["failure"]
        # Where the task was must be said, or the master looks nowhere.
        assert reconciled(framework, "re-cmd")["state"] == "TASK_UNKNOWN"
        told = reconciled(framework, "re-cmd", agent_id=agent_id)
        assert (told["state"], list(told["unreachable_time"])) == (
            "TASK_UNREACHABLE",
            ["nanoseconds"],
        )
        agent.start()
        theirs = next(
            status
            for position in range(9)
            if (status := status_of("agent-restart.jsonl", "re-cmd", "TASK_RUNNING", position)).get(
                "reason"
            )
            == "REASON_AGENT_REREGISTERED"
        )
        assert not status_differences(framework.status("re-cmd", "TASK_RUNNING"), theirs)


@pytest.mark.contract(behaviour="agent-loss old-frameworks")
def test_an_old_client_hears_since_when_a_task_is_lost(lab: Cluster) -> None:
    """`Master::__removeSlave` and `Master::reconcile`: TASK_LOST has an `unreachable_time`, too."""
    capabilities = [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}]
    with subscribed(lab.master, "old", capabilities=capabilities, **DURABLE) as framework:
        agent_id = running(framework, "lost")["agent_id"]
        lab.agents[0].kill()
        for told in (
            framework.status("lost", "TASK_LOST"),
            reconciled(framework, "lost", agent_id=agent_id),
        ):
            assert told["state"] == "TASK_LOST"
            assert list(told["unreachable_time"]) == ["nanoseconds"]


@pytest.mark.contract(
    behaviour="agent-loss agent-gone",
    operator="MARK_AGENT_GONE",
    events="UPDATE_OPERATION_STATUS",
    operations="RESERVE",
)
def test_what_was_out_of_reach_is_gone_when_its_agent_is_marked_so(lab: Cluster) -> None:
    """`Master::markGone` and `Master::sendBulkOperationFeedback`."""
    with subscribed(lab.master, "far", principal="far", **DURABLE) as framework:
        offer = running(framework, "far-1")
        agent_id = offer["agent_id"]
        reservation = {"type": "DYNAMIC", "role": "lab", "principal": "far"}
        part = scalar("disk", 32, reservations=[reservation])
        operation = {"id": {"value": "r"}, "type": "RESERVE", "reserve": {"resources": [part]}}
        framework.accept([offer], [operation])
        status = framework.wait_type("UPDATE_OPERATION_STATUS")["update_operation_status"]["status"]
        assert status["state"] == "OPERATION_FINISHED"
        lab.agents[0].kill()
        status = framework.wait_type("UPDATE_OPERATION_STATUS")["update_operation_status"]["status"]
        assert status == {
            "state": "OPERATION_UNREACHABLE",
            "operation_id": {"value": "r"},
            "message": "Agent was marked unreachable",
            "agent_id": agent_id,
        }
        framework.status("far-1", "TASK_UNREACHABLE")
        gone(lab, agent_id)
        theirs = status_of("agent-gone.jsonl", "gone-1", "TASK_GONE_BY_OPERATOR")
        assert not status_differences(framework.status("far-1"), theirs)
        shown = lab.master.get(f"/frameworks?framework_id={framework.id}").json["frameworks"][0]
        assert shown["unreachable_tasks"] == []
        assert [each["state"] for each in shown["completed_tasks"]] == ["TASK_GONE_BY_OPERATOR"]


@pytest.mark.contract(behaviour="agent-loss")
def test_a_frozen_agent_is_noticed_by_its_silence(lab: Cluster) -> None:
    with subscribed(lab.master, "frozen", **DURABLE) as framework:
        running(framework, "victim")
        lab.agents[0].signal(signal.SIGSTOP)
        try:
            framework.status("victim", "TASK_UNREACHABLE")
        finally:
            lab.agents[0].signal(signal.SIGCONT)
        assert framework.status("victim", "TASK_RUNNING")["reason"] == "REASON_AGENT_REREGISTERED"


@pytest.mark.contract(behaviour="agent-loss", recordings="agent-restart-not-checkpointed.jsonl")
def test_without_checkpoint_tasks_are_lost_with_the_connection(lab: Cluster) -> None:
    with subscribed(lab.master, "not-checkpointed", checkpoint=False, **DURABLE) as framework:
        running(framework, "not-checkpointed")
        lab.agents[0].kill()
        name = "agent-restart-not-checkpointed.jsonl"
        assert not status_differences(
            framework.status("not-checkpointed", "TASK_LOST"),
            status_of(name, "not-checkpointed", "TASK_LOST"),
        )


def gone(lab: Cluster, agent_id: Any) -> None:
    answer = lab.master.operator("MARK_AGENT_GONE", mark_agent_gone={"agent_id": agent_id})
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.contract(
    behaviour="agent-gone", operator="MARK_AGENT_GONE", recordings="agent-gone.jsonl"
)
def test_an_agent_marked_gone_never_comes_back(lab: Cluster) -> None:
    with subscribed(lab.master, "gone", **DURABLE) as framework:
        offer = running(framework, "gone-1")
        gone(lab, offer["agent_id"])
        gone(lab, offer["agent_id"])
        theirs = status_of("agent-gone.jsonl", "gone-1", "TASK_GONE_BY_OPERATOR")
        assert not status_differences(framework.status("gone-1"), theirs)
        framework.wait_type("RESCIND")
        framework.wait_type("FAILURE")
        asked = {"task_id": {"value": "gone-1"}, "agent_id": offer["agent_id"]}
        framework.call("RECONCILE", reconcile={"tasks": [asked]})
        theirs = status_of("agent-gone.jsonl", "gone-1", "TASK_GONE_BY_OPERATOR", 1)
        assert not status_differences(framework.status("gone-1"), theirs)
        assert reconciled(framework, "gone-1")["state"] == "TASK_UNKNOWN"
        agent = lab.agents[0].process
        assert agent is not None
        assert agent.wait(30) == 0
    unknown = {"agent_id": {"value": "no-such"}}
    answer = lab.master.operator("MARK_AGENT_GONE", mark_agent_gone=unknown)
    assert (answer.status, answer.text) == (404, "Agent 'no-such' not found")


@pytest.mark.contract(
    behaviour="agent-gone old-frameworks", recordings="agent-gone-not-partition-aware.jsonl"
)
def test_an_old_client_hears_of_a_gone_agent_as_lost(lab: Cluster) -> None:
    capabilities = [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}]
    with subscribed(lab.master, "old", capabilities=capabilities, **DURABLE) as framework:
        offer = running(framework, "gone-2")
        gone(lab, offer["agent_id"])
        name = "agent-gone-not-partition-aware.jsonl"
        assert not status_differences(
            framework.status("gone-2"), status_of(name, "gone-2", "TASK_LOST")
        )


@pytest.mark.contract(behaviour="master-restart")
def test_a_restarted_master_finds_agents_and_tasks_again(lab: Cluster) -> None:
    with subscribed(lab.master, "failover", **DURABLE) as framework:
        running(framework, "survivor")
        lab.processes[0].kill()
        framework.wait_end()
        lab.agents[0].signal(signal.SIGSTOP)
        try:
            lab.processes[0].start()
            lab.wait_for_master()
            assert lab.master.get("/slaves").json["recovered_slaves"]
            again = subscribed(lab.master, "failover", id={"value": framework.id}, **DURABLE)
            with again as returned:
                # Nothing is said about the task while its agent may still come back.
                returned.call(
                    "RECONCILE", reconcile={"tasks": [{"task_id": {"value": "survivor"}}]}
                )
                lab.agents[0].signal(signal.SIGCONT)
                returned.offers()
                assert [e for e in returned.events if e["type"] == "UPDATE"] == []
                returned.call("RECONCILE", reconcile={"tasks": []})
                assert returned.status("survivor")["state"] == "TASK_RUNNING"
                returned.call("KILL", kill={"task_id": {"value": "survivor"}})
                returned.status("survivor", "TASK_KILLED")
        finally:
            lab.agents[0].signal(signal.SIGCONT)
        framework.id = ""


def grouped(
    framework: Framework, *task_ids: str, command: str = f"{READY}exec sleep 1000"
) -> dict[str, Any]:
    """A group under the executor re-pod, its commands running; the offer that it took."""
    offer = framework.offers()[0]
    resources = [scalar("cpus", 0.1), scalar("mem", 32), scalar("disk", 32)]
    executor = {
        "type": "DEFAULT",
        "executor_id": {"value": "re-pod"},
        "framework_id": {"value": framework.id},
        "resources": resources,
    }
    tasks = [task(offer, name, command) for name in task_ids]
    framework.accept([offer], [launch_group(executor, *tasks)])
    for name in task_ids:
        until_ready(framework, framework.status(name, "TASK_RUNNING"))
    return offer


@pytest.mark.contract(
    behaviour="groups", operations="LAUNCH_GROUP", recordings="agent-restart.jsonl"
)
def test_a_killed_agent_finds_its_groups_again(patient_lab: Cluster) -> None:
    with subscribed(patient_lab.master, "groups", **DURABLE) as framework:
        grouped(framework, "re-g1", "re-g2")
        agent = patient_lab.agents[0]
        agent.kill()
        wait_for(
            lambda: not patient_lab.master.get("/slaves").json["slaves"][0]["active"],
            "the loss is seen",
        )
        # A kill that nobody could hear is carried out at the return, and takes the group along.
        framework.call("KILL", kill={"task_id": {"value": "re-g1"}})
        agent.start()
        for name in ("re-g1", "re-g2"):
            for state in ("TASK_KILLING", "TASK_KILLED"):
                theirs = status_of("agent-restart.jsonl", name, state)
                assert not status_differences(framework.status(name, state), theirs)
        failure = framework.wait_type("FAILURE")["failure"]
        assert (failure["executor_id"], failure["status"]) == ({"value": "re-pod"}, 0)


@pytest.mark.contract(behaviour="groups master-restart")
def test_a_restarted_master_finds_executors_again(lab: Cluster) -> None:
    """What an executor holds is held after the failover too; see `mesos-http-api.md`, 2."""
    with subscribed(lab.master, "groups-failover", **DURABLE) as framework:
        offer = grouped(framework, "left", "right")
        lab.processes[0].kill()
        framework.wait_end()
        lab.processes[0].start()
        lab.wait_for_master()
        with subscribed(
            lab.master, "groups-failover", id={"value": framework.id}, **DURABLE
        ) as again:
            later = again.offers()[0]
            assert later["executor_ids"] == [{"value": "re-pod"}]
            before, after = (
                next(r for r in entry["resources"] if r["name"] == "cpus")["scalar"]["value"]
                for entry in (offer, later)
            )
            assert after == pytest.approx(before - 0.3)
            again.call("RECONCILE", reconcile={"tasks": []})
            for name in ("left", "right"):
                # Acknowledged, if need be once more: the master may have died before it passed an
                # acknowledgement on, and an end is told only after what came before it.
                assert again.status(name)["state"] == "TASK_RUNNING"
            body = {"executor_id": {"value": "re-pod"}, "agent_id": later["agent_id"]}
            again.call("SHUTDOWN", shutdown=body)
            for name in ("left", "right"):
                again.status(name, "TASK_KILLED")
            assert again.wait_type("FAILURE")["failure"]["status"] == 0
        framework.id = ""
