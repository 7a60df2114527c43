"""SUBSCRIBE, right and wrong, as in subscribe-mistakes.json, subscribe-removed and failover-*."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from .client import Http, framework_info, open_subscription, subscribed
from .engine import Cluster, wait_for
from .recordings import book, differences, events
from .releases import FOREIGN_ROLE, capabilities, in_its_words, is_1_11

MISTAKES = [
    entry
    for entry in book("subscribe-mistakes.json")
    if "protobuf" not in entry["note"] and "made-up" not in str(entry.get("request"))
]


def replay(master: Http, entry: dict[str, Any]) -> Any:
    return open_subscription(master, entry["request"], entry["request_headers"])


@pytest.mark.parametrize("entry", MISTAKES, ids=lambda entry: entry["note"])
@pytest.mark.contract(
    calls="SUBSCRIBE", events="SUBSCRIBED ERROR", recordings="subscribe-mistakes.json"
)
def test_each_variant_of_subscribe_is_answered_as_recorded(
    cluster: Cluster, entry: dict[str, Any]
) -> None:
    if entry["status"] != 200:
        answer = cluster.master.request(
            "POST",
            "/api/v1/scheduler",
            json.dumps(entry["request"]).encode(),
            entry["request_headers"],
        )
        assert (answer.status, answer.text) == (entry["status"], entry["body"])
        return
    framework = replay(cluster.master, entry)
    try:
        assert framework.answer.status == 200
        recorded = entry["events"][0]
        text = recorded.get("error", {}).get("message", "")
        first = framework.wait(lambda _: True)
        if FOREIGN_ROLE in text and is_1_11(cluster.master):
            assert first["type"] == "SUBSCRIBED"
        else:
            assert first["type"] == recorded["type"]
        if first["type"] == "ERROR":
            assert first["error"]["message"] == in_its_words(cluster.master, text)
        else:
            # 1.11 would keep one whose failover timeout is negative for ever (`Timeout::in`).
            framework.id = first["subscribed"]["framework_id"]["value"]
            assert framework.call("TEARDOWN").status == 202
        framework.wait_end()
    finally:
        framework.close()


@pytest.mark.contract(events="SUBSCRIBED", recordings="lifecycle.jsonl")
@pytest.mark.contract(events="HEARTBEAT")
def test_the_first_events_look_as_recorded(master: Http) -> None:
    with subscribed(master, "first-events") as framework:
        assert framework.answer.headers["content-type"] == "application/json"
        assert framework.answer.headers["transfer-encoding"] == "chunked"
        assert uuid.UUID(framework.stream_id)
        ours = framework.events[0]
        theirs = events("lifecycle.jsonl", "SUBSCRIBED")[0]
        assert differences(ours, theirs) == []
        mine, recorded = (seen["subscribed"]["master_info"] for seen in (ours, theirs))
        assert mine["capabilities"] == capabilities(master, recorded["capabilities"])
        assert ours["subscribed"]["heartbeat_interval_seconds"] == 15.0
        framework.wait_type("HEARTBEAT")


@pytest.mark.contract(calls="SUBSCRIBE", events="ERROR", recordings="subscribe-removed.jsonl")
def test_an_id_that_the_master_never_gave_is_taken_and_used_up_by_the_disconnect(
    master: Http,
) -> None:
    made_up = {"value": f"made-up-{uuid.uuid4()}"}
    info = framework_info("made-up", id=made_up)
    call = {"type": "SUBSCRIBE", "framework_id": made_up, "subscribe": {"framework_info": info}}
    framework = open_subscription(master, call)
    event = framework.wait_type("SUBSCRIBED")
    assert event["subscribed"]["framework_id"] == made_up
    framework.close()

    def completed() -> bool:
        shown = master.get("/frameworks").json["completed_frameworks"]
        return made_up["value"] in [entry["id"] for entry in shown]

    wait_for(completed, "the framework is removed")
    again = open_subscription(master, call)
    recorded = events("subscribe-removed.jsonl", "ERROR")[0]
    assert again.wait(lambda _: True) == recorded
    again.wait_end()
    again.close()


@pytest.mark.contract(behaviour="takeover", events="ERROR", recordings="failover-before.jsonl")
def test_a_takeover_ends_the_old_stream_and_its_calls(master: Http) -> None:
    changes = {"failover_timeout": 600.0}
    with (
        subscribed(master, "takeover", **changes) as old,
        subscribed(master, "takeover", id={"value": old.id}, **changes) as new,
    ):
        assert new.id == old.id
        assert new.stream_id != old.stream_id
        recorded = events("failover-before.jsonl", "ERROR")[0]
        assert old.wait_type("ERROR") == recorded
        old.wait_end()
        answer = old.call("REVIVE")
        assert answer.status == 400
        assert "didn't match the stream ID" in answer.text
        assert new.call("REVIVE").status == 202


@pytest.mark.contract(calls="SUBSCRIBE")
def test_a_framework_that_lost_its_connection_is_not_subscribed(master: Http) -> None:
    with subscribed(master, "gone-away", failover_timeout=600.0) as framework:
        framework.close()

        def refused() -> bool:
            return framework.call("REVIVE").status == 403

        assert wait_for(refused, "the master noticed the disconnect")
        master.operator("TEARDOWN", teardown={"framework_id": {"value": framework.id}})


@pytest.mark.contract(calls="TEARDOWN")
def test_teardown_ends_the_stream_without_an_event(master: Http) -> None:
    with subscribed(master, "teardown", suppressed=["lab"]) as framework:
        framework.wait_type("HEARTBEAT")
        seen = len(framework.events)
        assert framework.call("TEARDOWN").status == 202
        framework.wait_end()
        assert framework.events[seen:] == []
        answer = framework.call("REVIVE")
        assert (answer.status, answer.text) == (400, "Framework cannot be found")
