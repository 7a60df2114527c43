"""Every error that may reach a user, and the exit code that goes with it.

An error says what was wrong, where (file, key, host) and what would be right. The command line
prints the text and exits with `exit_code`; a traceback means a defect in kubedcos.

Exit codes (documented in README.md, "Exit codes"):

====  ======================================================
code  meaning
====  ======================================================
0     done, or nothing to change
1     failed
2     wrong usage or wrong input
3     changes pending, or refused by a safety rule
4     not yet complete
====  ======================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    INCOMPLETE = 4


class KubedcosError(Exception):
    """Base of all errors that users see: the text is complete without a traceback."""

    exit_code = ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        where: file, key or host, such as ``options.yml: node.count`` or ``host b1``.
        seen: the value found there, as text.
        wanted: what would be right.
        id: stable identifier for programs and documentation, such as ``overlay-subnet-overlap``.
        fix: what to do about it, when `wanted` does not say it already.
    """

    where: str
    seen: str
    wanted: str
    id: str = "invalid-input"
    fix: str = ""

    def __str__(self) -> str:
        """One line: place, value found, what would be right."""
        text = f"{self.where}: found {self.seen}; wanted {self.wanted}"
        return f"{text}. {self.fix}" if self.fix else text


class InvalidInput(KubedcosError):
    """Input refused before the first change; carries every problem found, not just the first."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: tuple[Problem, ...] | list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Refused(KubedcosError):
    """A safety rule forbids the action; nothing was changed."""

    exit_code = ExitCode.REFUSED


class NotYetComplete(KubedcosError):
    """What was waited for is not there yet; nothing is wrong so far."""

    exit_code = ExitCode.INCOMPLETE
