"""Signals wait while a program is being started, and are not lost."""

from __future__ import annotations

import signal
import threading

import pytest

from kubedcos.cli.ending import told_by_signals
from kubedcos.signals import signals_held


def test_a_signal_while_a_program_starts_is_heeded_once_it_is_known() -> None:
    known = False
    with pytest.raises(SystemExit) as ended, told_by_signals():  # noqa: PT012  the order is the point
        with signals_held():
            signal.raise_signal(signal.SIGTERM)
            known = True
        raise AssertionError("the signal was lost")
    assert known
    assert ended.value.code == 128 + signal.SIGTERM


def test_a_signal_that_is_ignored_stays_so() -> None:
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with told_by_signals(), signals_held():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_in_a_thread_that_signals_never_reach_there_is_nothing_to_hold() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def start() -> None:
        with signals_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join(60)
    assert seen == [before]
