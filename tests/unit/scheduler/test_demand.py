"""When offers are asked for, and when not."""

from __future__ import annotations

import pytest

from kubedcos.scheduler.demand import Demand, Voice
from kubedcos.scheduler.settings import Pace


@pytest.fixture
def demand() -> Demand:
    made = Demand(Pace(revive_interval=2.0, revive_burst=2, revive_again=30.0, suppress_after=10.0))
    made.begin(0.0)
    return made


def test_a_new_subscription_brings_offers_by_itself(demand: Demand) -> None:
    assert demand.decide({"etcd-0"}, 0.5) is Voice.NOTHING
    assert demand.decide({"etcd-0"}, 1.9) is Voice.NOTHING


def test_what_is_wanted_soon_after_is_voiced_at_once(demand: Demand) -> None:
    demand.decide({"etcd-0"}, 0.5)
    assert demand.decide({"kube-apiserver-0"}, 0.9) is Voice.REVIVE


def test_new_demand_revives_but_not_in_a_rush(demand: Demand) -> None:
    assert demand.decide({"etcd-0"}, 3.0) is Voice.REVIVE
    assert demand.decide({"etcd-0", "etcd-1"}, 3.1) is Voice.REVIVE
    assert demand.decide({"etcd-0", "etcd-1", "etcd-2"}, 3.2) is Voice.NOTHING
    assert demand.decide({"etcd-0", "etcd-1", "etcd-2"}, 4.9) is Voice.NOTHING
    assert demand.decide({"etcd-0", "etcd-1", "etcd-2"}, 5.0) is Voice.REVIVE
    assert demand.decide({"node-0"}, 6.9) is Voice.NOTHING


def test_standing_demand_is_voiced_again_now_and_then(demand: Demand) -> None:
    assert demand.decide({"etcd-0"}, 3.0) is Voice.REVIVE
    assert demand.decide({"etcd-0"}, 20.0) is Voice.NOTHING
    assert demand.decide({"etcd-0"}, 33.0) is Voice.REVIVE


def test_without_demand_offers_are_suppressed_once(demand: Demand) -> None:
    assert demand.decide(set(), 5.0) is Voice.NOTHING
    assert demand.decide(set(), 10.0) is Voice.SUPPRESS
    assert demand.decide(set(), 60.0) is Voice.NOTHING


def test_demand_after_silence_revives_at_once(demand: Demand) -> None:
    demand.decide(set(), 10.0)
    assert demand.decide({"etcd-0"}, 10.1) is Voice.REVIVE
    assert not demand.suppressed


def test_demand_that_went_and_came_is_new(demand: Demand) -> None:
    demand.decide({"etcd-0"}, 3.0)
    demand.decide(set(), 6.0)
    assert demand.decide({"etcd-0"}, 7.0) is Voice.REVIVE
