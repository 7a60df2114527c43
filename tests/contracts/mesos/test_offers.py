"""Which offers come when: filters, constraints, SUPPRESS, REVIVE, UPDATE_FRAMEWORK, timeout."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from .client import Framework, Http, framework_info, launch, subscribed, task
from .engine import Cluster, local_cluster, wait_for
from .recordings import anonymous, events, story
from .releases import FOREIGN_ROLE, in_its_words, is_1_11


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


def decline(framework: Framework, offers: list[dict[str, Any]], **parts: Any) -> None:
    ids = [offer["id"] for offer in offers]
    assert framework.call("DECLINE", decline={"offer_ids": ids, **parts}).status == 202


@pytest.mark.contract(calls="DECLINE", recordings="filters.jsonl")
def test_without_a_time_or_with_a_negative_one_a_filter_holds_five_seconds(
    framework: Framework,
) -> None:
    [first, second] = agents_offered(framework, 2)
    began = time.monotonic()
    decline(framework, [first])
    decline(framework, [second], filters={"refuse_seconds": -3})
    quiet(framework, 4.5)
    agents_offered(framework, 2)
    assert time.monotonic() - began >= 4.9


@pytest.mark.contract(calls="ACCEPT", recordings="filters.jsonl")
def test_more_than_was_refused_passes_a_filter(framework: Framework) -> None:
    offers = agents_offered(framework, 2)
    decline(framework, offers[1:], filters={"refuse_seconds": 100})
    framework.accept(offers[:1], [launch(task(offers[0], "f-1", "exit 0"))], refuse=100)
    assert framework.status("f-1", "TASK_FINISHED")
    [offer] = framework.offers()
    assert offer["agent_id"] == offers[0]["agent_id"]
    assert offer["resources"] == offers[0]["resources"]


@pytest.mark.contract(calls="DECLINE SUPPRESS REVIVE", recordings="revive-suppress.jsonl")
def test_a_filter_is_for_one_role(master: Http) -> None:
    with subscribed(master, "two-roles", roles=["lab", "extra"]) as framework:

        def roles(offers: list[dict[str, Any]]) -> dict[str, str]:
            return {o["agent_id"]["value"]: o["allocation_info"]["role"] for o in offers}

        before = agents_offered(framework, 2)
        assert sorted(roles(before).values()) == ["extra", "lab"]
        decline(framework, before, filters={"refuse_seconds": 1000})
        swapped = agents_offered(framework, 2)
        other = {"lab": "extra", "extra": "lab"}
        assert roles(swapped) == {agent: other[role] for agent, role in roles(before).items()}
        framework.call("SUPPRESS", suppress={"roles": ["extra"]})
        decline(framework, swapped, filters={"refuse_seconds": 0})
        [offer] = framework.offers()
        assert offer["allocation_info"]["role"] == "lab"
        assert roles(swapped)[offer["agent_id"]["value"]] == "lab"
        framework.call("REVIVE", revive={"roles": ["lab"]})
        [offer] = framework.offers()
        assert roles(before)[offer["agent_id"]["value"]] == "lab"


@pytest.mark.contract(behaviour="takeover", calls="SUBSCRIBE DECLINE REVIVE")
def test_what_was_refused_holds_for_the_instance_that_takes_over(master: Http) -> None:
    """`HierarchicalAllocatorProcess::updateFramework`: only a disconnect clears the filters."""
    durable = {"failover_timeout": 600.0}
    with subscribed(master, "refusing", **durable) as old:
        decline(old, agents_offered(old, 2), filters={"refuse_seconds": 1000})
        with subscribed(master, "refusing", id={"value": old.id}, **durable) as new:
            quiet(new, 2.5)
            assert not [event for event in new.events if event["type"] == "OFFERS"]
            new.close()

        def cut_off() -> bool:
            [shown] = master.get(f"/frameworks?framework_id={old.id}").json["frameworks"]
            return not shown["connected"]

        wait_for(cut_off, "the master noticed the disconnect")
        with subscribed(master, "refusing", id={"value": old.id}, **durable) as again:
            assert len(agents_offered(again, 2)) == 2


@pytest.mark.contract(calls="UPDATE_FRAMEWORK DECLINE SUPPRESS")
def test_a_role_that_is_no_longer_suppressed_is_offered_what_it_refused(master: Http) -> None:
    """`HierarchicalAllocatorProcess::updateFramework` revives such a role."""
    with subscribed(master, "update", failover_timeout=600.0) as framework:
        decline(framework, agents_offered(framework, 2), filters={"refuse_seconds": 1000})
        assert update(framework).status == 200
        quiet(framework, 2.5)
        framework.call("SUPPRESS")
        assert update(framework).status == 200
        assert len(agents_offered(framework, 2)) == 2


@pytest.mark.contract(events="RESCIND", behaviour="offer-timeout", recordings="offer-timeout.jsonl")
def test_an_offer_times_out(own_cluster: Cluster, tmp_path: Path) -> None:
    late = local_cluster(tmp_path, agents=1, master_flags=["--offer_timeout=2secs"])
    try:
        with subscribed(late.master, "offer-timeout") as framework:
            [offer] = framework.offers()
            began = time.monotonic()
            rescinded = framework.wait_type("RESCIND")
            assert rescinded["rescind"]["offer_id"] == offer["id"]
            assert time.monotonic() - began >= 1.5
            assert framework.offers()[0]["resources"] == offer["resources"]
            framework.accept([offer], [launch(task(offer, "late", "true"))])
            status = framework.status("late")
            [update] = events("offer-timeout.jsonl", "UPDATE")
            recorded = update["update"]["status"]
            for name in ("state", "message", "reason", "source"):
                assert anonymous(status[name]) == anonymous(recorded[name])
    finally:
        late.stop()


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
    same = {"id": {"value": framework.id}, "failover_timeout": 600.0, **framework.who}
    info = framework_info("update", **same, **changes)
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


def constraints(role: str, **predicate: Any) -> dict[str, Any]:
    """Agents of the master's own region, or of others, by the predicate."""
    constraint = {"selector": {"pseudoattribute_type": "REGION"}, "predicate": predicate}
    return {"role_constraints": {role: {"groups": [{"attribute_constraints": [constraint]}]}}}


