"""JSON as Mesos reads and writes it; texts are those of the recordings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubedcos.embedded.protojson import NotConvertible, encode_json, from_json, parse_json, to_json
from kubedcos.mesos.messages import (
    Call,
    CommandInfo,
    ContainerInfo,
    FrameworkInfo,
    OfferFilters,
    Range,
    ReservationInfo,
    Resource,
    Scalar,
    TaskInfo,
    Uri,
)


def test_a_lone_value_is_a_list_of_one_and_null_is_unset() -> None:
    info = from_json({"user": "u", "name": "n", "roles": "lab", "principal": None}, FrameworkInfo)
    assert info.roles == ("lab",)
    assert info.principal is None


def test_numbers_and_booleans_may_be_text() -> None:
    given = {"user": "u", "name": "n", "failover_timeout": "30", "checkpoint": "true"}
    info = from_json(given, FrameworkInfo)
    assert info.failover_timeout == 30.0
    assert info.checkpoint is True


def test_an_unknown_value_of_an_optional_enumeration_is_dropped() -> None:
    assert from_json({"type": "NONSENSE"}, Call).type is None
    info = from_json({"user": "u", "name": "n", "capabilities": [{"type": "X"}]}, FrameworkInfo)
    assert info.capabilities[0].type is None


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ([], Call, "Expecting a JSON object"),
        ({"type": 1}, Call, "Not expecting a JSON number for field 'type'"),
        ({"accept": []}, Call, "Not expecting a JSON array for field 'accept'"),
        ({"subscribe": {}}, Call, "Missing required fields: subscribe.framework_info"),
        (
            {"accept": {"operations": [{"launch": {"task_infos": [{"name": "x"}]}}]}},
            Call,
            (
                "Missing required fields: accept.operations[0].launch.task_infos[0].task_id, "
                "accept.operations[0].launch.task_infos[0].agent_id"
            ),
        ),
        ({"name": "cpus", "type": "NOPE"}, Resource, "Failed to find enum for 'NOPE'"),
        (
            {"user": "u", "name": "n", "failover_timeout": "long"},
            FrameworkInfo,
            (
                "Failed to parse 'long' as a JSON number for field 'failover_timeout': "
                "syntax error at line 1 near: long"
            ),
        ),
        # Whoever looks for it among the whole numbers does not come back.
        (
            {"begin": float("inf"), "end": 1},
            Range,
            "Number out of range for field 'begin'",
        ),
        (
            {"user": "u", "name": "n", "checkpoint": "yes"},
            FrameworkInfo,
            (
                "Failed to parse 'yes' as a JSON boolean for field 'checkpoint': syntax error at "
                "line 1 near: yes"
            ),
        ),
    ],
)
def test_what_cannot_be_converted_is_told_in_mesos_words(value: Any, kind: type, text: str) -> None:
    with pytest.raises(NotConvertible) as caught:
        from_json(value, kind)
    assert str(caught.value) == text


def test_text_after_the_json_is_refused() -> None:
    with pytest.raises(NotConvertible, match="trailing characters:  trailing"):
        parse_json(b'{"type":"X"} trailing')
    assert parse_json(b' {"type":"X"}\n') == {"type": "X"}


def test_defaults_of_the_definition_are_written_and_unset_fields_are_not() -> None:
    assert to_json(CommandInfo(value="x", uris=(Uri("u"),))) == {
        "uris": [{"value": "u", "extract": True}],
        "shell": True,
        "value": "x",
    }
    assert to_json(ContainerInfo(type="MESOS")) == {"type": "MESOS"}


def test_infinity_travels_as_text_both_ways() -> None:
    given = {
        "name": "t",
        "task_id": {"value": "t"},
        "agent_id": {"value": "a"},
        "limits": {"cpus": {"value": "Infinity"}},
    }
    task = from_json(given, TaskInfo)
    assert task.limits
    assert task.limits["cpus"].value == float("inf")
    assert b'"limits":{"cpus":{"value":"Infinity"}}' in encode_json(task)


@pytest.mark.parametrize("number", [0.1, 5051.0, float("inf"), float("-inf")])
def test_what_is_written_is_what_is_shown_wherever_a_message_stands(number: float) -> None:
    resource = Resource("cpus", "SCALAR", Scalar(number), reservations=(ReservationInfo("STATIC"),))
    filters = {"lab": OfferFilters()}
    info = FrameworkInfo("ünser", "f", offer_filters=filters, failover_timeout=number)
    for value in (
        resource,
        info,
        {"deep": [{"in": (resource, info)}], "number": number},
        [1, None],
    ):
        assert json.loads(encode_json(value)) == to_json(value)
