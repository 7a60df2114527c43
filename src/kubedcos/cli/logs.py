"""`kubedcos logs`: what a task says, from its Mesos sandbox, through the scheduler."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from kubedcos.cli.asking import ClusterOption, complete_pods
from kubedcos.cli.client import Client, cluster_name, connect
from kubedcos.cli.output import tell
from kubedcos.errors import InvalidInput, KubedcosError

_PIECE = 64 * 1024
_POLL_SECONDS = 1.0


def command(
    pod: Annotated[
        str,
        typer.Argument(help="Pod instance, such as etcd-0.", autocompletion=complete_pods),
    ],
    task: Annotated[str, typer.Argument(help="Task of it; default: the only one.")] = "",
    cluster: ClusterOption = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="What it says on stderr.")] = False,
    tail: Annotated[
        int, typer.Option("--tail", min=-1, help="Lines from the end; -1: all there is.")
    ] = 100,
) -> None:
    """Print what a task says. With --follow it goes on with the task that takes its place."""
    client = connect()
    name = cluster_name(client, cluster)
    query = {"task": task, "file": "stderr" if stderr else "stdout"}
    piece = _piece(client, name, pod, query, -1 if tail >= 0 else 0)
    text = piece["data"]
    _write(text if tail < 0 else _last_lines(text, tail, whole=piece["offset"] == 0))
    try:
        _go_on(client, (name, pod), query, piece, follow=follow)
    except KeyboardInterrupt:
        tell("")


def _go_on(
    client: Client,
    whose: tuple[str, str],
    query: dict[str, str],
    piece: dict[str, Any],
    *,
    follow: bool,
) -> None:
    """Print what comes after a piece: to the end, or for ever."""
    while piece["data"] or follow:
        if not piece["data"]:
            time.sleep(_POLL_SECONDS)
        before = piece
        try:
            piece = _piece(client, *whose, query, before["next_offset"])
        except InvalidInput:
            raise
        except KubedcosError as error:
            if not follow:
                raise
            tell(str(error))
            piece = {**before, "data": ""}
            continue
        if piece["task_id"] != before["task_id"]:
            tell(f"-- {piece['task_id']} on {piece['hostname']} --")
            piece = _piece(client, *whose, query, 0)
        _write(piece["data"])


def _piece(
    client: Client, cluster: str, pod: str, query: dict[str, str], offset: int
) -> dict[str, Any]:
    asked = {**query, "offset": str(offset), "length": str(_PIECE)}
    found: dict[str, Any] = client.get("clusters", cluster, "pods", pod, "logs", query=asked)
    return found


def _last_lines(text: str, count: int, *, whole: bool) -> str:
    """The last lines of a text; the first line of a cut text is none."""
    lines = text.splitlines(keepends=True)
    if not whole:
        lines = lines[1:]
    return "".join(lines[-count:]) if count else ""


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
