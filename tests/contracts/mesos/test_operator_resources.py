"""Reservations and volumes by operators: operator-resources.json, replayed from first to last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from .client import Answer, Framework, Http, launch, scalar, subscribed, task
from .engine import wait_for
from .recordings import book, differences

Json = dict[str, Any]

BOOK = book("operator-resources.json")
AGENT = "32b270a9-602e-4445-8d39-76c3cc5f5be7-S1"
PID = "slave(1)@127.0.0.1:15101 (127.0.0.1)"


def _position(note: str) -> int:
    return next(number for number, entry in enumerate(BOOK) if entry.get("note") == note)


USED_AT = _position("unreserve what a task uses")
FREE_AT = _position("unreserve after the task ended")
"""Between these two a task of a framework runs on what is reserved."""


class Place:
    """The agent of the test, in place of the recorded one."""

    def __init__(self, master: Http) -> None:
        slaves = master.get("/slaves").json["slaves"]
        slave = min(slaves, key=lambda each: each["domain"]["fault_domain"]["region"]["name"])
        self.id: str = slave["id"]
        self._pid = f"{slave['pid']} ({slave['hostname']})"

    def here(self, value: Any) -> Any:
        """A recorded request or text, said of our agent."""
        text = json.dumps(value).replace(AGENT, self.id).replace(PID, self._pid)
        return json.loads(text)


def replayed(master: Http, place: Place, entry: Json) -> Answer:
    path, value = place.here(entry["path"]), place.here(entry.get("request"))
    body = value.encode() if isinstance(value, str) else None
    if isinstance(value, dict):
        body = json.dumps(value).encode()
    answer = master.request(entry["method"], path, body, entry.get("request_headers") or {})
    if answer.status == 202:
        # It is queued for the agent; GROW and SHRINK count when they are done.
        wait_for(lambda: not pending(master), "the agent has done it")
    return answer


def pending(master: Http) -> bool:
    return "operations" in master.operator("GET_OPERATIONS").json["get_operations"]


def same(ours: Answer, theirs: Json, place: Place) -> None:
    note = theirs.get("note") or theirs["path"]
    assert ours.status == theirs["status"], (note, ours.text)
    if theirs["status"] == 409:
        # How much else the agent has is its own affair; what was asked for is not.
        missing = theirs["body"].partition(" does not contain ")[2]
        assert ours.text.partition(" does not contain ")[2] == missing, note
    elif isinstance(theirs["body"], str):
        assert ours.text == place.here(theirs["body"]), note
    elif "slaves" in theirs["body"]:
        seen, wanted = ours.json["slaves"][0], theirs["body"]["slaves"][0]
        assert seen["reserved_resources"]["lab"] == wanted["reserved_resources"]["lab"], note
        mine = seen["reserved_resources_full"]["lab"]
        recorded = wanted["reserved_resources_full"]["lab"]
        assert sorted(map(str, mine)) == sorted(map(str, recorded)), note
        assert differences(seen, wanted) == [], note
    else:
        assert ours.json == theirs["body"], note


@pytest.fixture
def place(master: Http) -> Iterator[Place]:
    """An agent on which nothing is left reserved."""
    made = Place(master)
    yield made
    [slave] = master.get(f"/slaves?slave_id={made.id}").json["slaves"]
    for role, resources in slave["reserved_resources_full"].items():
        for resource in resources:
            plain = {k: v for k, v in resource.items() if k not in {"role", "reservation"}}
            if "disk" in plain:
                body = {"agent_id": {"value": made.id}, "volumes": [plain]}
                assert master.operator("DESTROY_VOLUMES", destroy_volumes=body).status == 202
                del plain["disk"]
            body = {"agent_id": {"value": made.id}, "resources": [plain]}
            answer = master.operator("UNRESERVE_RESOURCES", unreserve_resources=body)
            assert answer.status == 202, (role, answer.text)


def offered_here(event: Json, place: Place) -> Json | None:
    for offer in event.get("offers", {}).get("offers", []):
        reserved = any("reservations" in resource for resource in offer["resources"])
        if offer["agent_id"]["value"] == place.id and reserved:
            return offer
    return None


def working(framework: Framework, place: Place) -> None:
    """A task on all CPUs that are reserved."""
    event = framework.wait(lambda each: offered_here(each, place) is not None)
    offer = offered_here(event, place)
    assert offer is not None
    reserved = [
        resource
        for resource in offer["resources"]
        if "reservations" in resource and resource["name"] == "cpus"
    ]
    resources = [*reserved, scalar("mem", 32)]
    framework.accept([offer], [launch(task(offer, "q", "sleep 1000", resources=resources))])
    framework.status("q", "TASK_RUNNING")


@pytest.mark.contract(
    operator="RESERVE_RESOURCES UNRESERVE_RESOURCES CREATE_VOLUMES DESTROY_VOLUMES",
    recordings="operator-resources.json",
)
@pytest.mark.contract(
    operator="GROW_VOLUME SHRINK_VOLUME GET_OPERATIONS", recordings="operator-resources.json"
)
@pytest.mark.contract(
    endpoints="/reserve /unreserve /create-volumes /destroy-volumes /slaves",
    recordings="operator-resources.json",
)
def test_every_step_of_the_recording_is_answered_alike(master: Http, place: Place) -> None:
    if master.credential:
        pytest.skip("the recorded operator is anonymous and reserves for anybody")
    for entry in BOOK[:USED_AT]:
        same(replayed(master, place, entry), entry, place)
    with subscribed(master, "user") as framework:
        working(framework, place)
        for entry in BOOK[USED_AT:FREE_AT]:
            same(replayed(master, place, entry), entry, place)
    for entry in BOOK[FREE_AT:]:
        same(replayed(master, place, entry), entry, place)
