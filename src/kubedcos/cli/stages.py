"""Programs run one after the other, with a line that says which one it is and for how long."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

from kubedcos.cli.ending import end_group, ended_with_us
from kubedcos.errors import ExitCode, KubedcosError

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?P<name>.+?)\]")
_PLAY = re.compile(r"^PLAY \[(?P<name>.+)\]")
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
class Part:
    """A stage that a program goes on with after another one.

    Attributes:
        title: what it is about, in a few words.
        plays: names of Ansible's plays; the first one that is announced begins the stage.
        looks: it changes nothing, and fails when the input is wrong.
    """

    title: str
    plays: frozenset[str] = frozenset()
    looks: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A program and its first stage, mostly the only one.

    Attributes:
        title: what it is about, in a few words.
        argv: the program.
        environment: variables added to our own.
        looks: it changes nothing, and fails when the input is wrong.
        then: stages that the same program goes on with, in order.
        beside: a program that prepares a later stage meanwhile. Should it fail, that stage does
            the work itself, and says what is wrong.
        work: what is done instead of `argv`, within this program.
    """

    title: str
    argv: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    looks: bool = False
    then: Sequence[Part] = ()
    beside: Sequence[str] = ()
    work: Callable[[], object] | None = None

    @property
    def titles(self) -> list[str]:
        """What is announced while it runs."""
        return [self.title, *(part.title for part in self.then)]


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


@dataclass(slots=True)
class _UnderWay:
    """The stage that runs now."""

    number: int
    part: Part
    started: float
    detail: str = ""


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
        self._under_way = _UnderWay(first, Part(""), monotonic())
        self.recaps: dict[str, Recap] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def run(self, stage: Stage) -> None:
        """Run `stage` to its end, with the parts that it goes on with.

        An exception that a signal raises meanwhile ends its programs with all that they started.

        Raises:
            StageFailed: with the end of its output and the path of its log.
            KubedcosError: as the work within this program raises it.
        """
        name = re.sub(r"[^a-z0-9]+", "-", stage.title.lower())
        log = self._logs / f"{self._number:02d}-{name}.log"
        ended = threading.Event()
        self._begin(Part(stage.title, looks=stage.looks))

        def report() -> None:
            while not ended.wait(1.0 if self._live else PIPE_SECONDS):
                self._show()

        reporter = threading.Thread(target=report, daemon=True)
        reporter.start()
        try:
            with self._beside(stage, log.with_suffix(".beside.log")) as end_beside:
                status = self._follow(stage, log) if stage.work is None else self._do(stage.work)
                if status != 0:
                    end_beside()
        except (KeyboardInterrupt, SystemExit):
            ended.set()
            reporter.join()
            self._end("interrupted")
            raise
        finally:
            ended.set()
            reporter.join()
        if status != 0:
            self._fail(status, log)
        self._end("done")

    @contextmanager
    def _beside(self, stage: Stage, log: Path) -> Iterator[Callable[[], None]]:
        """Have the stage's other program run; what is given ends it, as an exception does."""
        if not stage.beside:
            yield lambda: None
            return
        with (
            log.open("w") as file,
            ended_with_us(stage.beside, stage.environment, file) as program,
        ):
            yield lambda: end_group(program)

    def _fail(self, status: int, log: Path) -> NoReturn:
        under = self._under_way
        self._end("failed")
        lines = log.read_text(errors="replace").splitlines()
        if under.part.looks and (findings := findings_of(lines)):
            raise StageRefused(
                f"stage {under.number} of {self._total} ({under.part.title}) refuses the input:\n"
                + "\n".join(f"  {line}" for line in findings)
            )
        text = "\n".join(f"  {line}" for line in lines[-_LINES_OF_A_FAILURE:])
        raise StageFailed(
            f"stage {under.number} of {self._total} ({under.part.title}) failed with code "
            f"{status}; {log} ends with:\n{text}"
        )

    def _begin(self, part: Part) -> None:
        self._under_way = _UnderWay(self._number, part, self._monotonic())
        self._number += 1
        self._show()

    def _end(self, word: str) -> None:
        self._line(f"{self._head()} · {word}")

    def _head(self) -> str:
        under = self._under_way
        seconds = self._monotonic() - under.started
        return head(under.number, self._total, under.part.title, seconds)

    def _do(self, work: Callable[[], object]) -> int:
        try:
            work()
        except KubedcosError:
            self._end("failed")
            raise
        return 0

    def _follow(self, stage: Stage, log: Path) -> int:
        """Run the program, keep its output, and note where it is."""
        coming = list(stage.then)
        with log.open("w") as file:
            try:
                with ended_with_us(stage.argv, stage.environment, subprocess.PIPE) as program:
                    assert program.stdout is not None
                    with program.stdout as output:
                        for line in output:
                            file.write(line)
                            file.flush()
                            self._note(line, coming)
            except FileNotFoundError as error:
                text = f"stage {stage.title}: {stage.argv[0]} is not installed"
                raise StageFailed(text) from error
        if program.returncode == 0:
            self._go_on_with(coming)
        return program.returncode

    def _note(self, line: str, coming: list[Part]) -> None:
        """Take from a line of output where the program is."""
        self._advance(line, coming)
        self._under_way.detail = detail_of(line) or self._under_way.detail
        add_recap(line, self.recaps)

    def _advance(self, line: str, coming: list[Part]) -> None:
        """Begin the stage that `line` announces; those before it had nothing to do."""
        match = _PLAY.match(line)
        named = match["name"] if match is not None else ""
        at = next((at for at, part in enumerate(coming) if named in part.plays), None)
        if at is not None:
            self._go_on_with(coming[: at + 1])
            del coming[: at + 1]

    def _go_on_with(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self._end("done")
            self._begin(part)

    def _show(self) -> None:
        text = self._head()
        if self._under_way.detail:
            text = f"{text} · {self._under_way.detail}"
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
    """Width of the terminal; one that does not know its own is taken for an ordinary one."""
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80
