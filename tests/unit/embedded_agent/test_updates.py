from typing import Any

import pytest

from kubedcos.embedded.agent.updates import UpdateStream
from kubedcos.mesos.messages import TaskID, TaskStatus


def status(state: str, uuid: str) -> TaskStatus:
    return TaskStatus(TaskID("t"), f"TASK_{state}", uuid=uuid)


def stream_with(*statuses: TaskStatus) -> tuple[UpdateStream, list[dict[str, Any]]]:
    records: list[dict[str, Any]] = []
    stream = UpdateStream(records.append)
    for one in statuses:
        stream.add(one)
    return stream, records


def uuid_of(taken: TaskStatus | None) -> str | None:
    return taken.uuid if taken else None


def test_the_next_update_waits_for_the_acknowledgement() -> None:
    stream, _ = stream_with(status("STARTING", "1"), status("RUNNING", "2"))
    assert uuid_of(stream.take(0.0)) == "1"
    assert stream.take(1.0) is None
    assert not stream.acknowledge("2")
    assert stream.acknowledge("1")
    assert uuid_of(stream.take(1.0)) == "2"


def test_it_is_repeated_after_10_seconds_then_doubling_up_to_10_minutes() -> None:
    stream, _ = stream_with(status("STARTING", "1"))
    now, gaps = 0.0, []
    for _ in range(9):
        assert stream.take(now) is not None
        due = stream.due_at()
        assert due is not None
        gaps.append(due - now)
        now = due
    assert gaps == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_a_new_scheduler_hears_it_at_once() -> None:
    stream, _ = stream_with(status("STARTING", "1"))
    stream.take(0.0)
    stream.resend()
    assert uuid_of(stream.take(0.1)) == "1"


def test_a_recovered_stream_goes_on_where_it_was() -> None:
    stream, records = stream_with(status("STARTING", "1"), status("RUNNING", "2"))
    stream.acknowledge("1")
    again = UpdateStream.recover(records, records.append)
    assert uuid_of(again.take(0.0)) == "2"
    assert [s.uuid for s in again.statuses] == ["1", "2"]


def test_reading_a_journal_twice_adds_nothing() -> None:
    stream, records = stream_with(status("STARTING", "1"), status("RUNNING", "2"))
    before = list(records)
    stream.add(status("STARTING", "1"))
    assert records == before


def test_nothing_follows_the_end() -> None:
    stream, _ = stream_with(status("FAILED", "1"), status("RUNNING", "2"))
    assert [s.uuid for s in stream.statuses] == ["1"]


def test_the_end_is_over_when_it_was_acknowledged() -> None:
    stream, _ = stream_with(status("RUNNING", "1"), status("FINISHED", "2"))
    stream.acknowledge("1")
    assert not stream.acknowledged_terminal
    stream.acknowledge("2")
    assert stream.acknowledged_terminal
    assert stream.due_at() is None


def test_a_record_is_stored_before_it_counts() -> None:
    def fails(_record: dict[str, Any]) -> None:
        raise OSError("disk full")

    stream = UpdateStream(fails)
    with pytest.raises(OSError, match="disk full"):
        stream.add(status("RUNNING", "1"))
    assert stream.front is None
