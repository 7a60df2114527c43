"""Quota and weights by operators, and what they do to offers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .client import Answer, Framework, Http, Json, launch, scalar, subscribed, task
from .engine import Cluster, wait_for
from .recordings import anonymous, book, story

# What the recorded cluster had; a story about amounts holds for such a cluster only.
RECORDED = {"cpus": 8.0, "mem": 8192.0, "disk": 8192.0}
FRAMEWORK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{4}")


@pytest.fixture
def master(cluster: Cluster) -> Iterator[Http]:
    """The master without quota before and after, and with the weights 1."""
    slaves = cluster.master.get("/slaves").json["slaves"]
    found: Counter[str] = Counter()
    for slave in slaves:
        found.update({name: slave["resources"].get(name, 0.0) for name in RECORDED})
    if found != RECORDED:
        pytest.skip(f"the recorded cluster has {RECORDED}, this one {dict(found)}")
    remove_quota(cluster.master)
    yield cluster.master
    remove_quota(cluster.master)


def remove_quota(master: Http) -> None:
    for config in master.get("/quota").json.get("configs", []):
        assert master.request("DELETE", f"/quota/{config['role']}").status == 200


def sorted_lists(value: Any) -> Any:
    """The same, lists in one order: Mesos' own is that of a hash table."""
    if isinstance(value, dict):
        return {key: sorted_lists(item) for key, item in value.items()}
    if isinstance(value, list):
        ordered = map(sorted_lists, value)
        return sorted(ordered, key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, str):
        return FRAMEWORK_ID.sub("FRAMEWORK", anonymous(value))
    return value


def roles_in(value: Any) -> set[str]:
    """Roles that a recorded answer lists."""
    if isinstance(value, dict):
        own = {value[name] for name in ("role", "name") if isinstance(value.get(name), str)}
        return own.union(*map(roles_in, value.values()))
    return set().union(*map(roles_in, value)) if isinstance(value, list) else set()


def without(value: Any, roles: set[str]) -> Any:
    """An answer without what it lists of these roles.

    Mesos never forgets a weight, so what an earlier run of these tests set is there still.
    """
    if isinstance(value, dict):
        return {key: without(item, roles) for key, item in value.items()}
    if isinstance(value, list):
        listed = (item for item in value if not (isinstance(item, dict) and roles & roles_in(item)))
        return [without(item, roles) for item in listed]
    return value


def send(master: Http, entry: Json) -> Answer:
    request = entry.get("request")
    body = request if isinstance(request, str) else json.dumps(request)
    headers = entry.get("request_headers") or {}
    if entry["method"] == "GET":
        return master.get(entry["path"])
    return master.request(
        entry["method"], entry["path"], None if request is None else body.encode(), headers
    )


@contextmanager
def consuming(master: Http, name: str) -> Iterator[Framework]:
    """A framework with a task of 1 CPU and 32 MB that wants no more offers."""
    with subscribed(master, name) as framework:
        [offer, *others] = outstanding(framework, 2)
        parts = [scalar("cpus", 1), scalar("mem", 32)]
        framework.call("SUPPRESS")
        framework.accept([offer], [launch(task(offer, name, "sleep 1000", resources=parts))])
        framework.call("DECLINE", decline={"offer_ids": [other["id"] for other in others]})
        framework.status(name, "TASK_RUNNING")
        yield framework


def outstanding(framework: Framework, count: int) -> list[Json]:
    """Offers that are out, once there are that many."""
    offers: dict[str, Json] = {}

    def enough() -> bool:
        offers.clear()
        for event in list(framework.events):
            if event["type"] == "OFFERS":
                offers.update({each["id"]["value"]: each for each in event["offers"]["offers"]})
            elif event["type"] == "RESCIND":
                offers.pop(event["rescind"]["offer_id"]["value"], None)
        return len(offers) >= count

    wait_for(enough, f"{count} offers")
    return list(offers.values())


@pytest.mark.contract(
    operator="GET_QUOTA UPDATE_QUOTA SET_QUOTA REMOVE_QUOTA GET_WEIGHTS UPDATE_WEIGHTS GET_ROLES",
    endpoints="/quota /weights /roles",
    recordings="operator-quota-weights.json",
)
def test_operators_are_answered_as_recorded(master: Http) -> None:
    before = {each["role"] for each in master.get("/weights").json}
    with consuming(master, "quota-and-weights"):
        for position, entry in enumerate(book("operator-quota-weights.json")):
            if entry.get("note") == "no weights" and before:
                continue
            answer = send(master, entry)
            where = (position, entry.get("note"), entry.get("request"), answer.text)
            assert answer.status == entry["status"], where
            kind = entry["headers"].get("Content-Type")
            assert answer.headers.get("content-type") == kind, where
            ours = answer.json if kind == "application/json" else answer.text
            ours = without(ours, before - roles_in(entry["body"]))
            assert sorted_lists(ours) == sorted_lists(entry["body"]), where
            if entry["status"] == 405:
                assert answer.headers["allow"] == entry["headers"]["Allow"]


