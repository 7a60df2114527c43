"""Wire types against what Mesos really sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubedcos.mesos.messages import (
    Call,
    CallSubscribe,
    Event,
    FrameworkInfo,
    MasterInfo,
    Scalar,
    decode,
    decode_event,
    encode,
)

STORIES = Path(__file__).parents[2] / "fixtures" / "mesos"


# The streams of operators have events of their own.
FRAMEWORKS = [path for path in STORIES.glob("*.jsonl") if "operator-stream" not in path.name]


@pytest.mark.parametrize("path", sorted(FRAMEWORKS), ids=lambda path: path.name)
def test_every_recorded_event_is_understood(path: Path) -> None:
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if entry["dir"] == "event" and not entry.get("case", "").startswith("acls-stream"):
            event = decode_event(json.dumps(entry["body"]))
            assert event.type == entry["body"]["type"]
            part = getattr(event, (event.type or "").lower(), None)
            assert part is not None or event.type == "HEARTBEAT"


def test_unset_fields_are_not_sent() -> None:
    call = Call(type="SUBSCRIBE", subscribe=CallSubscribe(FrameworkInfo("root", "x")))
    assert json.loads(encode(call)) == {
        "type": "SUBSCRIBE",
        "subscribe": {"framework_info": {"user": "root", "name": "x"}},
    }


def test_unknown_fields_and_types_are_no_error() -> None:
    event = decode_event(b'{"type":"BRAND_NEW","brand_new":{"x":1}}')
    assert event == Event(type="BRAND_NEW")


def test_a_capability_that_mesos_1_11_has_no_name_for_is_no_error() -> None:
    # Its v1 API lists QUOTA_V2 so; 1.12 names it.
    listed = b'{"id":"m","ip":1,"capabilities":[{"type":"AGENT_DRAINING"},{}]}'
    shown = decode(listed, MasterInfo).capabilities
    assert [entry.type for entry in shown] == ["AGENT_DRAINING", None]


def test_numbers_may_be_text() -> None:
    assert decode(b'{"value":"Infinity"}', Scalar).value == float("inf")
    assert decode(b'{"value":"1.5"}', Scalar).value == 1.5


def test_an_infinite_number_is_sent_as_the_text_that_mesos_reads() -> None:
    assert json.loads(encode(Scalar(float("inf")))) == {"value": "Infinity"}
    assert decode(encode(Scalar(float("inf"))), Scalar).value == float("inf")
