"""A service is placed on paper as the scheduler would place it."""

from __future__ import annotations

from kubedcos.model.offer import Agent, Reservation
from kubedcos.model.service import (
    Goal,
    PhaseSpec,
    PlacementSpec,
    PlanSpec,
    PodSpec,
    PortSpec,
    ServiceSpec,
    StepSpec,
    Strategy,
    TaskSpec,
    VolumeSpec,
)
from kubedcos.offers.capacity import Report, Room, check, less
from kubedcos.offers.fit import Fit, fit

from .builders import ROLE, agent, amounts, needs, pod, task

A1, A2, B1 = agent("a1"), agent("a2", zone="a-2"), agent("b1", "dc-b", "b-1")


def service(*pods: PodSpec) -> ServiceSpec:
    phases = tuple(
        PhaseSpec(
            each.name,
            Strategy.PARALLEL,
            tuple(
                StepSpec(each.instance(i), each.name, i, tuple(t.name for t in each.tasks))
                for i in range(each.count)
            ),
        )
        for each in pods
    )
    return ServiceSpec("k", ROLE, pods, (PlanSpec("deploy", phases),))


def checked(
    *pods: PodSpec, cpus: float = 2.0, placed: dict[tuple[str, int], Agent] | None = None
) -> Report:
    rooms = [Room(each, amounts(cpus=cpus)) for each in (A1, A2, B1)]
    return check(service(*pods), rooms, "dc-a", placed)


def test_what_fits_has_places_and_leaves_the_rest() -> None:
    report = checked(pod(count=3))
    assert report.fits
    assert sorted(found.hostname for found in report.places.values()) == ["a1", "a2", "b1"]
    left = {room.agent.hostname: room.free[0].millis for room in report.rooms}
    assert left == {"a1": 1000, "a2": 1000, "b1": 1000}


def test_pods_share_agents_until_they_are_full() -> None:
    one, two, three = (pod(name=name, count=3) for name in ("one", "two", "three"))
    report = checked(one, two, three)
    assert [lack.pod.name for lack in report.lacks] == ["three"]
    assert report.lacks[0].missing == ("three-0", "three-1", "three-2")
    assert report.lacks[0].outcome.binding == "cpus"


def test_more_nodes_than_agents() -> None:
    (lack,) = checked(pod(count=5)).lacks
    assert (lack.placed, lack.missing) == (3, ("pod-3", "pod-4"))
    assert lack.outcome.binding == "placement one on each agent"


def test_what_may_share_an_agent_does() -> None:
    spec = pod(count=6, placement=PlacementSpec(unique_agent=False))
    assert checked(spec).fits
    assert not checked(pod(count=7, placement=PlacementSpec(unique_agent=False))).fits


def test_tasks_that_end_give_their_share_back() -> None:
    done = PodSpec("jobs", 1, (TaskSpec("job", "job", 2.0, 64, 64, goal=Goal.FINISHED),))
    rules = PlacementSpec(regions=("dc-b",))
    after = pod(task(cpus=2.0), placement=rules)
    assert checked(PodSpec("jobs", 1, done.tasks, rules), after).fits


def test_ports_are_taken_too() -> None:
    kubelet = task(ports=(PortSpec("https", 10250),))
    report = checked(*(pod(kubelet, count=2, name=name) for name in ("one", "two")), cpus=9)
    assert [lack.placed for lack in report.lacks] == [1]
    assert report.lacks[0].outcome.binding == "ports port 10250"


def test_volumes_are_taken_from_the_disk() -> None:
    spec = pod(task(volumes=(VolumeSpec("data", "data", 15000),)))
    rules = PlacementSpec(regions=("dc-b",))
    one = PodSpec("one", 1, spec.tasks, rules)
    two = PodSpec("two", 1, spec.tasks, rules)
    (lack,) = checked(one, two).lacks
    assert lack.pod.name == "two"
    assert lack.outcome.shortfall[0].resource == "disk"


def test_what_runs_already_is_not_placed_again() -> None:
    report = checked(pod(count=3), placed={("pod", 0): A1, ("pod", 1): A2})
    assert {name: found.hostname for name, found in report.places.items()} == {"pod-2": "b1"}


def test_what_is_another_roles_is_not_counted() -> None:
    theirs = amounts(reservations=(Reservation("theirs", dynamic=False),))
    assert not check(service(pod()), [Room(A1, theirs)], "dc-a").fits
    own = amounts(reservations=(Reservation(ROLE, dynamic=False),))
    assert check(service(pod()), [Room(A1, own)], "dc-a").fits
    public = PodSpec("pod", 1, (task(),), role="theirs")
    assert check(service(public), [Room(A1, theirs)], "dc-a").fits


def test_what_was_taken_is_gone() -> None:
    found = fit(needs(pod(task(ports=(PortSpec("x"),)))), amounts())
    assert isinstance(found, Fit)
    left = less(amounts(), found.grants[0].resources)
    assert {part.name: part.millis for part in left} == {
        "cpus": 3000,
        "mem": 7168_000,
        "disk": 20224_000,
        "ports": 0,
    }
    assert left[-1].ranges == ((1026, 29999),)
