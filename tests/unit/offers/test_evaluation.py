"""Which agent is chosen, what is taken from it, and what is said when none will do."""

from __future__ import annotations

from dataclasses import replace

from kubedcos.model.offer import Reservation
from kubedcos.model.service import DiskKind, PlacementSpec, PortSpec, VolumeSpec
from kubedcos.offers.evaluation import evaluate
from kubedcos.offers.fit import Fit, fit

from .builders import ROLE, agent, amounts, around, mount, needs, offers, pod, task

A1, A2, B1 = agent("a1"), agent("a2"), agent("b1", "dc-b", "b-1")
LAB = around(A1, A2, B1)
DATA = VolumeSpec("data", "data", 1024)
ETCD = pod(task("peer", ports=(PortSpec("client", 2379), PortSpec("x")), volumes=(DATA,)))


def fitted(found: object) -> Fit:
    assert isinstance(found, Fit), found
    return found


def test_the_sentence_names_need_place_and_best_offer() -> None:
    spec = pod(task(cpus=3), placement=PlacementSpec(regions=("dc-b",)))
    found = offers((A1, amounts(cpus=8)), (B1, amounts(cpus=2.1)))
    outcome = evaluate(needs(spec), found, LAB)
    assert outcome.chosen is None
    assert outcome.reason == "needs 3 cpus in region dc-b; best offer there: 2.1 (b1)"


def test_the_best_of_several_short_offers_is_named() -> None:
    found = offers((A1, amounts(mem=100)), (A2, amounts(mem=900)))
    outcome = evaluate(needs(pod()), found, LAB)
    assert outcome.reason == "needs 1024 MB of memory; best offer: 900 (a2)"


def test_two_shortages_everywhere_are_both_named() -> None:
    outcome = evaluate(needs(pod()), offers((A1, amounts(cpus=0.5, mem=100))), LAB)
    assert outcome.reason == (
        "needs 1 cpus; best offer: 0.5 (a1); needs 1024 MB of memory; best offer: 100 (a1)"
    )


def test_when_each_agent_lacks_something_else_they_are_listed() -> None:
    found = offers((A1, amounts(cpus=0.5)), (A2, amounts(mem=100)))
    outcome = evaluate(needs(pod()), found, LAB)
    assert outcome.reason == (
        "no single agent has everything: a1 has 0.5 of 1 cpus; a2 has 100 of 1024 MB of memory"
    )


def test_a_static_port_that_is_not_offered_is_named() -> None:
    spec = pod(task("api", ports=(PortSpec("https", 443),)))
    outcome = evaluate(needs(spec), offers((A1, amounts())), LAB)
    assert outcome.reason == "no single agent has everything: a1 does not offer port 443 (api)"


def test_without_offers_it_says_where_it_waits_for_one() -> None:
    spec = pod(placement=PlacementSpec(regions=("dc-b",)))
    assert evaluate(needs(spec), (), LAB).reason == ("needs an offer in region dc-b; there is none")
    assert evaluate(needs(spec, pinned=A1), (), LAB).reason == (
        "needs an offer on a1; there is none"
    )


def test_the_tightest_agent_is_taken_so_that_large_ones_stay_free() -> None:
    found = offers((A1, amounts(mem=8192)), (A2, amounts(mem=2048)))
    for count in (1, 2):
        chosen = evaluate(needs(pod(count=count)), found, LAB).chosen
        assert chosen is not None
        assert chosen.offers.agent is A2
        assert str(chosen.score) == "room for 1 more"


def test_offers_of_one_agent_are_taken_together() -> None:
    found = offers((A1, amounts(cpus=0.6)), (A1, amounts(cpus=0.6)))
    chosen = evaluate(needs(pod()), found, LAB).chosen
    assert chosen is not None
    assert chosen.offers.offer_ids == ("O0", "O1")


def test_ports_static_and_dynamic() -> None:
    spec = pod(task(ports=(PortSpec("dns", 1053, "udp"), PortSpec("dns-tcp", 1053), PortSpec("m"))))
    (grant,) = fitted(fit(needs(spec), amounts(ports=((1050, 1060),)))).grants
    assert grant.ports == {"dns": 1053, "dns-tcp": 1053, "m": 1050}
    taken = {part.ranges for part in grant.resources if part.name == "ports"}
    assert taken == {((1050, 1050), (1053, 1053))}


