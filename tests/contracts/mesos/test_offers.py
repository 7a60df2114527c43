"""Filters, SUPPRESS, REVIVE, UPDATE_FRAMEWORK: revive-suppress.jsonl, update-framework.jsonl."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .client import Framework, Http, framework_info, subscribed
from .recordings import story


def quiet(framework: Framework, seconds: float) -> None:
    """No offer arrives for that long."""
    seen = len(framework.events)
    with framework.arrived:
        framework.arrived.wait_for(
            lambda: any(e["type"] == "OFFERS" for e in framework.events[seen:]), seconds
        )
    assert [e["type"] for e in framework.events[seen:] if e["type"] == "OFFERS"] == []


def agents_offered(framework: Framework, count: int) -> list[dict[str, Any]]:
    """Offers of that many agents, each once."""
    offers: dict[str, dict[str, Any]] = {}
    while len(offers) < count:
        offers |= {offer["agent_id"]["value"]: offer for offer in framework.offers()}
    return list(offers.values())


@pytest.mark.contract(calls="DECLINE REVIVE")
def test_declined_offers_stay_away_until_revive(framework: Framework) -> None:
    offers = agents_offered(framework, 2)
    ids = [offer["id"] for offer in offers]
    answer = framework.call(
        "DECLINE", decline={"offer_ids": ids, "filters": {"refuse_seconds": 1000}}
    )
    assert answer.status == 202
    quiet(framework, 2.5)
    assert framework.call("REVIVE").status == 202
    assert len(agents_offered(framework, 2)) == 2


@pytest.mark.contract(calls="DECLINE")
def test_a_filter_expires(framework: Framework) -> None:
    offers = agents_offered(framework, 2)
    began = time.monotonic()
    ids = [offer["id"] for offer in offers]
    framework.call("DECLINE", decline={"offer_ids": ids, "filters": {"refuse_seconds": 2}})
    framework.offers()
    assert time.monotonic() - began >= 1.9


@pytest.mark.contract(calls="SUPPRESS")
def test_suppress_stops_new_offers_and_leaves_those_that_are_out(framework: Framework) -> None:
    agents_offered(framework, 2)
    assert framework.call("SUPPRESS").status == 202
    quiet(framework, 2.0)
    assert not [event for event in framework.events if event["type"] == "RESCIND"]


@pytest.mark.contract(calls="REVIVE SUPPRESS REQUEST", recordings="revive-suppress.jsonl")
def test_calls_with_roles_that_are_not_the_frameworks_are_accepted(framework: Framework) -> None:
    for line in story("revive-suppress.jsonl"):
        body = line.get("body")
        if line["dir"] == "call" and body["type"] in {"REVIVE", "SUPPRESS", "REQUEST"}:
            parts = {k: v for k, v in body.items() if k not in {"type", "framework_id"}}
            assert framework.call(body["type"], **parts).status == 202
    assert framework.call("DECLINE", decline={"offer_ids": [{"value": "no-such"}]}).status == 202
    answer = framework.call("DECLINE")
    text = "Failed to validate scheduler::Call: Expecting 'decline' to be present"
    assert (answer.status, answer.text) == (400, text)


@pytest.mark.contract(events="OFFERS")
def test_roles_of_a_framework_are_offered_side_by_side(master: Http) -> None:
    with subscribed(master, "two-roles", roles=["lab", "extra"]) as framework:
        roles = {offer["allocation_info"]["role"] for offer in agents_offered(framework, 2)}
        assert roles == {"lab", "extra"}


def update(framework: Framework, **changes: Any) -> Any:
    info = framework_info("update", id={"value": framework.id}, failover_timeout=600.0, **changes)
    return framework.call("UPDATE_FRAMEWORK", update_framework={"framework_info": info})


@pytest.mark.contract(calls="UPDATE_FRAMEWORK", events="RESCIND")
def test_update_framework_applies_and_rescinds_what_no_longer_fits(master: Http) -> None:
    with subscribed(master, "update", failover_timeout=600.0) as framework:
        offers = agents_offered(framework, 2)
        answer = update(framework, roles=[])
        assert (answer.status, answer.body) == (200, b"")
        rescinded = {framework.wait_type("RESCIND")["rescind"]["offer_id"]["value"] for _ in offers}
        assert rescinded == {offer["id"]["value"] for offer in offers}
        assert update(framework, roles=["third"]).status == 200
        assert framework.offers()[0]["allocation_info"]["role"] == "third"


@pytest.mark.contract(calls="UPDATE_FRAMEWORK", recordings="update-framework.jsonl")
def test_update_framework_refuses_what_mesos_refuses(master: Http) -> None:
    wanted = {
        line["body"]
        for line in story("update-framework.jsonl")
        if line["dir"] == "http" and line.get("status") == 400
    }
    with subscribed(master, "update", failover_timeout=600.0) as framework:
        for changes in (
            {"user": "nobody"},
            {"checkpoint": False},
            {"principal": "someone"},
            {"failover_timeout": 1e11},
            {"roles": ["lab", "a b"]},
            {"roles": ["lab", "lab"]},
            {"role": "lab"},
        ):
            info = framework_info("update", id={"value": framework.id}) | changes
            answer = framework.call("UPDATE_FRAMEWORK", update_framework={"framework_info": info})
            assert answer.status == 400, changes
            assert answer.text in wanted, changes
