"""A command that is told to end takes along what it has started, wherever the signal was sent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kubedcos.cli.ending import end_group

WAITS = """
import os, signal, time
{first}
alive = open({alive!r}, "w")
print(os.getpid(), file=alive, flush=True)
open({ready!r}, "w").close()
time.sleep(600)
"""
COMMAND = """
import signal, sys
from pathlib import Path
from types import SimpleNamespace
signal.signal(signal.SIGINT, {sigint})
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from kubedcos.cli import demo, main
from kubedcos.cli.stages import Stage
from kubedcos.lab import inventory, lifecycle
inventory.load = lambda _: SimpleNamespace(name="lab", hosts=())
demo.podman_here = lambda: None
lifecycle.refuse_conflicts = lambda *_: {{}}
lifecycle.cache_root = lambda: Path({folder!r})
demo.plan = lambda *_, **__: [Stage("playbook", {argv!r}, beside={beside!r})]
sys.argv = ["kubedcos", "demo", "up"]
main.main()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


class Waiting:
    """Programs that wait, and whether any of them is left.

    Each writes its id into a FIFO and holds that open; the other end is here.
    """

    def __init__(self, folder: Path) -> None:
        self._alive, self._ready = folder / "alive", folder / "ready"
        os.mkfifo(self._alive)
        os.mkfifo(self._ready)
        self._end = os.open(self._alive, os.O_RDONLY | os.O_NONBLOCK)

    def program(self, first: str = "") -> list[str]:
        return python(WAITS.format(first=first, alive=str(self._alive), ready=str(self._ready)))

    def until_ready(self) -> None:
        """Wait until a program waits."""
        with self._ready.open() as ready:
            ready.read()

    def are_gone(self, seconds: float = 10) -> bool:
        with select.epoll() as ends:
            ends.register(self._end, 0)
            return [event for _, event in ends.poll(seconds)] == [select.EPOLLHUP]

    def close(self) -> None:
        """End those that a failed test has left."""
        if not self.are_gone(0):
            for id_ in os.read(self._end, 4096).split():
                with suppress(ProcessLookupError):
                    os.kill(int(id_), signal.SIGKILL)
        os.close(self._end)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    found = Waiting(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("number", "sigint"),
    [
        (signal.SIGINT, "signal.default_int_handler"),
        (signal.SIGTERM, "signal.default_int_handler"),
        (signal.SIGHUP, "signal.default_int_handler"),
        # As for what a shell without job control starts in the background.
        (signal.SIGTERM, "signal.SIG_IGN"),
    ],
)
def test_a_signal_to_the_demo_alone_ends_its_stage_and_what_that_started(
    number: signal.Signals, sigint: str, tmp_path: Path, waiting: Waiting
) -> None:
    outer = python(f"import subprocess; subprocess.run({waiting.program()!r})")
    code = COMMAND.format(sigint=sigint, folder=str(tmp_path), argv=outer, beside=outer)
    with subprocess.Popen(
        python(code), start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as command:
        waiting.until_ready()
        command.send_signal(number)
        _, said = command.communicate(timeout=60)
    assert command.returncode == 128 + number
    assert "Traceback" not in said
    assert said.count(" · interrupted\n") == 1
    assert "`make demo` continues" in said
    assert waiting.are_gone()


def test_what_does_not_heed_is_killed_after_its_time(waiting: Waiting) -> None:
    heedless = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    with subprocess.Popen(waiting.program(heedless), start_new_session=True) as program:
        waiting.until_ready()
        end_group(program, seconds=0.1)
        assert program.returncode == -signal.SIGKILL
    assert waiting.are_gone()


def test_whoever_is_told_twice_does_not_wait(waiting: Waiting) -> None:
    heedless = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    started = time.monotonic()
    with subprocess.Popen(waiting.program(heedless), start_new_session=True) as program:
        waiting.until_ready()
        kept = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            end_group(program, seconds=60)
        signal.signal(signal.SIGALRM, kept)
        assert program.returncode == -signal.SIGKILL
    assert time.monotonic() - started < 30


def test_what_tidies_up_is_waited_for_though_its_leader_has_ended(
    tmp_path: Path, waiting: Waiting
) -> None:
    tidy = tmp_path / "tidy"
    tidies = (
        "leader = os.getppid()\n"
        "def end(*_):\n"
        "    while os.getppid() == leader: time.sleep(0.01)\n"
        "    time.sleep(0.3)\n"
        f"    open({str(tidy)!r}, 'w').close()\n"
        "    raise SystemExit\n"
        "signal.signal(signal.SIGINT, end)"
    )
    # The leader dies of the signal without a word to its child.
    leader = python(
        "import signal, subprocess; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        f"subprocess.run({waiting.program(tidies)!r})"
    )
    with subprocess.Popen(leader, start_new_session=True) as program:
        waiting.until_ready()
        end_group(program)
    assert tidy.exists()
