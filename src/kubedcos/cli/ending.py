"""Ends what a command has started when the command itself is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

from kubedcos.signals import signals_held

GRACE_SECONDS = 20.0
"""How long programs may tidy up; a build takes ten to end its compilers."""
_PAUSE_SECONDS = 0.02


class Terminated(SystemExit):
    """A signal asked this process to end; its exit code says which one, as a shell puts it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)


@contextmanager
def told_by_signals() -> Iterator[None]:
    """Meanwhile SIGTERM and SIGHUP raise `Terminated`, as ^C raises KeyboardInterrupt.

    One that is ignored, as under nohup, stays so.
    """
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def ended_with_us(
    argv: Sequence[str], environment: Mapping[str, str], output: IO[str] | int
) -> Iterator[subprocess.Popen[str]]:
    """A program beside us, waited for; an exception ends it, and what it has started.

    Args:
        argv: the program.
        environment: variables added to our own.
        output: where it and its errors go; `subprocess.PIPE` for a pipe that the caller reads.
    """
    program: subprocess.Popen[str] | None = None
    try:
        with signals_held():
            program = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **environment},
                start_new_session=True,
            )
        yield program
        program.wait()
    except BaseException:
        if program is not None:
            end_group(program)
        raise


def end_group(program: subprocess.Popen[Any], seconds: float = GRACE_SECONDS) -> None:
    """End a program that leads its process group, and what it has started there.

    What still runs `seconds` after SIGINT is killed, and so it is at once when we are told to end
    again meanwhile.

    Args:
        program: started in a session or a group of its own.
        seconds: how long it may tidy up.
    """
    # What we ignore the program does, too, unless it sees to that.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    is_there = _tell(program.pid, signal.SIGTERM if ignored else signal.SIGINT)
    deadline = time.monotonic() + seconds
    try:
        while is_there and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
            program.poll()
            is_there = _tell(program.pid, 0)
    finally:
        if is_there:
            _tell(program.pid, signal.SIGKILL)
        program.wait()


def _tell(group: int, number: int) -> bool:
    """Send a signal to a process group; whether there is one."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
