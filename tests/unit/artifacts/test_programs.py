"""Programs that builds start end with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.processes import alive
from tests.waiting import wait_until

from kubedcos.artifacts import programs
from kubedcos.artifacts.programs import ProgramFailed, environment, run


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="no-such-program is not installed"):
        run(["no-such-program"], what="building x", cwd=tmp_path, env=environment())


def test_a_killed_program_says_by_what(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="SIGTERM"):
        run(["sh", "-c", "kill -TERM $$"], what="building x", cwd=tmp_path, env=environment())


def test_output_comes_back(tmp_path: Path) -> None:
    assert run(["sh", "-c", "echo x"], what="x", cwd=tmp_path, env=environment()) == "x\n"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs that a shell starts in the background begin with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_whole_group(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"sleep 600 & echo $! > {fifo}; wait"
    started: list[int] = []

    def interrupt() -> None:
        started.append(int(fifo.read_text()))
        # On a busy machine the shell is further than who started it: that has yet to hear its pid.
        wait_until(lambda: programs._running)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", script], what="x", cwd=tmp_path, env=environment())
    thread.join(60)
    wait_until(lambda: not alive(started[0]))


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_a_program_starts_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Interrupted(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(["sleep", "600"], what="x", cwd=tmp_path, env=environment())
        assert not alive(started[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started[0], signal.SIGKILL)


def test_the_callers_settings_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("HTTPS_PROXY", "http://web.test")
    assert "GOFLAGS" not in environment()
    assert environment(X="1")["HTTPS_PROXY"] == "http://web.test"
    assert environment(X="1")["X"] == "1"
