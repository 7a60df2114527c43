"""Quota and weights: what is refused, what is stored, which offers go back."""

from __future__ import annotations

from typing import Any

import pytest

from kubedcos.embedded.master import quota_updates, weights
from kubedcos.embedded.master.quota import QuotaConfig, QuotaRequest
from kubedcos.embedded.master.registry import recover, registry_of
from kubedcos.embedded.master.weights import WeightInfo
from kubedcos.mesos.messages import ReservationInfo, Resource, Scalar
from kubedcos.mesos.resource_text import parse_resources
from kubedcos.mesos.resources import Resources

from .world import World, scalar


def config(role: str = "lab", **parts: dict[str, float]) -> QuotaConfig:
    made = {
        name: {key: Scalar(value) for key, value in part.items()} for name, part in parts.items()
    }
    return QuotaConfig(role, **made)


def update(world: World, *configs: QuotaConfig, force: bool = False, **more: Any) -> None:
    allowed = more.get("allowed", frozenset())
    world.perform(quota_updates.update(world.state, configs, allowed, force=force))


def rescinded(world: World) -> int:
    return sum(event.type == "RESCIND" for _, event in world.events)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (config("a/b"), "Updating quota on nested role 'a/b' is not supported yet"),
        (config("-a"), "Invalid 'QuotaConfig.role': Role component '-a' is invalid"),
        (config("other"), "Invalid QuotaConfig: 'other' is not on the roles whitelist"),
        (
            config(limits={"mem": 2e12}),
            (
                "Invalid 'QuotaConfig.limits': {'mem': 2000000000000} is invalid: values greater "
                "than 1 exabyte (1099511627776) are not supported"
            ),
        ),
        (
            config(guarantees={"cpus": 2e12}, limits={"cpus": 3e12}),
            "values greater than 1 trillion (1000000000000) are not supported",
        ),
        (
            config(guarantees={"cpus": float("nan")}),
            "Invalid guarantee configuration {'cpus': nan}: NaN not supported",
        ),
        (config(limits={"x": -0.5}), "Invalid limit configuration {'x': -0.5}: Negative values"),
        (
            config(guarantees={"cpus": 2, "mem": 5}, limits={"cpus": 1}),
            (
                "'QuotaConfig.guarantees' { cpus: 2, mem: 5 } is not contained within the "
                "'QuotaConfig.limits' { cpus: 1 }"
            ),
        ),
        (config(guarantees={"cpus": 5}), "total quota guarantees 'cpus:5' exceed cluster capacity"),
    ],
)
def test_a_wrong_config_changes_nothing(wrong: QuotaConfig, text: str) -> None:
    world = World()
    world.agent()
    allowed = frozenset({"lab", "a/b", "-a"})
    with pytest.raises(quota_updates.QuotaRefused) as caught:
        update(world, config(limits={"cpus": 1}), wrong, allowed=allowed)
    assert text in str(caught.value)
    assert caught.value.status == 400
    assert world.state.quotas == {}


def test_reservations_are_consumed_whether_in_use_or_not() -> None:
    world = World()
    agent = world.agent("cpus:4;mem:4096")
    stack = (ReservationInfo("DYNAMIC", "lab"), ReservationInfo("DYNAMIC", "lab/x"))
    agent.total += Resources([scalar("cpus", 2, reservations=stack)]).unallocated()
    with pytest.raises(quota_updates.QuotaRefused, match="already consuming 'cpus:2'"):
        update(world, config(limits={"cpus": 1}))
    update(world, config(limits={"cpus": 3}))
    framework = world.framework("lab")
    assert sum(offer.resources.thousandths("cpus") for offer in world.offers(framework)) == 1000


def test_only_as_many_offers_go_back_as_the_limit_asks_for() -> None:
    world = World()
    for _ in range(3):
        world.agent("cpus:4;mem:1024")
    framework = world.framework("lab/x")
    update(world, config(limits={"cpus": 9}))
    assert (rescinded(world), len(world.offers(framework))) == (1, 2)


def test_a_guarantee_takes_back_as_much_as_it_needs() -> None:
    world = World()
    for _ in range(3):
        world.agent("cpus:4;mem:1024")
    others = world.framework("other")
    update(world, config(guarantees={"cpus": 6}))
    assert len(world.offers(others)) == 1
    world.allocate()
    # What is not guaranteed, memory here, is offered on.
    assert sum(offer.resources.thousandths("cpus") for offer in world.offers(others)) == 6000
    assert sum(offer.resources.thousandths("mem") for offer in world.offers(others)) == 3072_000
    mine = world.framework("lab")
    assert sum(offer.resources.thousandths("cpus") for offer in world.offers(mine)) >= 6000