@pytest.mark.contract(behaviour="constraints", calls="UPDATE_FRAMEWORK SUBSCRIBE")
@pytest.mark.contract(endpoints="/allocator/offer_constraints_debug")
def test_constraints_choose_the_agents_of_a_role(master: Http) -> None:
    """As update-framework.jsonl shows for an attribute; all these clusters have two regions."""
    regions = {
        slave["id"]: slave["domain"]["fault_domain"]["region"]["name"]
        for slave in master.get("/slaves").json["slaves"]
    }
    with subscribed(
        master,
        "chosen",
        roles=["lab", "extra"],
        suppressed=["extra"],
        offer_constraints=constraints("lab", text_equals={"value": "dc-a"}),
    ) as framework:
        [offer] = framework.offers()
        assert regions[offer["agent_id"]["value"]] == "dc-a"
        seen = master.get("/allocator/offer_constraints_debug").json["frameworks"][framework.id]
        elsewhere = [agent for agent, region in regions.items() if region != "dc-a"]
        assert seen == {
            "suppressed_roles": ["extra"],
            "excluded_by_attribute_constraints": {"extra": [], "lab": elsewhere},
        }
        same = {"id": {"value": framework.id}, **framework.who}
        info = framework_info("chosen", roles=["lab", "extra"], **same)
        other = constraints("lab", text_not_matches={"regex": "dc-[a]"})
        answer = framework.call(
            "UPDATE_FRAMEWORK",
            update_framework={
                "framework_info": info,
                "suppressed_roles": ["extra"],
                "offer_constraints": other,
            },
        )
        assert (answer.status, answer.body) == (200, b"")
        shown = master.operator("GET_FRAMEWORKS").json["get_frameworks"]["frameworks"]
        mine = next(f for f in shown if f["framework_info"]["id"]["value"] == framework.id)
        assert mine["offer_constraints"] == other
        [older] = [f for f in master.get("/state").json["frameworks"] if f["id"] == framework.id]
        assert older["offer_constraints"] == other
        decline(framework, [offer], filters={"refuse_seconds": 0})
        assert regions[framework.offers()[0]["agent_id"]["value"]] == "dc-b"
        quiet(framework, 1.5)


WRONG_CONSTRAINTS = [
    (call["body"]["update_framework"]["offer_constraints"], answer["body"])
    for call, answer in zip(
        (line for line in story("update-framework.jsonl") if line["dir"] == "call"),
        (line for line in story("update-framework.jsonl") if line["dir"] == "http"),
        strict=False,
    )
    if "offer_constraints" in call["body"].get("update_framework", {}) and answer["status"] == 400
]


@pytest.mark.contract(calls="UPDATE_FRAMEWORK", recordings="update-framework.jsonl")
def test_wrong_constraints_are_refused_as_recorded(master: Http) -> None:
    assert len(WRONG_CONSTRAINTS) == 4
    with subscribed(master, "update", suppressed=["lab"]) as framework:
        info = framework_info("update", id={"value": framework.id}, **framework.who)
        for wrong, text in WRONG_CONSTRAINTS:
            body = {"framework_info": info, "offer_constraints": wrong}
            answer = framework.call("UPDATE_FRAMEWORK", update_framework=body)
            if FOREIGN_ROLE in text and is_1_11(master):
                assert answer.status == 200
            else:
                assert (answer.status, answer.text) == (400, in_its_words(master, text))


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
            if "principal" in changes and master.credential:
                continue  # who authenticates fails before, as test_authentication shows
            same = {"id": {"value": framework.id}, **framework.who}
            info = framework_info("update", **same) | changes
            answer = framework.call("UPDATE_FRAMEWORK", update_framework={"framework_info": info})
            assert answer.status == 400, changes
            assert answer.text in wanted, changes
