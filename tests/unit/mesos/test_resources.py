"""Arithmetic on resources, and their text forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.errors import InvalidInput
from kubedcos.mesos.messages import (
    DiskInfo,
    DiskRoot,
    DiskSource,
    DiskVolume,
    Operation,
    OperationGrowVolume,
    OperationReserve,
    OperationResources,
    OperationShrinkVolume,
    OperationVolumes,
    Persistence,
    ReservationInfo,
    Resource,
    Scalar,
)
from kubedcos.mesos.operations import (
    NotApplicable,
    applied,
    conversions,
    needs_checkpoint,
    with_checkpointed,
)
from kubedcos.mesos.resource_text import parse_attributes, parse_resources
from kubedcos.mesos.resources import Resources, downgraded, text_of, upgraded
from kubedcos.mesos.values import merged, without

DYNAMIC = ReservationInfo(type="DYNAMIC", role="lab", principal="p")


def scalar(name: str, value: float, **more: object) -> Resource:
    return Resource(name=name, type="SCALAR", scalar=Scalar(value), **more)  # type: ignore[arg-type]


def volume(identity: str, value: float) -> Resource:
    disk = DiskInfo(persistence=Persistence(identity), volume=DiskVolume("RW", "data"))
    return scalar("disk", value, reservations=(DYNAMIC,), disk=disk)


def after(total: Resources, *operations: Operation) -> Resources:
    for operation in operations:
        total = applied(total, conversions(operation))
    return total


def reserve(*resources: Resource, source: tuple[Resource, ...] = ()) -> Operation:
    return Operation("RESERVE", reserve=OperationReserve(source, resources))


def unreserve(*resources: Resource) -> Operation:
    return Operation("UNRESERVE", unreserve=OperationResources(resources))


def test_three_decimals_add_up_exactly() -> None:
    tenth = [scalar("cpus", 0.1)]
    total = parse_resources("cpus:1")
    for _ in range(10):
        total -= tenth
    assert len(total) == 0


def test_the_fourth_decimal_does_not_count() -> None:
    assert Resources([scalar("cpus", 1.0001)]) == parse_resources("cpus:1")


def test_taking_more_than_there_is_leaves_nothing() -> None:
    assert len(parse_resources("cpus:1") - parse_resources("cpus:2")) == 0


def test_ports_are_taken_out_of_ranges() -> None:
    ports = parse_resources("ports:[1-10]") - parse_resources("ports:[3-4, 8-8]")
    assert ports.spans() == ((1, 2), (5, 7), (9, 10))
    assert not ports.contains(parse_resources("ports:[4-5]"))
    assert ports.contains(parse_resources("ports:[5-6, 10-10]"))


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))).map(merged)


@given(spans, spans)
def test_spans_behave_as_sets_of_numbers(one: object, other: object) -> None:
    def numbers(value: object) -> set[int]:
        return {n for low, high in value for n in range(low, high + 1)}  # type: ignore[attr-defined]

    assert numbers(without(one, other)) == numbers(one) - numbers(other)  # type: ignore[arg-type]
    assert merged(without(one, other)) == without(one, other)  # type: ignore[arg-type]


def test_reserved_and_unreserved_do_not_mix() -> None:
    mixed = Resources([scalar("cpus", 1), scalar("cpus", 2, reservations=(DYNAMIC,))])
    assert mixed.scalar("cpus") == 3
    assert mixed.unreserved().scalar("cpus") == 1
    assert mixed.reserved("lab").scalar("cpus") == 2
    assert not mixed.contains([scalar("cpus", 2)])


def test_a_volume_is_taken_whole_or_not_at_all() -> None:
    held = Resources([volume("v", 64)])
    assert not held.contains([volume("v", 32)])
    assert held - [volume("v", 32)] == held
    assert len(held - [volume("v", 64)]) == 0
    assert len(held + Resources([volume("w", 64)])) == 2


def test_a_mount_disk_cannot_be_split_and_a_path_disk_can() -> None:
    mount = DiskInfo(source=DiskSource("MOUNT", mount=DiskRoot("/mnt")))
    path = DiskInfo(source=DiskSource("PATH", path=DiskRoot("/data")))
    assert not Resources([scalar("disk", 100, disk=mount)]).contains(
        [scalar("disk", 50, disk=mount)]
    )
    assert Resources([scalar("disk", 100, disk=path)]).contains([scalar("disk", 50, disk=path)])


def test_operations_lead_there_and_back() -> None:
    total = parse_resources("cpus:4;disk:100")
    reserved = [scalar("disk", 64, reservations=(DYNAMIC,))]
    there = Operation("CREATE", create=OperationVolumes((volume("v", 64),)))
    made = after(total, reserve(*reserved), there)
    assert made.volumes() == Resources([volume("v", 64)])
    assert made.scalar("disk") == 100
    back = Operation("DESTROY", destroy=OperationVolumes((volume("v", 64),)))
    assert after(made, back, unreserve(*reserved)) == total


def test_a_volume_grows_and_shrinks_by_the_disk_around_it() -> None:
    free = scalar("disk", 36, reservations=(DYNAMIC,))
    total = Resources([volume("v", 64), free])
    addition = scalar("disk", 32, reservations=(DYNAMIC,))
    grow = Operation("GROW_VOLUME", grow_volume=OperationGrowVolume(volume("v", 64), addition))
    grown = after(total, grow)
    assert grown == Resources([volume("v", 96), scalar("disk", 4, reservations=(DYNAMIC,))])
    less = OperationShrinkVolume(volume("v", 96), Scalar(32))
    assert after(grown, Operation("SHRINK_VOLUME", shrink_volume=less)) == total


def test_a_reservation_with_a_source_may_lead_to_another_role() -> None:
    before = scalar("cpus", 1, reservations=(DYNAMIC, ReservationInfo("DYNAMIC", "lab/db")))
    other = scalar("cpus", 1, reservations=(ReservationInfo("DYNAMIC", "other"),))
    assert after(Resources([before]), reserve(other, source=(before,))) == Resources([other])


def test_an_operation_that_does_not_fit_says_what_is_there() -> None:
    with pytest.raises(NotApplicable, match=r"^cpus:4 does not contain cpus:5$"):
        after(parse_resources("cpus:4"), reserve(scalar("cpus", 5, reservations=(DYNAMIC,))))


def test_a_refined_reservation_pops_one_level() -> None:
    finer = ReservationInfo(type="DYNAMIC", role="lab/db")
    refined = scalar("cpus", 1, reservations=(DYNAMIC, finer))
    assert after(Resources([refined]), unreserve(refined)) == Resources(
        [scalar("cpus", 1, reservations=(DYNAMIC,))]
    )


def test_what_an_agent_remembers_applies_to_its_flags() -> None:
    configured = parse_resources("cpus:4;disk:100;disk(db):10")
    static = ReservationInfo(type="STATIC", role="db")
    on_static = scalar(
        "disk", 4, reservations=(static,), disk=DiskInfo(persistence=Persistence("s"))
    )
    remembered = [volume("v", 64), scalar("cpus", 1, reservations=(DYNAMIC,)), on_static]
    total = with_checkpointed(configured, remembered)
    assert total.scalar("disk") == 110
    assert total.unreserved().scalar("disk") == 36
    assert total.where(needs_checkpoint) == Resources(remembered)
    with pytest.raises(NotApplicable):
        with_checkpointed(parse_resources("disk:10"), [volume("v", 64)])


def test_both_forms_of_reservations_are_the_same() -> None:
    old = scalar("cpus", 1, role="lab", reservation=ReservationInfo(principal="p"))
    new = scalar("cpus", 1, reservations=(DYNAMIC,))
    assert upgraded(old) == new
    assert upgraded(downgraded(new)) == new
    assert upgraded(scalar("cpus", 1, role="*")) == scalar("cpus", 1)
    with pytest.raises(ValueError, match="beside"):
        upgraded(scalar("cpus", 1, role="lab", reservations=(DYNAMIC,)))


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        (scalar("cpus", 0.25), "cpus:0.25"),
        (scalar("mem", 4096), "mem:4096"),
        (volume("op-vol", 64), "disk(reservations: [(DYNAMIC,lab,p)])[op-vol:data]:64"),
    ],
)
def test_resources_read_as_mesos_writes_them(resource: Resource, text: str) -> None:
    assert text_of(resource) == text


def test_texts_are_parsed_with_roles() -> None:
    parsed = parse_resources("cpus:8; mem(db):512 ;ports:[1-2,5]", default_role="*")
    assert parsed.reserved("db").scalar("mem") == 512
    assert parsed.spans() == ((1, 2), (5, 5))
    assert parse_resources("cpus:1", default_role="pub").reserved("pub").scalar("cpus") == 1
    assert len(parse_resources("")) == 0


@pytest.mark.parametrize(
    "text", ["cpus", "cpus:many", "ports:[2-1]", "ports:[a-b]", ":1", '[{"name":"cpus"}]', "[1"]
)
def test_bad_resources_name_the_entry(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_resources(text, where="flag --resources")
    assert caught.value.problems[0].where == "flag --resources"


def test_json_gives_the_same_as_text() -> None:
    text = (
        '[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"role":"db"},'
        '{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}]'
    )
    assert parse_resources(text) == parse_resources("cpus(db):2;ports:[1-2]")


def test_attributes_are_typed_by_their_form() -> None:
    rack, slots, ports = parse_attributes("rack:r1;slots:4;ports:[1-2]")
    assert rack.text
    assert rack.text.value == "r1"
    assert slots.scalar
    assert slots.scalar.value == 4
    assert ports.type == "RANGES"
    with pytest.raises(InvalidInput):
        parse_attributes("rack")


def test_scalars_are_rounded_to_the_nearest_thousandth() -> None:
    # 1.001 * 1000 is a little less than 1001 in binary.
    assert Resources([scalar("cpus", 1.001)]).thousandths("cpus") == 1001
