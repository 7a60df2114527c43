"""Programs run one after the other, with a line that says which one it is and for how long."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kubedcos.errors import ExitCode, KubedcosError

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>.+?)\]")
_RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+"
    r"unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)"
)
_LINES_OF_A_FAILURE = 30
_ERROR = "[ERROR]: "
_ACTION = "Task failed: Action failed: "
PIPE_SECONDS = 15.0
"""How often a stage says that it is still under way when nobody watches a terminal."""


class StageFailed(KubedcosError):
    """A program of a stage ended with an error."""


class StageRefused(StageFailed):
    """A stage that only looks has found its input wrong."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        title: what it is about, in a few words.
        argv: the program.
        environment: variables added to our own.
        looks: it changes nothing, and fails when the input is wrong.
    """

    title: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    looks: bool = False


@dataclass(slots=True)
class Recap:
    """What Ansible counted for one host, over all playbooks."""

    ok: int = 0
    changed: int = 0
    unreachable: int = 0
    failed: int = 0


def clock_text(seconds: float) -> str:
    """Elapsed time as minutes and seconds, such as ``0:42``."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def head(number: int, total: int, title: str, seconds: float) -> str:
    """The line of a stage."""
    return f"stage {number} of {total} · {title} · {clock_text(seconds)}"


def detail_of(line: str) -> str:
    """What a line of a program's output says about where it is; empty for any other line."""
    match = _TASK.match(line)
    if match is not None:
        return match["name"]
    return line.strip() if line[:1].isalnum() and len(line) < 100 and "***" not in line else ""


def add_recap(line: str, recaps: dict[str, Recap]) -> None:
    """Count a line of Ansible's recap into `recaps`; other lines are passed over."""
    match = _RECAP.match(line)
    if match is None:
        return
    recap = recaps.setdefault(match["host"], Recap())
    recap.ok += int(match["ok"])
    recap.changed += int(match["changed"])
    recap.unreachable += int(match["unreachable"])
    recap.failed += int(match["failed"])


def findings_of(lines: Sequence[str]) -> list[str]:
    """The last error in Ansible's output, without where in our roles it was raised."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
    if not starts:
        return []
    found = [lines[starts[-1]].removeprefix(_ERROR).removeprefix(_ACTION)]
    for line in lines[starts[-1] + 1 :]:
        if line.startswith(("Origin:", "fatal:", "PLAY RECAP")):
            break
        found.append(line)
    return [line for line in found if line.strip()]


class Stages:
    """Runs stages, numbered from `first`; output goes to one log file each."""

    def __init__(
        self,
        logs: Path,
        *,
        first: int,
        total: int,
        screen: IO[str] = sys.stderr,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs = logs
        self._number = first
        self._total = total
        self._screen = screen
        self._live = screen.isatty()
        self._monotonic = monotonic
        self.recaps: dict[str, Recap] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def run(self, stage: Stage) -> None:
        """Run `stage` to its end.

        Raises:
            StageFailed: with the end of its output and the path of its log.
        """
        number, self._number = self._number, self._number + 1
        log = self._logs / f"{number:02d}-{re.sub(r'[^a-z0-9]+', '-', stage.title.lower())}.log"
        started = self._monotonic()
        ended = threading.Event()
        detail = [""]

        def report() -> None:
            while not ended.wait(1.0 if self._live else PIPE_SECONDS):
                self._show(number, stage.title, self._monotonic() - started, detail[0])

        self._show(number, stage.title, 0.0, "")
        reporter = threading.Thread(target=report, daemon=True)
        reporter.start()
        try:
            status = self._follow(stage, log, detail)
        finally:
            ended.set()
            reporter.join()
        seconds = self._monotonic() - started
        if status != 0:
            self._line(f"{head(number, self._total, stage.title, seconds)} · failed")
            lines = log.read_text(errors="replace").splitlines()
            if stage.looks and (findings := findings_of(lines)):
                raise StageRefused(
                    f"stage {number} of {self._total} ({stage.title}) refuses the input:\n"
                    + "\n".join(f"  {line}" for line in findings)
                )
            end = lines[-_LINES_OF_A_FAILURE:]
            text = "\n".join(f"  {line}" for line in end)
            raise StageFailed(
                f"stage {number} of {self._total} ({stage.title}) failed with code {status}; "
                f"{log} ends with:\n{text}"
            )
        self._line(f"{head(number, self._total, stage.title, seconds)} · done")

    def _follow(self, stage: Stage, log: Path, detail: list[str]) -> int:
        """Run the program, keep its output, and note where it is."""
        try:
            program = subprocess.Popen(
                list(stage.argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **stage.environment},
            )
        except FileNotFoundError as error:
            raise StageFailed(f"stage {stage.title}: {stage.argv[0]} is not installed") from error
        assert program.stdout is not None
        with program, log.open("w") as file:
            for line in program.stdout:
                file.write(line)
                file.flush()
                detail[0] = detail_of(line) or detail[0]
                add_recap(line, self.recaps)
        return program.returncode

    def _show(self, number: int, title: str, seconds: float, detail: str) -> None:
        text = head(number, self._total, title, seconds)
        if detail:
            text = f"{text} · {detail}"
        if self._live:
            width = max(20, _columns() - 1)
            self._screen.write(f"\r\x1b[2K{text[:width]}")
            self._screen.flush()
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        start = "\r\x1b[2K" if self._live else ""
        self._screen.write(f"{start}{text}\n")
        self._screen.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns
    except OSError:
        return 80
