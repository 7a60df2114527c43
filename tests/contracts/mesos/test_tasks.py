"""The life of command tasks: lifecycle.jsonl, mistakes.jsonl, accept-many.jsonl, kills."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Framework, Http, Json, launch, launch_group, scalar, subscribed, task
from .engine import wait_for
from .recordings import differences, events, recorded, status_differences, status_of
from .sandbox import READY, until_ready


def started(framework: Framework, task_id: str, command: str, **changes: Any) -> dict[str, Any]:
    """A task on the first offer, up to TASK_RUNNING; its status."""
    offer = framework.offers()[0]
    framework.accept([offer], [launch(task(offer, task_id, command, **changes))])
    return framework.status(task_id, "TASK_RUNNING")


@pytest.mark.contract(events="OFFERS", recordings="lifecycle.jsonl")
def test_an_offer_looks_as_recorded(framework: Framework) -> None:
    for ours in framework.offers():
        theirs = events("lifecycle.jsonl", "OFFERS")[0]["offers"]["offers"][0]
        named = {resource["name"]: resource for resource in ours.pop("resources")}
        recorded_resources = {entry["name"]: entry for entry in theirs.pop("resources")}
        assert differences(ours, theirs) == []
        for name in ("cpus", "mem", "disk", "ports"):
            assert differences(named[name], recorded_resources[name]) == []


@pytest.mark.contract(behaviour="regions")
def test_offers_come_from_both_regions(framework: Framework) -> None:
    seen: set[str] = set()

    def both() -> bool:
        for event in framework.events:
            for offer in event.get("offers", {}).get("offers", []):
                seen.add(offer["domain"]["fault_domain"]["region"]["name"])
        return len(seen) > 1

    assert wait_for(both, "offers of two regions")


@pytest.mark.contract(behaviour="regions")
def test_without_region_aware_only_the_masters_region_is_offered(master: Http) -> None:
    capabilities = [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}]
    with subscribed(master, "not-region-aware", capabilities=capabilities) as framework:
        region = master.get("/state").json["domain"]["fault_domain"]["region"]["name"]
        for offer in framework.offers():
            assert offer["domain"]["fault_domain"]["region"]["name"] == region


@pytest.mark.contract(behaviour="old-frameworks")
def test_an_old_client_gets_offers_without_allocation_and_with_role(master: Http) -> None:
    with subscribed(master, "old", capabilities=[], roles=None, role="lab") as framework:
        offer = framework.offers()[0]
        assert "allocation_info" not in offer
        assert all("allocation_info" not in resource for resource in offer["resources"])
        assert {resource["role"] for resource in offer["resources"]} == {"*"}


@pytest.mark.contract(
    calls="ACCEPT ACKNOWLEDGE", operations="LAUNCH", events="UPDATE", recordings="lifecycle.jsonl"
)
def test_a_task_that_ends_well(framework: Framework) -> None:
    offer = framework.offers()[0]
    assert framework.accept([offer], [launch(task(offer, "ok", "exit 0"))]).status == 202
    for state in ("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"):
        assert not status_differences(
            framework.status("ok", state), status_of("lifecycle.jsonl", "ok", state)
        )


@pytest.mark.contract(events="UPDATE", recordings="lifecycle.jsonl")
def test_a_task_that_fails(framework: Framework) -> None:
    offer = framework.offers()[0]
    framework.accept([offer], [launch(task(offer, "bad", "exit 3"))])
    ours = framework.status("bad", "TASK_FAILED")
    assert not status_differences(ours, status_of("lifecycle.jsonl", "bad", "TASK_FAILED"))


@pytest.mark.contract(calls="KILL")
def test_a_killed_task_says_killing_and_killed(framework: Framework) -> None:
    until_ready(framework, started(framework, "killed", READY + "exec sleep 100"))
    assert framework.call("KILL", kill={"task_id": {"value": "killed"}}).status == 202
    assert framework.status("killed")["state"] == "TASK_KILLING"
    ours = framework.status("killed")
    assert ours["state"] == "TASK_KILLED"
    assert ours["message"] == "Command terminated with signal Terminated"


@pytest.mark.contract(events="OFFERS")
def test_what_a_task_does_not_use_is_offered_again_exactly(framework: Framework) -> None:
    offer = framework.offers()[0]
    framework.accept([offer], [launch(task(offer, "small", "sleep 100"))])

    def rest(event: dict[str, Any]) -> bool:
        offers = event.get("offers", {}).get("offers", [])
        return any(o["agent_id"] == offer["agent_id"] for o in offers)

    offers = framework.wait(rest)["offers"]["offers"]
    again = next(o for o in offers if o["agent_id"] == offer["agent_id"])
    before = {r["name"]: r["scalar"]["value"] for r in offer["resources"] if "scalar" in r}
    after = {r["name"]: r["scalar"]["value"] for r in again["resources"] if "scalar" in r}
    assert after["cpus"] == pytest.approx(before["cpus"] - 0.1, abs=1e-9)
    assert after["mem"] == before["mem"] - 32


@pytest.mark.contract(operations="LAUNCH", recordings="mistakes.jsonl")
def test_too_big_a_task_is_refused(framework: Framework) -> None:
    offer = framework.offers()[0]
    resources = [scalar("cpus", 10000), scalar("mem", 32)]
    framework.accept([offer], [launch(task(offer, "toobig", "true", resources=resources))])
    ours = framework.status("toobig")
    theirs = status_of("mistakes.jsonl", "toobig", "TASK_ERROR")
    start = "Total resources cpus(allocated: lab):10000; mem(allocated: lab):32 required by task"
    assert ours["message"].startswith(start)
    assert theirs["message"].startswith(start)
    assert not status_differences(ours | {"message": ""}, theirs | {"message": ""})


@pytest.mark.contract(calls="ACCEPT", recordings="mistakes.jsonl")
def test_a_used_offer_is_stale(framework: Framework) -> None:
    offer = framework.offers()[0]
    framework.call("DECLINE", decline={"offer_ids": [offer["id"]]})
    framework.accept([offer], [launch(task(offer, "stale", "true"))])
    ours = framework.status("stale")
    assert offer["id"]["value"] in ours["message"]
    assert not status_differences(ours, status_of("mistakes.jsonl", "stale", "TASK_DROPPED"))


@pytest.mark.contract(operations="LAUNCH", recordings="mistakes.jsonl")
def test_a_task_id_may_not_be_used_twice(framework: Framework) -> None:
    offer = framework.offers()[0]
    both = launch(task(offer, "dup", "sleep 100"), task(offer, "dup", "sleep 100"))
    framework.accept([offer], [both])
    assert not status_differences(
        framework.status("dup", "TASK_ERROR"), status_of("mistakes.jsonl", "dup", "TASK_ERROR")
    )
    framework.status("dup", "TASK_RUNNING")


FAULTS = {
    "a/b": {},
    "nores": {"resources": []},
    "wrong-agent": {"agent_id": {"value": "other"}},
    "nocmd": {"command": None},
    "badlimits": {"limits": {"mem": {"value": 8}}},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.contract(operations="LAUNCH", recordings="accept-many.jsonl")
def test_a_bad_task_is_refused_and_the_good_one_beside_it_runs(
    framework: Framework, fault: str
) -> None:
    offer = framework.offers()[0]
    good, bad = task(offer, "good", "sleep 100"), task(offer, fault, "true") | FAULTS[fault]
    framework.accept([offer], [launch(good, bad)])
    assert not status_differences(
        framework.status(fault), status_of("accept-many.jsonl", fault, "TASK_ERROR")
    )
    framework.status("good", "TASK_RUNNING")


def told_together(framework: Framework, operation: Json) -> set[tuple[str, ...]]:
    """State, source, reason and message that the tasks of an operation are told."""
    offer = framework.offers()[0]
    kind = operation["type"].lower()
    named = operation[kind].get("task_infos") or operation[kind]["task_group"]["tasks"]
    for each in named:
        each["agent_id"] = offer["agent_id"]
    assert framework.accept([offer], [operation]).status == 202
    statuses = [framework.status(each["task_id"]["value"]) for each in named]
    return {tuple(s[key] for key in ("state", "source", "reason", "message")) for s in statuses}


NOWHERE = {"agent_id": {"value": ""}}
NEGATIVE = {"resources": [scalar("cpus", -1), scalar("mem", 32)]}


@pytest.mark.contract(operations="LAUNCH", recordings="accept-many.jsonl")
def test_wrong_resources_of_one_task_let_a_launch_fail_as_a_whole(framework: Framework) -> None:
    """`validateAndUpgradeResources` of `Master::accept`, ahead of everything about single tasks."""
    theirs = status_of("accept-many.jsonl", "neg", "TASK_ERROR")
    tasks = (task(NOWHERE, "good", "sleep 100"), task(NOWHERE, "neg", "true") | NEGATIVE)
    wanted = ("TASK_ERROR", "SOURCE_MASTER", theirs["reason"], theirs["message"])
    assert told_together(framework, launch(*tasks)) == {wanted}


@pytest.mark.contract(operations="LAUNCH_GROUP")
@pytest.mark.parametrize("where", ["executor", "task"])
def test_wrong_resources_anywhere_in_a_group_are_told_the_same_way(
    framework: Framework, where: str
) -> None:
    executor = {
        "type": "DEFAULT",
        "executor_id": {"value": "e"},
        "framework_id": {"value": framework.id},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32), scalar("disk", 32)],
    }
    second = task(NOWHERE, "g-2", "sleep 100")
    (executor if where == "executor" else second).update(NEGATIVE)
    group = launch_group(executor, task(NOWHERE, "g-1", "sleep 100"), second)
    words = "Resource 'cpus(allocated: lab):-1' is invalid: Invalid scalar resource: value <= 0"
    wanted = ("TASK_ERROR", "SOURCE_MASTER", "REASON_TASK_GROUP_INVALID", words)
    assert told_together(framework, group) == {wanted}


@pytest.mark.contract(operations="LAUNCH")
def test_a_launch_has_no_id(framework: Framework) -> None:
    """Not even where a task would be refused for something else."""
    operation = launch(task(NOWHERE, "good", "sleep 100"), task(NOWHERE, "a/b", "true"))
    operation |= {"id": {"value": "o"}}
    words = "The `id` field cannot be set on LAUNCH operations"
    wanted = ("TASK_ERROR", "SOURCE_MASTER", "REASON_TASK_INVALID", words)
    assert told_together(framework, operation) == {wanted}


@pytest.mark.contract(calls="ACCEPT", recordings="accept-many.jsonl")
def test_offers_of_two_agents_cannot_be_accepted_together(framework: Framework) -> None:
    offers: dict[str, dict[str, Any]] = {}
    while len(offers) < 2:
        for offer in framework.offers():
            offers[offer["agent_id"]["value"]] = offer
    pair = list(offers.values())[:2]
    framework.accept(pair, [launch(task(pair[0], "two-agents", "true"))])
    theirs = status_of("accept-many.jsonl", "two-agents", "TASK_DROPPED")
    assert not status_differences(framework.status("two-agents"), theirs)


@pytest.mark.parametrize(
    ("name", "ids"), [("nooffer", []), ("unknown", ["no-such-offer"]), ("twice", None)]
)
@pytest.mark.contract(calls="ACCEPT", recordings="accept-many.jsonl")
def test_wrong_offer_ids_drop_the_tasks(
    framework: Framework, name: str, ids: list[str] | None
) -> None:
    offer = framework.offers()[0]
    chosen = [offer["id"]] * 2 if ids is None else [{"value": value} for value in ids]
    framework.call(
        "ACCEPT",
        accept={"offer_ids": chosen, "operations": [launch(task(offer, name, "true"))]},
    )
    theirs = status_of("accept-many.jsonl", name, "TASK_DROPPED")
    assert not status_differences(framework.status(name), theirs)


@pytest.mark.contract(calls="RECONCILE", recordings="failover-after.jsonl")
def test_reconciliation_tells_the_latest_state_and_what_is_unknown(framework: Framework) -> None:
    started(framework, "stay", "sleep 100")
    framework.call("RECONCILE", reconcile={"tasks": []})
    theirs = status_of("failover-after.jsonl", "stay", "TASK_RUNNING")
    assert not status_differences(framework.status("stay"), theirs)
    asked = [{"task_id": {"value": name}} for name in ("stay", "never")]
    framework.call("RECONCILE", reconcile={"tasks": asked})
    assert not status_differences(framework.status("stay"), theirs)
    theirs = status_of("failover-after.jsonl", "never", "TASK_UNKNOWN")
    assert not status_differences(framework.status("never"), theirs)


@pytest.mark.contract(calls="KILL", recordings="mistakes.jsonl")
def test_a_kill_of_an_unknown_task_is_answered_as_a_reconciliation(framework: Framework) -> None:
    offer = framework.offers()[0]
    framework.call("KILL", kill={"task_id": {"value": "no-such"}})
    assert not status_differences(
        framework.status("no-such"), status_of("mistakes.jsonl", "no-such", "TASK_UNKNOWN")
    )
    framework.call("KILL", kill={"task_id": {"value": "gone"}, "agent_id": offer["agent_id"]})
    status = framework.status("gone")
    assert status["state"] == "TASK_GONE"
    assert status["message"] == "Reconciliation: Task is unknown to the agent"


@pytest.mark.contract(behaviour="takeover")
def test_takeover_keeps_tasks_and_offers_come_to_the_new_instance(master: Http) -> None:
    with subscribed(master, "before", failover_timeout=600.0) as old:
        started(old, "kept", "sleep 100")
        with subscribed(master, "after", failover_timeout=600.0, id={"value": old.id}) as new:
            new.offers()
            new.call("RECONCILE", reconcile={"tasks": []})
            assert new.status("kept")["state"] == "TASK_RUNNING"


@pytest.mark.contract(endpoints="/tasks", recordings="tasks-running.json")
@pytest.mark.contract(endpoints="/state", recordings="state-running.json")
@pytest.mark.contract(operator="GET_TASKS", recordings="op-get-tasks.json")
def test_views_show_a_running_task_as_recorded(framework: Framework, master: Http) -> None:
    discovery = {
        "visibility": "CLUSTER",
        "name": "ok-svc",
        "ports": {"ports": [{"number": 31000, "name": "http", "protocol": "tcp"}]},
    }
    labels = {"labels": [{"key": "k", "value": "v"}]}
    started(framework, "ok", "sleep 100", discovery=discovery, labels=labels)
    framework.call("SUPPRESS")
    ours = master.get(f"/tasks?framework_id={framework.id}").json["tasks"][0]
    assert differences(ours, recorded("tasks-running.json")["body"]["tasks"][0]) == []
    listed = master.operator("GET_TASKS").json["get_tasks"]["tasks"]
    ours = next(t for t in listed if t["framework_id"]["value"] == framework.id)
    theirs = recorded("op-get-tasks.json")["body"]["get_tasks"]["tasks"][0]
    assert differences(ours, theirs) == []
    state = master.get("/state").json
    theirs = recorded("state-running.json")["body"]
    mine = next(f for f in state["frameworks"] if f["id"] == framework.id)
    found = differences(mine, theirs["frameworks"][0])
    assert [line for line in found if "/ports" not in line and "reregistered" not in line] == []
    agent = mine["tasks"][0]["slave_id"]
    slave = next(s for s in state["slaves"] if s["id"] == agent)
    assert slave["used_resources"] == {"cpus": 0.1, "mem": 32.0, "disk": 0.0, "gpus": 0.0}
