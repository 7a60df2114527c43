"""Volumes that are made, grown, shrunk and destroyed, and operations with an id:
volumes.jsonl, operations.jsonl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .client import Framework, Http, launch, subscribed, task
from .engine import Cluster
from .operating import Story, principal, released, said
from .recordings import events, status_of

Json = dict[str, Any]


@pytest.fixture
def owner(master: Http) -> Iterator[Framework]:
    """A framework; what is left reserved for it is free again when it is gone."""
    with subscribed(master, "volumes", principal=principal(master)) as framework:
        yield framework
    for slave in master.get("/slaves").json["slaves"]:
        released(master, {"value": slave["id"]}, {"lab"})


def volumes(offer: Json) -> dict[str, float]:
    """Sizes of the volumes of an offer, and of the reserved disk around them."""
    return {
        resource.get("disk", {}).get("persistence", {}).get("id", "free"): resource["scalar"][
            "value"
        ]
        for resource in offer["resources"]
        if "reservations" in resource
    }


@pytest.mark.contract(
    operations="RESERVE CREATE GROW_VOLUME SHRINK_VOLUME DESTROY UNRESERVE",
    events="UPDATE_OPERATION_STATUS",
    recordings="volumes.jsonl",
)
@pytest.mark.contract(behaviour="shrink")
def test_a_volume_from_first_to_last(cluster: Cluster, owner: Framework) -> None:
    # `Master::accept` takes what SHRINK_VOLUME frees for converted and for declined, so that the
    # allocator lets go of that much too little, until the framework is gone. The recording has it.
    kept = 0.0 if cluster.embedded else 16.0
    told = Story(owner, "volumes.jsonl")
    offer = owner.offers()[0]
    agent_id = offer["agent_id"]

    def again() -> Json:
        return told.offer(agent_id)

    told.operate(offer, "v-1", "v-3")
    offer = again()
    assert volumes(offer) == {"free": 448.0, "own-1": 64.0}
    told.operate(offer, "v-4", "v-5", "v-6")
    offer = again()
    told.operate(offer, "v-7")
    offer = again()
    assert volumes(offer) == {"free": 416.0, "own-1": 96.0}
    told.operate(offer, "v-8")
    offer = again()
    assert volumes(offer) == {"free": 432.0 - kept, "own-1": 80.0}
    told.operate(offer, "v-9", "v-10", "v-11")
    offer = again()
    # What a volume has become is only offered later.
    on_grown = task(offer, "on-grown", "sleep 1", resources=used_by_the_task(told))
    owner.accept([offer], [told.asked["v-12"], launch(on_grown)])
    status = owner.status("on-grown", "TASK_ERROR")
    theirs = status_of("volumes.jsonl", "on-grown", "TASK_ERROR")
    ends = " required by task and its executor is more than available "
    assert status["reason"] == theirs["reason"]
    assert ends in status["message"]
    assert told.status("v-12")["state"] == "OPERATION_FINISHED"
    offer = again()
    assert volumes(offer) == {"free": 416.0 - kept, "own-1": 96.0}
    told.operate(offer, "v-17", "v-19")
    assert volumes(again()) == {"free": 448.0 - kept}


def used_by_the_task(told: Story) -> list[Json]:
    """CPUs, memory and the grown volume."""
    volume = told.asked["v-12"]["grow_volume"]["volume"]
    grown = volume | {"scalar": {"value": 96}}
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": amount}, "allocation_info": role}
        for name, amount, role in (("cpus", 0.1, {"role": "lab"}), ("mem", 32, {"role": "lab"}))
    ] + [grown]


@pytest.mark.contract(
    operations="RESERVE UNRESERVE",
    calls="ACKNOWLEDGE_OPERATION_STATUS RECONCILE_OPERATIONS",
    operator="GET_OPERATIONS",
    recordings="operations.jsonl",
)
def test_an_operation_is_known_until_it_is_acknowledged(owner: Framework, master: Http) -> None:
    told = Story(owner, "operations.jsonl")
    offer = owner.offers()[0]
    agent_id = offer["agent_id"]

    def reconciled(*asked: Json) -> Json:
        before = len(owner.events)
        answer = owner.call(
            "RECONCILE_OPERATIONS", reconcile_operations={"operations": list(asked)}
        )
        assert answer.status == 202, answer.text

        def late(event: Json) -> bool:
            # By identity: the same may be told twice.
            after = owner.events[before:]
            return event["type"] == "UPDATE_OPERATION_STATUS" and any(event is e for e in after)

        event = owner.wait(late)
        found: Json = event["update_operation_status"]["status"]
        return found

    try:
        owner.accept([offer], [told.asked["r-1"]])
        event = owner.wait_type("UPDATE_OPERATION_STATUS")["update_operation_status"]["status"]
        mine = {"operation_id": {"value": "r-1"}}
        for asked in ((mine | {"agent_id": agent_id},), (mine,), ()):
            known = reconciled(*asked)
            assert known == {key: event[key] for key in ("operation_id", "state", "agent_id")}
        shown = master.operator("GET_OPERATIONS").json["get_operations"]["operations"]
        [listed] = [each for each in shown if each.get("framework_id") == {"value": owner.id}]
        assert listed["latest_status"] == event
        assert listed["statuses"] == [event]
        assert listed["info"]["id"] == {"value": "r-1"}
        right = {"agent_id": agent_id, "uuid": event["uuid"]["value"], **mine}
        for changes, words in (
            ({"uuid": "AAAA"}, "Failed to validate scheduler::Call: Not a valid UUID"),
            (
                {"uuid": event["uuid"]},
                (
                    "Failed to convert JSON into Call protobuf: "
                    "Not expecting a JSON object for field 'uuid'"
                ),
            ),
            (
                {"agent_id": None},
                "Failed to validate scheduler::Call: Expecting 'agent_id' to be present",
            ),
        ):
            body = {k: v for k, v in (right | changes).items() if v is not None}
            answer = owner.call("ACKNOWLEDGE_OPERATION_STATUS", acknowledge_operation_status=body)
            assert (answer.status, answer.text) == (400, words)
        for changes in ({"uuid": "MDEyMzQ1Njc4OWFiY2RlZg=="}, {"operation_id": {"value": "ghost"}}):
            body = right | changes
            answer = owner.call("ACKNOWLEDGE_OPERATION_STATUS", acknowledge_operation_status=body)
            assert answer.status == 202
        assert reconciled(mine)["state"] == "OPERATION_FINISHED"
        for _ in range(2):
            answer = owner.call("ACKNOWLEDGE_OPERATION_STATUS", acknowledge_operation_status=right)
            assert answer.status == 202
        words = {
            (entry["operation_id"]["value"], "agent_id" in entry, said(entry.get("message", "")))
            for line in events("operations.jsonl", "UPDATE_OPERATION_STATUS")
            for entry in [line["update_operation_status"]["status"]]
            if entry["state"] == "OPERATION_UNKNOWN"
        }
        ghost = {"operation_id": {"value": "ghost"}}
        for asked_for in (
            mine | {"agent_id": agent_id},
            ghost,
            ghost | {"agent_id": agent_id},
            ghost | {"agent_id": {"value": "no-such-agent"}},
        ):
            unknown = reconciled(asked_for)
            key = (unknown["operation_id"]["value"], "agent_id" in unknown, unknown["message"])
            assert key in words
        assert "operations" not in master.operator("GET_OPERATIONS").json["get_operations"]
    finally:
        released(master, agent_id, {"lab"})


@pytest.mark.contract(operations="RESERVE UNRESERVE", recordings="operations.jsonl")
def test_a_bad_operation_among_good_ones(owner: Framework, master: Http) -> None:
    told = Story(owner, "operations.jsonl")
    offer = owner.offers()[0]
    agent_id = offer["agent_id"]
    try:
        told.operate(offer, "m-1", "m-2", "m-3", "nobody", "nothing", "notres")
        offer = told.offer(agent_id)
        # Neither must an id be new, nor must it be anything at all; one of no type is passed over.
        owner.accept([offer], [told.asked[name] for name in ("notype", "d-1", "d-1", "")])
        assert [told.status("d-1")["state"] for _ in range(2)] == ["OPERATION_FINISHED"] * 2
        assert told.status("")["state"] == "OPERATION_FINISHED"
        owner.accept([{"id": {"value": "no-such-offer"}}], [told.asked["x-1"]])
        ours, theirs = told.status("x-1"), told.answered["x-1"]
        assert (ours["state"], ours["message"]) == (theirs["state"], theirs["message"])
    finally:
        released(master, agent_id, {"lab"})