def test_two_tasks_cannot_have_the_same_port() -> None:
    spec = pod(task("a", ports=(PortSpec("p", 2000),)), task("b", ports=(PortSpec("p", 2000),)))
    found = fit(needs(spec), amounts())
    assert not isinstance(found, Fit)
    assert [finding.reason for finding in found] == ["has not port 2000 twice"]


def test_resources_reserved_for_the_role_are_used_first() -> None:
    static = Reservation(ROLE, dynamic=False)
    offered = (
        *amounts(cpus=0.4),
        *amounts(cpus=0.8, mem=0, disk=0, ports=(), reservations=(static,)),
    )
    (grant,) = fitted(fit(needs(pod()), offered)).grants
    cpus = {part.reservations: part.millis for part in grant.resources if part.name == "cpus"}
    assert cpus == {(static,): 800, (): 200}


def test_two_tasks_do_not_get_the_same_share() -> None:
    static = Reservation(ROLE, dynamic=False)
    reserved = amounts(cpus=1.0, mem=0, disk=0, ports=(), reservations=(static,))
    spec = pod(task("a", cpus=1.0), task("b", cpus=1.0))
    one, two = fitted(fit(needs(spec), (*amounts(cpus=1.0), *reserved))).grants
    stacks = [[p.reservations for p in g.resources if p.name == "cpus"] for g in (one, two)]
    assert stacks == [[(static,)], [()]]


def test_what_somebody_labelled_is_left_alone() -> None:
    theirs = Reservation(ROLE, labels=(("resource_id", "theirs"),))
    found = fit(needs(pod()), amounts(reservations=(theirs,)))
    assert not isinstance(found, Fit)
    assert {finding.rule for finding in found} >= {"cpus", "mem", "disk"}


def test_a_pod_with_a_volume_is_reserved_and_its_volume_created() -> None:
    found = fitted(fit(needs(ETCD), amounts()))
    assert {part.name: part.millis for part in found.reserve if part.name != "ports"} == {
        "cpus": 1000,
        "mem": 1024_000,
        "disk": (256 + 1024) * 1000,
    }
    labels = {label for part in found.reserve for label in (part.label("kubedcos_reservation"),)}
    assert labels == {"r-new"}
    (volume,) = found.create
    assert volume.disk.persistence_id == "kubernetes.pod-0.peer.data.r-new"
    assert volume.disk.container_path == "data"
    assert volume.millis == 1024_000
    (grant,) = found.grants
    assert volume in grant.resources
    assert grant.volumes == {"data": "data"}


def test_all_tasks_of_a_reserved_pod_are_reserved_though_one_is_launched() -> None:
    spec = pod(task("a", volumes=(DATA,)), task("b"))
    found = fitted(fit(needs(spec, launch=("a",)), amounts()))
    assert [grant.task for grant in found.grants] == ["a"]
    assert {part.label("kubedcos_task") for part in found.reserve} == {"a", "b"}


def test_a_relaunch_uses_what_was_reserved() -> None:
    first = fitted(fit(needs(ETCD), amounts()))
    (grant,) = first.grants
    again = fitted(fit(needs(ETCD, reservation_id="r-new", fresh_id=""), grant.resources))
    assert again.reserve == ()
    assert again.create == ()
    assert again.grants[0].ports == grant.ports
    assert set(again.grants[0].resources) == set(grant.resources)


def test_a_pod_that_lives_there_does_not_take_fresh_resources() -> None:
    outcome = evaluate(
        needs(ETCD, pinned=A1, reservation_id="r-1", fresh_id=""), offers((A1, amounts())), LAB
    )
    assert outcome.chosen is None
    assert outcome.reason == (
        "no single agent on a1 has everything: a1 does not offer the resources reserved for pod-0"
    )


def test_where_only_an_earlier_reservation_will_do_none_is_made_anew() -> None:
    outcome = evaluate(needs(ETCD, reservation_id="r-1", fresh_id=""), offers((A1, amounts())), LAB)
    assert outcome.chosen is None
    assert "does not offer the resources reserved for pod-0" in outcome.reason