@pytest.mark.contract(operator="REMOVE_QUOTA", recordings="operator-quota-crash.json")
def test_removing_a_quota_that_was_never_set_is_refused(embedded_cluster: Cluster) -> None:
    """Apache Mesos aborts here."""
    [entry, *_] = book("operator-quota-crash.json")
    answer = embedded_cluster.master.call("/api/v1", entry["request"])
    wanted = "Failed to remove quota: Role 'never-set' has no quota set"
    assert (answer.status, answer.text) == (400, wanted)


def update_quota(master: Http, *configs: Json, force: bool = False) -> None:
    body = {"quota_configs": list(configs), "force": force}
    answer = master.operator("UPDATE_QUOTA", update_quota=body)
    assert (answer.status, answer.body) == (200, b"")


def amounts(offers: list[Json]) -> dict[str, float]:
    """What offers hold together."""
    total: Counter[str] = Counter()
    for offer in offers:
        for resource in offer["resources"]:
            if resource["type"] == "SCALAR":
                total[resource["name"]] += resource["scalar"]["value"]
    return {name: round(amount, 3) for name, amount in total.items() if amount}


class Ledger:
    """Offers that are out, in a story or on a stream."""

    def __init__(self) -> None:
        self.offers: dict[str, Json] = {}

    def follow(self, lines: list[Json]) -> None:
        for line in lines:
            if line["type"] == "OFFERS":
                self.offers |= {each["id"]["value"]: each for each in line["offers"]["offers"]}
            elif line["type"] == "RESCIND":
                self.offers.pop(line["rescind"]["offer_id"]["value"], None)
            for part in ("decline", "accept"):
                for each in line.get(part, {}).get("offer_ids", []):
                    self.offers.pop(each["value"], None)

    @property
    def amounts(self) -> dict[str, float]:
        return amounts(list(self.offers.values()))


def recorded_amounts(until: float) -> dict[str, float]:
    """What was out at a time of the recorded story."""
    ledger = Ledger()
    lines = [line for line in story("quota-offers.jsonl") if line["t"] <= until]
    ledger.follow([line["body"] for line in lines if line["dir"] in {"event", "call"}])
    return ledger.amounts


class Story:
    """The framework of quota-offers.jsonl, played again."""

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        self.ledger = Ledger()
        self._seen = 0

    def out(self) -> dict[str, float]:
        with self.framework.arrived:
            fresh = self.framework.events[self._seen :]
            self._seen += len(fresh)
        self.ledger.follow(fresh)
        return self.ledger.amounts

    def comes_to(self, recorded_until: float) -> list[Json]:
        """Wait until as much is out as was in the recording; these offers."""
        wanted = recorded_amounts(recorded_until)
        wait_for(lambda: self.out() == wanted, f"{wanted} in offers, at {recorded_until}")
        return list(self.ledger.offers.values())

    def decline(self) -> None:
        ids = [offer["id"] for offer in self.ledger.offers.values()]
        body = {"offer_ids": ids, "filters": {"refuse_seconds": 0}}
        assert self.framework.call("DECLINE", decline=body).status == 202
        self.ledger.follow([{"type": "DECLINE", "decline": body}])

    def rescinded(self) -> None:
        """Everything was taken back before the operator was answered."""
        wait_for(lambda: self.out() == {}, "all offers are rescinded")