def test_an_older_request_sets_both_and_clears_whole_agents() -> None:
    world = World()
    for _ in range(3):
        world.agent("cpus:4;mem:1024")
    world.framework("lab")
    request = QuotaRequest("lab", tuple(parse_resources("cpus:5")))
    world.perform(quota_updates.set_older(world.state, request, frozenset()))
    assert world.state.quotas["lab"].guarantees == world.state.quotas["lab"].limits
    assert rescinded(world) == 2
    with pytest.raises(quota_updates.QuotaRefused, match="'lab' which already has quota"):
        quota_updates.set_older(world.state, request, frozenset())


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (QuotaRequest("lab"), 400, "QuotaInfo with empty 'guarantee'"),
        (QuotaRequest("a//b", (Resource("cpus", "SCALAR", scalar=Scalar(1.0)),)), 400, "adjacent"),
        (QuotaRequest("lab", tuple(parse_resources("ports:[1-2]"))), 400, "non-scalar resources"),
        (
            QuotaRequest("lab", (*parse_resources("cpus:1"), *parse_resources("cpus:2"))),
            400,
            "duplicate resource name 'cpus'",
        ),
        (QuotaRequest("lab", tuple(parse_resources("cpus(x):1"))), 400, "any ReservationInfo"),
        (QuotaRequest("lab", tuple(parse_resources("cpus:9"))), 409, "exceed cluster capacity"),
        (
            QuotaRequest("a/b", tuple(parse_resources("cpus:1"))),
            400,
            (
                "Parent role 'a' with guarantees ({}) does not contain the sum of its children's "
                "guarantees (cpus:1)"
            ),
        ),
    ],
)
def test_a_wrong_older_request(request_: QuotaRequest, status: int, text: str) -> None:
    world = World()
    world.agent()
    with pytest.raises(quota_updates.QuotaRefused) as caught:
        quota_updates.set_older(world.state, request_, frozenset())
    assert text in str(caught.value)
    assert caught.value.status == status


def test_quota_and_weights_outlive_the_master_but_not_a_reset() -> None:
    world = World()
    update(world, config(guarantees={"cpus": 2}, limits={"cpus": 2}), force=True)
    update(world, config("gone", limits={"cpus": 0}), force=True)
    update(world, config("gone"), force=True)
    world.perform(weights.update(world.state, [WeightInfo(2.5, " lab ")], frozenset()))
    assert list(world.state.quotas) == ["lab", "gone"]
    after = World()
    after.state.weights = {"flag": 3.0}
    recover(after.state, registry_of(world.state))
    assert after.state.quotas == {"lab": world.state.quotas["lab"]}
    assert after.state.weights == {"lab": 2.5}
    anew = World()
    anew.state.weights = {"flag": 3.0}
    recover(anew.state, registry_of(World().state))
    assert anew.state.weights == {"flag": 3.0}


def test_who_may_not_changes_nothing() -> None:
    world = World()
    world.agent()
    request = QuotaRequest("lab", tuple(parse_resources("cpus:1")))
    with pytest.raises(PermissionError):
        quota_updates.update(
            world.state,
            [config(limits={"cpus": 2}), config("other", limits={"cpus": 2})],
            frozenset(),
            force=False,
            may=lambda role: role == "lab",
        )
    with pytest.raises(PermissionError):
        quota_updates.set_older(world.state, request, frozenset(), may=lambda _role: False)
    with pytest.raises(PermissionError):
        weights.update(world.state, [], frozenset(), may=lambda role: role is not None)
    # What is wrong is said before it is asked who may.
    with pytest.raises(quota_updates.QuotaRefused):
        quota_updates.update(
            world.state, [config("a/b")], frozenset(), force=False, may=lambda _role: False
        )
    assert (world.state.quotas, world.state.weights) == ({}, {})


def test_a_limit_of_nothing_offers_nothing() -> None:
    world = World()
    world.agent("cpus:4;mem:4096")
    update(world, config(limits={"cpus": 0, "mem": 0}), force=True)
    assert world.offers(world.framework("lab")) == []
    # As with Mesos, the limit of a role counts what is below it, but does not bind it.
    assert len(world.offers(world.framework("lab/x"))) == 1


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (WeightInfo(1.0, "a b"), ": Invalid role 'a b': Role component 'a b' is invalid because"),
        (WeightInfo(1.0), ": Invalid role '': Role names cannot be the empty string"),
        (WeightInfo(1.0, "other"), ": Unknown role 'other'"),
        (WeightInfo(0.0, "lab"), " for role 'lab': Invalid weight '0': Weights must be positive"),
    ],
)
def test_a_wrong_weight_changes_nothing(info: WeightInfo, text: str) -> None:
    world = World()
    infos = [WeightInfo(2.0, "lab"), info]
    with pytest.raises(ValueError, match="Failed to validate update weights") as caught:
        weights.update(world.state, infos, frozenset({"lab"}))
    assert text in str(caught.value)
    assert world.state.weights == {}
