"""Maintenance: operator-maintenance.json and maintenance.jsonl."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from .client import Framework, Http, launch, subscribed, task
from .engine import Cluster, start_agent, start_master
from .recordings import book, differences, events

Json = dict[str, Any]

HOUR = 3600 * 10**9


def machine_of_first_agent(master: Http) -> Json:
    slave = master.get("/slaves").json["slaves"][0]
    return {"hostname": slave["hostname"], "ip": slave["pid"].partition("@")[2].rpartition(":")[0]}


def unavailability() -> Json:
    start = (int(time.time()) + 3600) * 10**9
    return {"start": {"nanoseconds": start}, "duration": {"nanoseconds": HOUR}}


def schedule(master: Http, *machines: Json) -> None:
    windows = [{"machine_ids": list(machines), "unavailability": unavailability()}]
    body = {"schedule": {"windows": windows if machines else []}}
    answer = master.operator("UPDATE_MAINTENANCE_SCHEDULE", update_maintenance_schedule=body)
    assert (answer.status, answer.body) == (200, b"")


def statuses(master: Http) -> list[Json]:
    """What frameworks said about machines that drain."""
    answer = master.operator("GET_MAINTENANCE_STATUS").json
    machines = answer["get_maintenance_status"]["status"].get("draining_machines", [])
    return [status for machine in machines for status in machine.get("statuses", [])]


@pytest.fixture
def unscheduled(master: Http) -> Iterator[Http]:
    """A master whose schedule is empty afterwards, whatever happened."""
    yield master
    schedule(master)


@pytest.mark.contract(
    operator="GET_MAINTENANCE_SCHEDULE GET_MAINTENANCE_STATUS UPDATE_MAINTENANCE_SCHEDULE "
    "START_MAINTENANCE STOP_MAINTENANCE",
    endpoints="/maintenance/schedule /maintenance/status /machine/down /machine/up",
    recordings="operator-maintenance.json",
)
def test_the_recorded_story_of_an_operator(unscheduled: Http) -> None:
    """Every call and every answer, one after the other."""
    machine = machine_of_first_agent(unscheduled)

    def ours(value: Any) -> Any:
        """The recording's agent was at 127.0.0.1 by name and address."""
        text = json.dumps(value)
        for quote in ('"', '\\"'):
            for name in ("hostname", "ip"):
                pair = f"{quote}{name}{quote}:%s{quote}127.0.0.1{quote}"
                for space in ("", " "):
                    wanted = f"{quote}{name}{quote}:{space}{quote}{machine[name]}{quote}"
                    text = text.replace(pair % space, wanted)
        return json.loads(text)

    for entry in book("operator-maintenance.json"):
        request = ours(entry.get("request"))
        body = None
        if request is not None:
            body = (request if isinstance(request, str) else json.dumps(request)).encode()
        headers = entry.get("request_headers")
        answer = unscheduled.request(entry["method"], entry["path"], body, headers)
        wanted = ours(entry["body"])
        seen = answer.json if isinstance(wanted, dict) else answer.text
        assert (answer.status, seen) == (entry["status"], wanted), entry
        for name in ("Content-Type", "Allow"):
            assert answer.headers.get(name.lower()) == entry["headers"].get(name), entry


@pytest.mark.contract(events="INVERSE_OFFERS", recordings="maintenance.jsonl")
def test_offers_of_a_scheduled_machine_say_so_and_are_asked_back(unscheduled: Http) -> None:
    schedule(unscheduled, machine_of_first_agent(unscheduled))
    with subscribed(unscheduled, "warned") as framework:
        first = framework.wait(lambda e: e["type"] in {"OFFERS", "INVERSE_OFFERS"})
        assert first["type"] == "OFFERS"
        [theirs] = events("maintenance.jsonl", "OFFERS")
        offers = [o for o in first["offers"]["offers"] if "unavailability" in o]
        assert offers
        duration = offers[0]["unavailability"].pop("duration")
        assert duration == {"nanoseconds": HOUR}
        recorded = theirs["offers"]["offers"][0]
        # Attributes and the order of resources are the agent's own matter.
        for offer in (offers[0], recorded):
            offer.pop("attributes", None)
            offer["resources"] = sorted(resource["name"] for resource in offer["resources"])
        assert offers[0]["resources"] == recorded["resources"]
        assert differences(offers[0], recorded) == []
        asked = framework.wait_type("INVERSE_OFFERS")["inverse_offers"]["inverse_offers"]
        [theirs] = events("maintenance.jsonl", "INVERSE_OFFERS")
        ours = asked[0]
        assert ours["unavailability"].pop("duration") == {"nanoseconds": HOUR}
        assert differences(ours, theirs["inverse_offers"]["inverse_offers"][0]) == []
        assert {o["agent_id"]["value"] for o in asked} == {o["agent_id"]["value"] for o in offers}


