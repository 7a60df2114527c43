"""One always sees which of how many artefacts is under way and for how long."""

from __future__ import annotations

import io

import pytest

from kubedcos.artifacts.progress import StreamProgress, spell_duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Ticks:
    def __init__(self, *times: float) -> None:
        self.times = list(times)

    def __call__(self) -> float:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


def test_lines_in_a_pipe_have_no_control_codes() -> None:
    stream = io.StringIO()
    with StreamProgress(stream, Ticks(0.0, 42.0)).working("kubelet 1.36.3", 3, 3, 17):
        pass
    assert stream.getvalue() == (
        "artefact 3 of 17  kubelet 1.36.3  0:00\nartefact 3 of 17  kubelet 1.36.3  0:42  done\n"
    )


def test_several_at_once() -> None:
    stream = io.StringIO()
    with StreamProgress(stream, Ticks(0.0)).working("kubernetes", 4, 9, 17):
        pass
    assert stream.getvalue().startswith("artefacts 4-9 of 17  kubernetes")


def test_a_failure_does_not_say_done() -> None:
    stream = io.StringIO()
    with (
        pytest.raises(RuntimeError),
        StreamProgress(stream, Ticks(0.0)).working("x", 1, 1, 1),
    ):
        raise RuntimeError
    assert "done" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_is_rewritten() -> None:
    stream = Terminal()
    with StreamProgress(stream, Ticks(0.0, 61.0)).working("x", 1, 1, 2):
        pass
    assert stream.getvalue().startswith("\r\x1b[K")
    assert stream.getvalue().count("\n") == 1
    assert "1:01  done" in stream.getvalue()


def test_a_terminal_sees_all_that_is_under_way_in_one_line() -> None:
    stream = Terminal()
    progress = StreamProgress(stream, Ticks(0.0, 5.0, 65.0))
    with progress.working("etcd", 1, 3, 9), progress.working("kubernetes", 4, 9, 9):
        pass
    shown = stream.getvalue().split("\r\x1b[K")[2]
    assert shown == "artefacts 1-3 of 9  etcd  0:05  |  artefacts 4-9 of 9  kubernetes  0:00"


def test_durations() -> None:
    assert [spell_duration(s) for s in (0, 9.9, 60, 3599)] == ["0:00", "0:09", "1:00", "59:59"]