def test_a_reservation_without_its_volume_is_not_launched_on() -> None:
    (grant,) = fitted(fit(needs(ETCD), amounts())).grants
    bare = tuple(part for part in grant.resources if not part.is_volume)
    found = fit(needs(ETCD, reservation_id="r-new", fresh_id=""), bare)
    assert not isinstance(found, Fit)
    assert [f.reason for f in found] == ["does not offer volume data of peer"]


def test_a_reservation_grows_by_what_is_free_beside_it() -> None:
    grant = fitted(fit(needs(ETCD), amounts())).grants[0]
    grown = replace(ETCD, tasks=(replace(ETCD.tasks[0], cpus=2.5, mem_mb=2048),))
    beside = amounts(cpus=3.0, mem=4096, disk=100, ports=())
    found = fitted(
        fit(needs(grown, reservation_id="r-new", fresh_id=""), (*grant.resources, *beside))
    )
    added = {part.name: (part.millis, part.label("kubedcos_reservation")) for part in found.reserve}
    assert added == {"cpus": (1500, "r-new"), "mem": (1_024_000, "r-new")}
    cpus = [part for part in found.grants[0].resources if part.name == "cpus"]
    assert [part.millis for part in cpus] == [2500]
    assert found.unreserve == ()
    assert found.create == ()


def test_a_reservation_shrinks_to_what_is_needed_and_keeps_its_volume() -> None:
    grant = fitted(fit(needs(ETCD), amounts())).grants[0]
    smaller = replace(ETCD, tasks=(replace(ETCD.tasks[0], cpus=0.25),))
    found = fitted(fit(needs(smaller, reservation_id="r-new", fresh_id=""), grant.resources))
    assert [(part.name, part.millis) for part in found.unreserve] == [("cpus", 750)]
    assert found.reserve == ()
    left = found.grants[0].resources
    assert [part.millis for part in left if part.name == "cpus"] == [250]
    volumes = [part for part in grant.resources if part.is_volume]
    assert [part for part in left if part.is_volume] == volumes


def test_a_reservation_that_is_too_small_by_now_says_so_with_figures() -> None:
    (grant,) = fitted(fit(needs(ETCD), amounts())).grants
    grown = pod(task("peer", cpus=2, volumes=(DATA,)))
    found = fit(needs(grown, reservation_id="r-new", fresh_id=""), grant.resources)
    assert not isinstance(found, Fit)
    assert [f.reason for f in found] == ["has 1 of 2 cpus in its reservation"]


def test_an_earlier_reservation_is_preferred_to_a_roomier_agent() -> None:
    (grant,) = fitted(fit(needs(ETCD), amounts())).grants
    requirement = needs(ETCD, reservation_id="r-new", fresh_id="r-2")
    found = offers((A1, amounts(mem=1100)), (A2, (*amounts(), *grant.resources)))
    chosen = evaluate(requirement, found, LAB).chosen
    assert chosen is not None
    assert chosen.offers.agent is A2
    assert chosen.fit is not None
    assert chosen.fit.reservation_id == "r-new"


def test_a_mount_disk_is_taken_whole_the_smallest_that_does() -> None:
    volume = VolumeSpec("data", "data", 1000, DiskKind.MOUNT)
    offered = (*amounts(), mount("/big", 9000), mount("/mid", 2000), mount("/tiny", 500))
    (created,) = fitted(fit(needs(pod(task(volumes=(volume,)))), offered)).create
    assert (created.disk.root, created.millis) == ("/mid", 2000_000)


def test_a_path_disk_is_split() -> None:
    volume = VolumeSpec("data", "data", 1000, DiskKind.PATH)
    offered = (*amounts(), mount("/p", 9000, DiskKind.PATH))
    (created,) = fitted(fit(needs(pod(task(volumes=(volume,)))), offered)).create
    assert (created.disk.root, created.millis) == ("/p", 1000_000)


def test_a_missing_kind_of_disk_is_named_with_figures() -> None:
    volume = VolumeSpec("data", "data", 1000, DiskKind.MOUNT)
    spec = pod(task(volumes=(volume,)))
    outcome = evaluate(needs(spec), offers((A1, (*amounts(), mount("/tiny", 500)))), LAB)
    assert outcome.reason == ("no single agent has everything: a1 has 500 of 1000 MB of MOUNT disk")
