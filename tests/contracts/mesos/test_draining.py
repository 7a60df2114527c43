"""Drain, deactivation, reactivation: operator-drain*.json and drain-*.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from .client import DEADLINE, Framework, Http, launch, subscribed, task
from .engine import Cluster, start_agent, start_master, wait_for
from .recordings import book, differences, status_differences, status_of, story
from .sandbox import READY, until_ready

Json = dict[str, Any]

DEAF = f"trap '' TERM; {READY}while true; do sleep 1; done"
DURABLE = {"failover_timeout": 600.0}
STORY = "drain-framework-side.jsonl"
SHORTENED = "drain-http-command-executor.jsonl"


def policy(seconds: float) -> Json:
    return {"grace_period": {"nanoseconds": int(seconds * 1e9)}}


def operate(master: Http, kind: str, agent_id: str, **more: Any) -> tuple[int, str]:
    answer = master.operator(kind, **{kind.lower(): {"agent_id": {"value": agent_id}, **more}})
    return answer.status, answer.text


def agent_of(master: Http, agent_id: str) -> Json:
    """The agent as GET_AGENTS shows it."""
    agents = master.operator("GET_AGENTS").json["get_agents"]["agents"]
    return next(each for each in agents if each["agent_info"]["id"]["value"] == agent_id)


def drained(master: Http, agent_id: str) -> None:
    """Master and agent both say so: until then the agent drops what is launched on it."""

    def done() -> bool:
        return agent_of(master, agent_id)["drain_info"]["state"] == "DRAINED"

    wait_for(done, "the agent is drained")
    [slave] = master.get(f"/slaves?slave_id={agent_id}").json["slaves"]
    agent = Http(slave["pid"].partition("@")[2], master.credential)
    wait_for(lambda: "drain_config" not in agent.get("/state").json, "the agent is done, too")


def running(framework: Framework, *tasks: tuple[str, str, float]) -> str:
    """Tasks (name, command, seconds of grace) up to TASK_RUNNING; the id of their agent.

    A command that says ``ready`` has done so.
    """
    offer = framework.offers()[0]
    made = [task(offer, name, command, kill_policy=policy(g)) for name, command, g in tasks]
    framework.accept([offer], [launch(*made)])
    for name, command, _ in tasks:
        status = framework.status(name, "TASK_RUNNING")
        if READY in command:
            until_ready(framework, status)
    return offer["agent_id"]["value"]


@contextmanager
def reactivated(master: Http) -> Iterator[None]:
    """All agents are active afterwards, whatever happened."""
    try:
        yield
    finally:
        for agent in master.operator("GET_AGENTS").json["get_agents"]["agents"]:
            if agent["deactivated"]:
                agent_id = agent["agent_info"]["id"]["value"]
                if agent.get("drain_info", {}).get("state") == "DRAINING":
                    drained(master, agent_id)
                operate(master, "REACTIVATE_AGENT", agent_id)


def recorded_agent(note: str) -> Json:
    """The first agent in the recorded answer to GET_AGENTS."""
    [entry] = [e for e in book("operator-drain.json") if e.get("note") == note]
    agent: Json = entry["body"]["get_agents"]["agents"][0]
    return agent


def agent_differences(ours: Json, theirs: Json) -> list[str]:
    """Where what the recorder kept of the agent is not there, or is shaped otherwise."""
    shown = {name: ours[name] for name in theirs if name in ours}
    theirs = json.loads(json.dumps(theirs))
    for view in (shown, theirs):
        view["agent_info"].pop("resources", None)
        view["agent_info"].pop("attributes", None)
    found = differences(shown, theirs)
    for name in ("active", "deactivated"):
        if shown[name] != theirs[name]:
            found.append(f"{name}: {shown[name]}, recorded {theirs[name]}")
    return found


@pytest.mark.contract(
    operator="DRAIN_AGENT REACTIVATE_AGENT",
    behaviour="drain",
    events="RESCIND",
    recordings="operator-drain.json drain-framework-side.jsonl",
)
def test_a_drain_kills_tasks_and_withdraws_offers(master: Http) -> None:
    with subscribed(master, "drained", **DURABLE) as framework, reactivated(master):
        agent_id = running(framework, ("d-polite", READY + "sleep 600", 3), ("d-deaf", DEAF, 2))
        held = next(
            offer
            for event in iter(lambda: framework.wait_type("OFFERS"), None)
            for offer in event["offers"]["offers"]
            if offer["agent_id"]["value"] == agent_id
        )
        assert operate(master, "DRAIN_AGENT", agent_id, max_grace_period={"seconds": 3}) == (
            200,
            "",
        )
        assert framework.wait_type("RESCIND")["rescind"]["offer_id"] == held["id"]
        assert not agent_differences(agent_of(master, agent_id), recorded_agent("draining"))
        assert operate(master, "DRAIN_AGENT", agent_id, max_grace_period={"seconds": 1}) == (
            200,
            "",
        )
        info = agent_of(master, agent_id)["drain_info"]
        grace = {"max_grace_period": {"nanoseconds": 10**9}, "mark_gone": False}
        assert info == {"state": "DRAINING", "config": grace}
        [slave] = master.get(f"/slaves?slave_id={agent_id}").json["slaves"]
        [theirs] = [e for e in book("operator-drain.json") if e.get("note") == "the v0 view"][:1]
        theirs = theirs["body"]["slaves"][0]
        assert differences({name: slave[name] for name in theirs}, theirs) == []
        refused = (400, "Agent is still in the DRAINING state")
        assert operate(master, "REACTIVATE_AGENT", agent_id) == refused
        for name in ("d-polite", "d-deaf"):
            for state in ("TASK_KILLING", "TASK_KILLED"):
                assert not status_differences(
                    framework.status(name, state), status_of(STORY, name, state)
                )
        drained(master, agent_id)
        assert not agent_differences(agent_of(master, agent_id), recorded_agent("drained"))
        assert operate(master, "REACTIVATE_AGENT", agent_id) == (200, "")
        assert not agent_differences(agent_of(master, agent_id), recorded_agent("active again"))
        framework.call("REVIVE")
        framework.wait(
            lambda e: (
                e["type"] == "OFFERS"
                and agent_id in [o["agent_id"]["value"] for o in e["offers"]["offers"]]
            )
        )


@pytest.mark.contract(
    operator="DEACTIVATE_AGENT REACTIVATE_AGENT DRAIN_AGENT", recordings="operator-drain.json"
)
def test_a_deactivated_agent_keeps_its_tasks_and_is_not_offered(master: Http) -> None:
    with subscribed(master, "deactivated", **DURABLE) as framework, reactivated(master):
        agent_id = running(framework, ("kept", "sleep 600", 3))
        assert operate(master, "DEACTIVATE_AGENT", agent_id) == (200, "")
        assert operate(master, "DEACTIVATE_AGENT", agent_id) == (200, "")
        assert not agent_differences(agent_of(master, agent_id), recorded_agent("deactivated"))
        state = master.get("/state").json
        assert state["deactivated_slaves"] == 1.0
        metrics = master.get("/metrics/snapshot").json
        assert (metrics["master/slaves_inactive"], metrics["master/slaves_disconnected"]) == (1, 0)
        framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": "kept"}}]})
        assert framework.status("kept")["state"] == "TASK_RUNNING"
        others = [
            offer["id"]
            for event in framework.events
            if event["type"] == "OFFERS"
            for offer in event["offers"]["offers"]
            if offer["agent_id"]["value"] != agent_id
        ]
        declined = {"offer_ids": others, "filters": {"refuse_seconds": 1000}}
        framework.call("DECLINE", decline=declined)
        with subscribed(master, "hungry") as other:
            seen = {offer["agent_id"]["value"] for offer in other.offers()}
            assert seen
            assert agent_id not in seen
        framework.call("KILL", kill={"task_id": {"value": "kept"}})
        framework.status("kept", "TASK_KILLED")
        # Nothing is left to be drained of: it is at once.
        wait_for(lambda: not agent_of(master, agent_id).get("allocated_resources"), "it is idle")
        assert operate(master, "DRAIN_AGENT", agent_id) == (200, "")
        drained(master, agent_id)
        info = agent_of(master, agent_id)["drain_info"]
        assert info == {"state": "DRAINED", "config": {"mark_gone": False}}


MISTAKES = [
    pytest.param(entry, id=f"{entry['request']['type']}-{number}")
    for number, entry in enumerate(book("operator-drain.json"))
    if entry["status"] in {400, 404} and entry["body"] != "Agent is still in the DRAINING state"
]


@pytest.mark.parametrize("entry", MISTAKES)
@pytest.mark.contract(
    operator="DRAIN_AGENT DEACTIVATE_AGENT REACTIVATE_AGENT MARK_AGENT_GONE",
    recordings="operator-drain.json operator-drain-http-command-executor.json",
)
def test_a_mistake_is_answered_as_recorded(master: Http, entry: Json) -> None:
    agent_id = master.get("/slaves").json["slaves"][0]["id"]
    call = json.loads(json.dumps(entry["request"]))
    given = call.get(call["type"].lower(), {}).get("agent_id", {})
    if given and given["value"] != "no-such":
        given["value"] = agent_id
    answer = master.call("/api/v1", call)
    assert (answer.status, answer.text) == (entry["status"], entry["body"])


@pytest.mark.contract(operator="DRAIN_AGENT", recordings="operator-drain.json")
def test_forms_of_the_grace_period(master: Http) -> None:
    """`{"nanoseconds": n}` is read as nothing, and a negative one is taken."""
    agent_id = master.get("/slaves").json["slaves"][0]["id"]
    with reactivated(master):
        for given, shown in (
            ({"nanoseconds": 2 * 10**9}, 0),
            ({"seconds": -2}, -2 * 10**9),
            ({"seconds": 1, "nanos": 5}, 10**9 + 5),
        ):
            assert operate(master, "DRAIN_AGENT", agent_id, max_grace_period=given) == (200, "")
            config = agent_of(master, agent_id)["drain_info"]["config"]
            assert config["max_grace_period"] == {"nanoseconds": shown}


@pytest.mark.contract(operator="DRAIN_AGENT", recordings="ha-and-operator.json")
def test_an_agent_with_a_maintenance_schedule_is_not_drained(master: Http) -> None:
    slave = master.get("/slaves").json["slaves"][0]
    ip = slave["pid"].partition("@")[2].rpartition(":")[0]
    machine = {"hostname": slave["hostname"], "ip": ip}
    windows = [{"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": 2 * 10**18}}}]
    master.call("/maintenance/schedule", {"windows": windows})
    try:
        answer = operate(master, "DRAIN_AGENT", slave["id"])
    finally:
        assert master.call("/maintenance/schedule", {"windows": []}).status == 200
    schedule = f"maintenance schedule under Machine {machine['hostname']} ({ip})"
    assert answer == (400, f"Agent {slave['id']} is part of a {schedule}")


@contextmanager
def own_lab(directory: Path, *flags: str) -> Iterator[Cluster]:
    made = Cluster(f"127.0.0.1:{free_port()}")
    made.own = True
    try:
        start_master(made, directory, in_memory=False, patience=30)
        start_agent(made, directory, 0, *flags)
        made.wait_for_agents(1)
        yield made
    finally:
        made.stop()


@pytest.mark.contract(
    behaviour="drain", recordings="drain-framework-side.jsonl operator-drain.json"
)
def test_drained_to_be_gone(own_flags: None, tmp_path: Path) -> None:
    """The whole end of the recorded story: the framework hears GONE_BY_OPERATOR, then FAILURE."""
    with own_lab(tmp_path) as lab, subscribed(lab.master, "gone", **DURABLE) as framework:
        agent_id = running(framework, ("d-gone", "sleep 600", 3))
        more = {"mark_gone": True, "max_grace_period": {"seconds": 2}}
        assert operate(lab.master, "DRAIN_AGENT", agent_id, **more) == (200, "")
        gone = status_of(STORY, "d-gone", "TASK_GONE_BY_OPERATOR")
        status = framework.wait_type("UPDATE")["update"]["status"]
        while status["state"] == "TASK_RUNNING":
            status = framework.wait_type("UPDATE")["update"]["status"]
        assert not status_differences(status, gone)
        # It goes when the framework knows of the end, and not before.
        assert not agent_differences(
            agent_of(lab.master, agent_id), recorded_agent("draining to gone")
        )
        framework.acknowledge(status)
        assert list(framework.wait_type("FAILURE")["failure"]) == ["agent_id"]
        assert lab.agents[0].process is not None
        lab.agents[0].process.wait(30)
        assert lab.master.operator("GET_AGENTS").json["get_agents"]["agents"] == []
        assert operate(lab.master, "MARK_AGENT_GONE", agent_id) == (200, "")
        still = (400, "Agent is still in the DRAINING state")
        assert operate(lab.master, "REACTIVATE_AGENT", agent_id) == still
        asked = {"task_id": {"value": "d-gone"}, "agent_id": {"value": agent_id}}
        framework.call("RECONCILE", reconcile={"tasks": [asked]})
        theirs = status_of(STORY, "d-gone", "TASK_GONE_BY_OPERATOR", 1)
        assert not status_differences(framework.status("d-gone"), theirs)


@pytest.mark.contract(
    behaviour="drain",
    recordings="drain-http-command-executor.jsonl operator-drain-http-command-executor.json",
)
def test_the_grace_period_reaches_tasks_with_the_http_command_executor_only(
    own_flags: None, tmp_path: Path
) -> None:
    notes = [line["note"] for line in story(SHORTENED) if line["dir"] == "note" and "note" in line]
    assert "60 s of its own" in notes[0]
    flags = ("--http_command_executor",)
    with own_lab(tmp_path, *flags) as lab, subscribed(lab.master, "short", **DURABLE) as framework:
        agent_id = running(framework, ("d-deaf", DEAF, 60))
        more = {"max_grace_period": {"seconds": 30}}
        assert operate(lab.master, "DRAIN_AGENT", agent_id, **more) == (200, "")
        framework.status("d-deaf", "TASK_KILLING")
        more = {"max_grace_period": {"seconds": 1}}
        assert operate(lab.master, "DRAIN_AGENT", agent_id, **more) == (200, "")
        theirs = status_of(SHORTENED, "d-deaf", "TASK_KILLED")
        assert not status_differences(framework.status("d-deaf", "TASK_KILLED", 20), theirs)
        drained(lab.master, agent_id)


@pytest.mark.contract(behaviour="drain", agent_endpoints="/state", agent_calls="GET_AGENT")
def test_a_drain_goes_on_after_agent_and_master_were_killed(
    own_flags: None, tmp_path: Path
) -> None:
    """Mesos keeps a drain in the master's registry and in the agent's meta directory."""
    with own_lab(tmp_path) as lab, subscribed(lab.master, "stubborn", **DURABLE) as framework:
        agent_id = running(framework, ("late", DEAF, 8))
        assert operate(lab.master, "DRAIN_AGENT", agent_id) == (200, "")
        framework.status("late", "TASK_KILLING")
        slave = lab.master.get("/slaves").json["slaves"][0]
        agent = Http(slave["pid"].partition("@")[2])
        state = agent.get("/state").json
        assert state["drain_config"] == {"mark_gone": False}
        assert isinstance(state["estimated_drain_start_time_seconds"], int)
        shown = agent.operator("GET_AGENT").json["get_agent"]
        assert shown["drain_config"] == {"mark_gone": False}
        assert list(shown["estimated_drain_start_time"]) == ["nanoseconds"]
        for process in lab.processes:
            process.kill()
        framework.wait_end()
        for process in lab.processes:
            process.start()
        lab.wait_for_master()
        lab_back = lambda: lab.master.get("/slaves").json["slaves"]  # noqa: E731
        wait_for(lab_back, "the agent is back")
        again = subscribed(lab.master, "stubborn", id={"value": framework.id}, **DURABLE)
        with again as returned:
            view = agent_of(lab.master, agent_id)
            assert (view["deactivated"], view["drain_info"]["state"]) == (True, "DRAINING")
            killed = returned.status("late", "TASK_KILLED")
            assert killed["reason"] == "REASON_AGENT_DRAINING"
            drained(lab.master, agent_id)
        framework.id = ""
        lab.processes[0].kill()
        lab.processes[0].start()
        lab.wait_for_master()
        # Mesos' agent looks for a master whose address it was given when no ping came for 30 s.
        wait_for(lab_back, "the agent is back", 2 * DEADLINE)
        assert agent_of(lab.master, agent_id)["drain_info"]["state"] == "DRAINED"
        assert operate(lab.master, "REACTIVATE_AGENT", agent_id) == (200, "")
