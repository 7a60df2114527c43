"""Running other programs: output captured, time bounded, failure told in their own words."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from kubedcos.errors import KubedcosError


class ProgramFailed(KubedcosError):
    """A program ended with an error, ran out of time, or is not installed."""

    def __init__(self, argv: Sequence[str], reason: str, *, status: int | None = None) -> None:
        self.argv = tuple(argv)
        self.reason = reason
        self.status = status
        super().__init__(f"`{_shown(argv)}` failed: {reason}")


class Runner(Protocol):
    """How programs are run; tests put their own here."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout: float = 60.0,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
        shielded: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` and return what it said."""
        ...


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 60.0,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
    shielded: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `argv` to its end.

    Args:
        argv: program and arguments; no shell is involved.
        stdin: text for its standard input; none closes it.
        timeout: seconds until it is ended.
        check: whether a status other than 0 is an error.
        environment: variables added to our own.
        shielded: the terminal's interrupt does not reach it: it would leave things half done.

    Raises:
        ProgramFailed: it is missing, took too long, or (with `check`) ended with an error.
    """
    try:
        result = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, **(environment or {})},
            start_new_session=shielded,
        )
    except FileNotFoundError:
        raise ProgramFailed(argv, f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ProgramFailed(argv, f"no end after {timeout:.0f} s") from None
    if check and result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip() or "it said nothing")[-2000:]
        raise ProgramFailed(argv, said, status=result.returncode)
    return result


def _shown(argv: Sequence[str]) -> str:
    """The command line, cut to a readable length."""
    text = " ".join(argv)
    return text if len(text) <= 160 else f"{text[:157]}..."
