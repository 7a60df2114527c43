"""Reservations and persistent volumes: reservations.jsonl, operator-resources.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .client import Framework, Http, launch, scalar, subscribed, task
from .operating import PRINCIPAL, named, principal
from .recordings import book, events

RESERVED = {
    "reservations": [
        {
            "type": "DYNAMIC",
            "role": "lab",
            "principal": PRINCIPAL,
            "labels": {"labels": [{"key": "resource_id", "value": "r-1"}]},
        }
    ]
}
DISK = {
    "disk": {
        "persistence": {"id": "vol-1", "principal": PRINCIPAL},
        "volume": {"mode": "RW", "container_path": "data"},
    }
}


def held(event: dict[str, Any]) -> dict[str, Any] | None:
    """The offer of an event that holds something reserved for us."""
    for offer in event.get("offers", {}).get("offers", []):
        if any("reservations" in resource for resource in offer["resources"]):
            return offer
    return None


def offered(framework: Framework) -> dict[str, Any]:
    """The next offer with something reserved."""
    offer = held(framework.wait(lambda event: held(event) is not None))
    assert offer is not None
    return offer


def mine(framework: Framework, value: dict[str, Any]) -> dict[str, Any]:
    """What names the recorded principal, with the framework's own."""
    found: dict[str, Any] = named(value, principal(framework.master))
    return found


@pytest.fixture
def owner(master: Http) -> Iterator[Framework]:
    """A framework with a principal; what it reserved is free again at the end."""
    with subscribed(master, "owner", principal=principal(master)) as framework:
        yield framework
    for slave in master.get("/slaves").json["slaves"]:
        for resource in slave["reserved_resources_full"].get("lab", []):
            if "resource_id" not in str(resource["reservations"]):
                continue  # not ours
            plain = {k: v for k, v in resource.items() if k not in {"role", "reservation"}}
            if "disk" in plain:
                body = {"agent_id": {"value": slave["id"]}, "volumes": [plain]}
                assert master.operator("DESTROY_VOLUMES", destroy_volumes=body).status == 202
                del plain["disk"]
            body = {"agent_id": {"value": slave["id"]}, "resources": [plain]}
            assert master.operator("UNRESERVE_RESOURCES", unreserve_resources=body).status == 202


@pytest.mark.contract(
    operations="RESERVE UNRESERVE CREATE DESTROY LAUNCH", recordings="reservations.jsonl"
)
def test_reserve_create_and_launch_in_one_accept_and_back(owner: Framework) -> None:
    offer = owner.offers()[0]
    cpus, mem, disk = (
        mine(owner, scalar(name, amount, **RESERVED))
        for name, amount in (("cpus", 0.2), ("mem", 64), ("disk", 64))
    )
    volume = disk | mine(owner, DISK)
    command = "echo x >> data/f; test $(wc -l < data/f) = 1"
    owner.accept(
        [offer],
        [
            {"type": "RESERVE", "reserve": {"resources": [cpus, mem, disk]}},
            {"type": "CREATE", "create": {"volumes": [volume]}},
            launch(task(offer, "db", command, resources=[cpus, mem, volume])),
        ],
    )
    owner.status("db", "TASK_FINISHED")
    offer = offered(owner)
    reserved = [r for r in offer["resources"] if "reservations" in r]
    recorded = next(
        found
        for event in events("reservations.jsonl", "OFFERS")
        if (found := held(event)) is not None
    )
    recorded = mine(owner, recorded)
    by_name = {r["name"]: r for r in recorded["resources"] if "reservations" in r}
    assert {r["name"]: r for r in reserved} == by_name

    again = "echo x >> data/f; test $(wc -l < data/f) = 2"
    owner.accept([offer], [launch(task(offer, "db2", again, resources=[cpus, mem, volume]))])
    owner.status("db2", "TASK_FINISHED")
    offer = offered(owner)
    owner.accept([offer], [{"type": "DESTROY", "destroy": {"volumes": [volume]}}])
    offer = offered(owner)
    assert not [r for r in offer["resources"] if "disk" in r]
    undo = {"type": "UNRESERVE", "unreserve": {"resources": [cpus, mem, disk]}}
    owner.accept([offer], [undo])
    again_free = owner.wait(
        lambda event: any(
            o["agent_id"] == offer["agent_id"] for o in event.get("offers", {}).get("offers", [])
        )
    )
    assert held(again_free) is None


@pytest.mark.contract(operations="RESERVE")
def test_reservations_outlive_their_framework(owner: Framework, master: Http) -> None:
    offer = owner.offers()[0]
    disk = mine(owner, scalar("disk", 64, **RESERVED))
    owner.accept([offer], [{"type": "RESERVE", "reserve": {"resources": [disk]}}])
    offered(owner)
    owner.call("TEARDOWN")
    owner.wait_end()
    query = f"/slaves?slave_id={offer['agent_id']['value']}"
    assert master.get(query).json["slaves"][0]["reserved_resources"]["lab"]["disk"] == 64.0


@pytest.mark.parametrize(
    "operation",
    [
        {"type": "RESERVE", "reserve": {"resources": [scalar("cpus", 1000, **RESERVED)]}},
        {"type": "RESERVE", "reserve": {"resources": [scalar("cpus", 1)]}},
        {"type": "UNRESERVE", "unreserve": {"resources": [scalar("cpus", 1, **RESERVED)]}},
        {"type": "CREATE", "create": {"volumes": [scalar("disk", 8, **RESERVED)]}},
        {"type": "DESTROY", "destroy": {"volumes": [scalar("disk", 8, **RESERVED, **DISK)]}},
    ],
    ids=["too-much", "not-reserved", "nothing-to-unreserve", "no-volume", "no-such-volume"],
)
@pytest.mark.contract(operations="RESERVE UNRESERVE CREATE DESTROY")
def test_a_wrong_operation_changes_nothing_and_the_next_one_runs(
    owner: Framework, operation: dict[str, Any]
) -> None:
    offer, operation = owner.offers()[0], mine(owner, operation)
    owner.accept([offer], [operation, launch(task(offer, "after", "exit 0"))])
    assert owner.status("after", "TASK_FINISHED")["source"] == "SOURCE_EXECUTOR"


@pytest.mark.contract(
    operator="UNRESERVE_RESOURCES DESTROY_VOLUMES", recordings="operator-resources.json"
)
def test_an_operator_is_told_what_does_not_fit(owner: Framework, master: Http) -> None:
    offer = owner.offers()[0]
    agent = offer["agent_id"]
    owner.call("SUPPRESS")
    recorded = {entry.get("note"): entry for entry in book("operator-resources.json")}
    for note in ("destroy again", "unreserve a volume", "unknown agent"):
        theirs = recorded[note]
        request = theirs["request"]
        kind = request["type"].lower()
        if note == "unknown agent":
            kind = "unreserve_resources"
            part = {"agent_id": {"value": "no-such"}, "resources": []}
        else:
            part = request[kind] | {"agent_id": agent}
        answer = master.operator(kind.upper(), **{kind: part})
        assert (answer.status, answer.text) == (theirs["status"], theirs["body"])
