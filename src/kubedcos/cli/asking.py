"""What commands share that ask the scheduler for something: options, durations, completion."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import typer

from kubedcos.cli.client import Client, Unreachable, cluster_name
from kubedcos.cli.contexts import current
from kubedcos.cli.output import tell
from kubedcos.errors import KubedcosError

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_COMPLETION_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 1.0
Answer = TypeVar("Answer")


def seconds(text: str) -> float:
    """The value of an option that is a duration (``90``, ``90s``, ``10m``, ``1h30m``) in seconds.

    Raises:
        typer.BadParameter: it is none.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise typer.BadParameter(f"{text!r} is no duration such as 90s, 10m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def duration_option(name: str, meaning: str) -> Any:
    """An option whose value is a duration; a number alone is seconds."""
    return typer.Option(
        name, parser=lambda given: seconds(str(given)), metavar="DURATION", help=meaning
    )


def answer_by(ask: Callable[[], Answer], deadline: float) -> Answer:
    """The answer; while no scheduler answers it is asked again until the deadline.

    One that restarts is away for seconds, and whoever waits for what it does waits for that, too.

    Args:
        ask: asks once.
        deadline: by `time.monotonic`; one that is past means: once.

    Raises:
        Unreachable: none has answered.
    """
    said = ""
    while True:
        try:
            return ask()
        except Unreachable as error:
            if time.monotonic() >= deadline:
                raise
            if said != str(error):
                said = str(error)
                tell(said)
            time.sleep(_AGAIN_SECONDS)


def complete_clusters(incomplete: str) -> list[str]:
    """Names of clusters that begin so; none when no scheduler answers."""
    return _complete(incomplete, "")


def complete_plans(incomplete: str) -> list[str]:
    """Names of plans of the only cluster."""
    return _complete(incomplete, "plans")


def complete_pods(incomplete: str) -> list[str]:
    """Names of pod instances of the only cluster."""
    return _complete(incomplete, "pods")


def _complete(incomplete: str, kind: str) -> list[str]:
    try:
        client = Client(current(), seconds=_COMPLETION_SECONDS)
        path = ("clusters", cluster_name(client, ""), kind) if kind else ("clusters",)
        names = [str(found["name"]) for found in client.get_all(*path)]
    except (KubedcosError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if name.startswith(incomplete)]


ClusterOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        "-c",
        help="Cluster; default: the only one.",
        autocompletion=complete_clusters,
    ),
]
WhyOption = Annotated[
    str, typer.Option("--why", "-m", help="The reason; it is kept with the action.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, yes: bool) -> None:
    """Ask on stderr, unless the answer was given.

    Raises:
        KubedcosError: the answer is no, or there is none.
    """
    if yes:
        return
    sys.stderr.write(f"{question} [y/N]: ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        tell("")  # nobody has typed what would end the line
    if answer.strip().lower() not in {"y", "yes"}:
        raise KubedcosError("left as it was; --yes answers beforehand")
