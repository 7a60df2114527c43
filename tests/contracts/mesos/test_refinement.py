"""Reservations in stacks, step by step: refinement.jsonl, refinement-old-client.jsonl."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .client import Framework, Http, launch, subscribed, task
from .operating import Story, named, principal, released
from .recordings import events, story

Json = dict[str, Any]


def reserved(offer: Json) -> list[str]:
    """Name, roles from the outermost in, and amount of what is reserved."""
    return sorted(
        f"{r['name']} {'>'.join(level['role'] for level in r['reservations'])} "
        f"{r['scalar']['value']}"
        for r in offer["resources"]
        if "reservations" in r
    )


@pytest.fixture
def team(master: Http) -> Iterator[Framework]:
    """A framework in a role and in one below it, the lower one suppressed."""
    roles = {"roles": ["eng", "eng/dev"], "principal": principal(master)}
    with subscribed(master, "team", suppressed=["eng/dev"], **roles) as framework:
        yield framework


@pytest.mark.contract(
    operations="RESERVE UNRESERVE LAUNCH",
    events="UPDATE_OPERATION_STATUS",
    calls="ACKNOWLEDGE_OPERATION_STATUS",
    recordings="refinement.jsonl",
)
def test_a_reservation_is_refined_used_and_taken_back_level_by_level(
    team: Framework, master: Http
) -> None:
    told = Story(team, "refinement.jsonl")
    first = team.offers()
    agent_id = first[0]["agent_id"]
    try:
        team.call("SUPPRESS", suppress={"roles": ["eng"]})
        told.operate(first[0], "op-3")
        others = [offer["id"] for offer in first[1:]]
        team.call("DECLINE", decline={"offer_ids": others, "filters": {"refuse_seconds": 100}})
        team.call("REVIVE", revive={"roles": ["eng/dev"]})
        # What is reserved for the parent is offered to the child.
        offer = told.offer(agent_id)
        assert offer["allocation_info"] == {"role": "eng/dev"}
        assert reserved(offer) == ["cpus eng 1.0", "mem eng 128.0"]
        told.operate(offer, "op-1", "op-4")
        offer = told.offer(agent_id)
        refined = ["cpus eng 0.5", "cpus eng>eng/dev 0.5", "mem eng 128.0"]
        assert reserved(offer) == refined
        told.operate(offer, "bad-0", "bad-1", "bad-2", "bad-3", "bad-4")
        offer = told.offer(agent_id)
        assert reserved(offer) == refined
        used = named(resources_of_the_task(), principal(master))
        # What is left over stays away, and comes with the rest in one offer.
        team.accept([offer], [launch(task(offer, "ref", "exit 0", resources=used))], refuse=100)
        team.status("ref", "TASK_FINISHED")
        told.operate(told.offer(agent_id), "op-5", "op-6")
        assert reserved(told.offer(agent_id)) == []
    finally:
        released(master, agent_id, {"eng", "eng/dev"})


def resources_of_the_task() -> list[Json]:
    [found] = [
        operation["launch"]["task_infos"][0]["resources"]
        for line in story("refinement.jsonl")
        if line["dir"] == "call" and line["body"]["type"] == "ACCEPT"
        for operation in line["body"]["accept"]["operations"]
        if operation["type"] == "LAUNCH"
    ]
    return list(found)


def operations(recording: str, kind: str, name: str) -> list[Json]:
    """Operations of a type that the story's framework asked for, in order."""
    return [
        named(operation, name)
        for line in story(recording)
        if line["dir"] == "call" and line["body"]["type"] == "ACCEPT"
        for operation in line["body"]["accept"]["operations"]
        if operation["type"] == kind
    ]


def reserved_in(offers: list[Json]) -> list[str]:
    """What is reserved for the role, in the old form."""
    return sorted(str(r) for o in offers for r in o["resources"] if r.get("role") == "lab")


@pytest.mark.contract(
    operations="RESERVE UNRESERVE",
    behaviour="old-frameworks",
    recordings="refinement-old-client.jsonl",
)
def test_an_old_client_reserves_in_the_old_form_and_the_new_one_is_understood(master: Http) -> None:
    recording, name = "refinement-old-client.jsonl", principal(master)
    who = {"principal": name, "capabilities": [{"type": "MULTI_ROLE"}]}
    recorded = [
        reserved_in(named(event["offers"]["offers"], name)) for event in events(recording, "OFFERS")
    ]
    with subscribed(master, "old-reserves", **who) as framework:
        told = Story(framework, recording)
        offer = framework.offers()[0]
        agent_id = offer["agent_id"]
        try:
            framework.accept([offer], operations(recording, "RESERVE", name))
            offer = told.offer(agent_id)
            assert reserved_in([offer]) in recorded
            used = [r for r in offer["resources"] if r.get("role") == "lab"]
            ends = launch(task(offer, "old", "exit 0", resources=used))
            framework.accept([offer], [ends], refuse=100)
            framework.status("old", "TASK_FINISHED")
            offer = told.offer(agent_id)
            framework.accept([offer], operations(recording, "UNRESERVE", name))
            assert reserved_in([told.offer(agent_id)]) == []
        finally:
            released(master, agent_id, {"lab"})