@pytest.mark.contract(
    calls="ACCEPT_INVERSE_OFFERS DECLINE_INVERSE_OFFERS",
    operator="GET_MAINTENANCE_STATUS",
    events="RESCIND_INVERSE_OFFER",
)
def test_answers_are_shown_to_operators_and_asked_for_again(unscheduled: Http) -> None:
    """`mesos-http-api.md` section 3, and `ClusterStatus` of Mesos' `maintenance.proto`.

    An answer's filter is 5 s by default; with 0 the next inverse offer comes with the next
    allocation. Unknown ids are ignored. A change of the schedule takes back what is out.
    """
    schedule(unscheduled, machine_of_first_agent(unscheduled))
    with subscribed(unscheduled, "asked") as framework:

        def answered(kind: str, refuse: float) -> list[Json]:
            asked = framework.wait_type("INVERSE_OFFERS")["inverse_offers"]["inverse_offers"]
            ids = [{"value": "unknown"}, *(offer["id"] for offer in asked)]
            body = {"inverse_offer_ids": ids, "filters": {"refuse_seconds": refuse}}
            answer = framework.call(kind, **{kind.lower(): body})
            assert (answer.status, answer.body) == (202, b"")
            said = statuses(unscheduled)
            assert [s["framework_id"]["value"] for s in said] == [framework.id] * len(asked)
            assert all(s["timestamp"]["nanoseconds"] > 0 for s in said)
            return said

        assert statuses(unscheduled) == []
        assert {s["status"] for s in answered("ACCEPT_INVERSE_OFFERS", 0)} == {"ACCEPT"}
        assert {s["status"] for s in answered("DECLINE_INVERSE_OFFERS", 1000)} == {"DECLINE"}
        offers = [
            o for e in framework.events if e["type"] == "OFFERS" for o in e["offers"]["offers"]
        ]
        schedule(unscheduled, machine_of_first_agent(unscheduled))
        gone = framework.wait_type("RESCIND")["rescind"]["offer_id"]
        assert gone in [offer["id"] for offer in offers]
        # What was said before, and for how long, concerned the schedule before.
        assert statuses(unscheduled) == []
        asked = framework.wait_type("INVERSE_OFFERS")["inverse_offers"]["inverse_offers"]
        schedule(unscheduled)
        rescinded = framework.wait_type("RESCIND_INVERSE_OFFER")
        assert list(rescinded["rescind_inverse_offer"]) == ["inverse_offer_id"]
        gone = rescinded["rescind_inverse_offer"]["inverse_offer_id"]
        assert gone in [offer["id"] for offer in asked]
        framework.wait(
            lambda e: (
                e["type"] == "OFFERS"
                and not any("unavailability" in offer for offer in e["offers"]["offers"])
            )
        )


@pytest.fixture
def lab(own_flags: None, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own with one agent, which maintenance will end."""
    made = Cluster(f"127.0.0.1:{free_port()}")
    made.own = True
    try:
        start_master(made, tmp_path, in_memory=False, patience=30)
        start_agent(made, tmp_path, 0)
        made.wait_for_agents(1)
        yield made
    finally:
        made.stop()


def running(framework: Framework, name: str) -> None:
    offer = framework.offers()[0]
    framework.accept([offer], [launch(task(offer, name, "sleep 1000"))])
    framework.status(name, "TASK_RUNNING")


@pytest.mark.contract(
    behaviour="maintenance", operator="START_MAINTENANCE STOP_MAINTENANCE", events="FAILURE"
)
def test_a_machine_in_maintenance_has_no_agent_until_it_is_up(lab: Cluster) -> None:
    """Mesos' documentation of maintenance: agents of a machine that is down end, may not return."""
    machine = machine_of_first_agent(lab.master)
    agent = lab.agents[0]
    assert agent.process is not None
    with subscribed(lab.master, "downed", failover_timeout=600.0) as framework:
        running(framework, "down-1")
        schedule(lab.master, machine)
        start = lab.master.operator("START_MAINTENANCE", start_maintenance={"machines": [machine]})
        assert (start.status, start.body) == (200, b"")
        status = framework.status("down-1", "TASK_LOST")
        assert status["source"] == "SOURCE_MASTER"
        assert status["reason"] == "REASON_AGENT_REMOVED"
        words = f"Agent {machine['hostname']} removed: Operator initiated 'Machine DOWN'"
        assert status["message"] == words
        assert "agent_id" in framework.wait_type("FAILURE")["failure"]
        agent.process.wait(30)
        assert lab.master.get("/slaves").json["slaves"] == []
        framework.call("TEARDOWN")
        framework.id = ""
    # The registry has it: neither the agent nor a new master makes the machine come up.
    lab.processes[0].kill()
    lab.processes[0].start()
    lab.wait_for_master()
    assert lab.master.get("/maintenance/status").json == {"down_machines": [machine]}
    agent.start()
    agent.process.wait(30)
    assert "Machine is `DOWN`" in agent.log.read_text()
    assert lab.master.get("/slaves").json["slaves"] == []
    answer = lab.master.call("/machine/up", [machine])
    assert (answer.status, answer.body) == (200, b"")
    agent.start()
    lab.wait_for_agents(1)
    assert lab.master.get("/maintenance/schedule").json == {}