@pytest.mark.contract(
    operator="UPDATE_QUOTA", events="RESCIND OFFERS", recordings="quota-offers.jsonl"
)
@pytest.mark.contract(behaviour="quota", recordings="quota-offers.jsonl")
def test_limits_cut_offers_and_guarantees_hold_back_as_recorded(master: Http) -> None:
    with subscribed(master, "quota-offers") as framework:
        play = Story(framework)
        play.comes_to(1.5)
        update_quota(master, {"role": "lab", "limits": {"cpus": {"value": 2}}})
        offers = play.comes_to(2.0)
        assert sorted(amounts([offer]).get("cpus", 0) for offer in offers) == [0, 2]
        rescinds = [event for event in framework.events if event["type"] == "RESCIND"]
        assert len(rescinds) == 2
        play.decline()
        offers = play.comes_to(5.0)
        chosen = next(offer for offer in offers if amounts([offer]).get("cpus"))
        parts = [scalar("cpus", 1), scalar("mem", 32)]
        framework.accept([chosen], [launch(task(chosen, "q-1", "sleep 1000", resources=parts))])
        play.ledger.offers.pop(chosen["id"]["value"])
        framework.status("q-1", "TASK_RUNNING")
        play.comes_to(9.0)
        play.decline()
        play.comes_to(13.0)
        refused = next(line for line in story("quota-offers.jsonl") if line.get("status") == 400)
        answer = master.call("/api/v1", refused["call"])
        assert (answer.status, answer.text) == (400, refused["body"])
        both = {"cpus": {"value": 3}, "mem": {"value": 1024}}
        update_quota(master, {"role": "lab", "limits": both})
        play.comes_to(22.0)
        play.decline()
        most = {"cpus": {"value": 6}, "mem": {"value": 6144}}
        other = {"role": "other", "guarantees": most, "limits": most}
        update_quota(master, {"role": "lab"}, other, force=True)
        play.comes_to(26.0)
        play.decline()
        play.comes_to(30.5)
        update_quota(master, {"role": "other"})
        play.comes_to(34.5)


@pytest.mark.contract(behaviour="quota")
def test_a_guarantee_takes_offers_back_from_others(master: Http) -> None:
    """UPDATE_QUOTA rescinds until what came back and what the role has are the guarantee."""
    with subscribed(master, "greedy", roles=["extra"]) as greedy:
        outstanding(greedy, 2)
        with subscribed(master, "guaranteed", roles=["lab"]) as guaranteed:
            update_quota(master, {"role": "lab", "guarantees": {"cpus": {"value": 6}}})
            wait_for(
                lambda: amounts(outstanding(guaranteed, 1)).get("cpus", 0) >= 6, "6 cpus for lab"
            )
            rescinded = [event for event in greedy.events if event["type"] == "RESCIND"]
            assert len(rescinded) == 2


@pytest.mark.contract(operator="UPDATE_WEIGHTS")
def test_a_new_weight_of_a_role_in_use_takes_all_offers_back(master: Http) -> None:
    """weights_handler: offers go back when a role with frameworks is among those updated."""
    with subscribed(master, "weighed") as framework:
        outstanding(framework, 2)
        for role, count in (("nobody", 0), ("lab", 2)):
            body = {"weight_infos": [{"role": role, "weight": 1.0}]}
            assert master.operator("UPDATE_WEIGHTS", update_weights=body).status == 200
            wait_for(
                lambda count=count: (
                    sum(event["type"] == "RESCIND" for event in framework.events) == count
                ),
                f"{count} offers rescinded",
            )


@pytest.mark.parametrize(
    ("weight", "offered"), [(1.0, ["eng/dev", "lab"]), (100.0, ["eng/dev"] * 2)]
)
@pytest.mark.contract(behaviour="weights", operator="UPDATE_WEIGHTS")
def test_roles_share_agents_by_their_weights(
    master: Http, weight: float, offered: list[str]
) -> None:
    """DRF of hierarchical roles: the weight of `eng` is for what `eng/dev` holds.

    Of equal weight, two roles get an agent each; against 100, one that has a task gets none.
    Mesos' sorter looks a parent's weight up when its first role below comes, and keeps it.
    """

    def weigh(eng: float) -> None:
        infos = [{"role": "eng", "weight": eng}, {"role": "lab", "weight": 1.0}]
        assert (
            master.operator("UPDATE_WEIGHTS", update_weights={"weight_infos": infos}).status == 200
        )

    weigh(weight)
    try:
        with subscribed(master, "weights", roles=["eng/dev", "lab"]) as framework:
            play = Story(framework)

            def two_out(but: frozenset[str] = frozenset()) -> list[Json]:
                def out() -> bool:
                    play.out()
                    return len(play.ledger.offers.keys() - but) == 2

                wait_for(out, "offers of both agents")
                return list(play.ledger.offers.values())

            # None has anything: each has a turn.
            offers = two_out()
            assert sorted(roles_of(offers)) == ["eng/dev", "lab"]
            chosen = next(each for each in offers if roles_of([each]) == ["lab"])
            framework.accept([chosen], [launch(task(chosen, "w-1", "sleep 1000"))])
            framework.status("w-1", "TASK_RUNNING")
            play.ledger.offers.pop(chosen["id"]["value"])
            held = {offer["id"]["value"] for offer in two_out()}
            weigh(weight)  # which takes them back
            assert sorted(roles_of(two_out(frozenset(held)))) == offered
    finally:
        weigh(1.0)


def roles_of(offers: list[Json]) -> list[str]:
    return [offer["allocation_info"]["role"] for offer in offers]
