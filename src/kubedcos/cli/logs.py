"""`kubedcos logs`: what a task says, from its Mesos sandbox, through the scheduler."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from kubedcos.cli.asking import ClusterOption, complete_pods
from kubedcos.cli.client import Client, cluster_name, connect
from kubedcos.cli.output import tell, write
from kubedcos.errors import InvalidInput, KubedcosError

_PIECE = 64 * 1024
_POLL_SECONDS = 1.0
_Piece = dict[str, Any]


def command(
    pod: Annotated[
        str,
        typer.Argument(help="Pod instance, such as etcd-0.", autocompletion=complete_pods),
    ],
    task: Annotated[str, typer.Argument(help="Task of it; default: the only one.")] = "",
    cluster: ClusterOption = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Only what it says on stdout.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Only what it says on stderr.")] = False,
    tail: Annotated[
        int,
        typer.Option("--tail", min=-1, help="Lines from the end of each stream; -1: all there is."),
    ] = 100,
) -> None:
    """Print what a task says, on stdout and stderr, under a heading each if it uses both.

    With --follow it goes on with the task that takes its place.
    """
    client = connect()
    log = _Log(client, cluster_name(client, cluster), pod, task)
    files = tuple(
        file
        for file, chosen in (("stdout", stdout), ("stderr", stderr))
        if chosen or stdout == stderr
    )
    first = {file: log.piece(file, -1 if tail >= 0 else 0) for file in files}
    texts = {
        file: piece["data"] if tail < 0 else _last_lines(piece["data"], tail, piece["offset"])
        for file, piece in first.items()
    }
    screen = _Screen(headed=len(files) > 1 and all(texts.values()))
    if not follow and not any(piece["data"] for piece in first.values()):
        tell(f"{pod} has said nothing on {' or '.join(files)} so far")
    last = {}
    try:
        for file, piece in first.items():
            screen.show(file, texts[file])
            last[file] = piece
            for more in log.rest(piece):
                screen.show(file, more["data"])
                last[file] = more
        if follow:
            _follow(log, screen, last)
    except KeyboardInterrupt:
        tell("")


@dataclass(frozen=True, slots=True)
class _Log:
    """The output of one task, whichever Mesos task it is at the moment."""

    client: Client
    cluster: str
    pod: str
    task: str

    def piece(self, file: str, offset: int) -> _Piece:
        """What a stream has from an offset on; -1: its end."""
        path = ("clusters", self.cluster, "pods", self.pod, "logs")
        asked = {"task": self.task, "file": file, "offset": str(offset), "length": str(_PIECE)}
        found: _Piece = self.client.get(*path, query=asked)
        return found

    def after(self, before: _Piece) -> _Piece:
        """What comes after a piece: more of it, or the beginning of what the next task says."""
        found = self.piece(before["file"], before["next_offset"])
        if found["task_id"] != before["task_id"]:
            found = self.piece(before["file"], 0)
        return found

    def rest(self, before: _Piece) -> Iterator[_Piece]:
        """All that the same task has said by now after a piece."""
        piece = before
        while piece["data"]:
            piece = self.after(piece)
            if piece["task_id"] != before["task_id"]:
                return
            yield piece


@dataclass(slots=True)
class _Screen:
    """Prints what streams say, with a heading where another one goes on, as `tail` does it.

    Attributes:
        headed: whether the first stream has a heading, too.
    """

    headed: bool
    _file: str = ""

    def show(self, file: str, text: str) -> None:
        if not text:
            return
        if self._file and file != self._file:
            write(f"\n==> {file} <==\n")
        elif self.headed and not self._file:
            write(f"==> {file} <==\n")
        self._file = file
        write(text)


def _follow(log: _Log, screen: _Screen, last: dict[str, _Piece]) -> None:
    """Print what is said from now on, for ever."""
    task_ids = {piece["task_id"] for piece in last.values()}
    said = dict.fromkeys(last, "")
    while True:
        quiet = True
        for file, before in last.items():
            try:
                piece = log.after(before)
            except InvalidInput:
                raise
            except KubedcosError as error:
                # Nobody leads for a moment, or the task is just being launched anew.
                if str(error) != said[file]:
                    tell(str(error))
                said[file] = str(error)
                continue
            said[file] = ""
            if piece["task_id"] not in task_ids:
                task_ids.add(piece["task_id"])
                tell(f"-- {piece['task_id']} on {piece['hostname']} --")
            last[file] = piece
            screen.show(file, piece["data"])
            quiet = quiet and not piece["data"]
        if quiet:
            time.sleep(_POLL_SECONDS)


def _last_lines(text: str, count: int, offset: int) -> str:
    """The last lines of a text; the first line of a text that does not begin a file is none."""
    lines = text.splitlines(keepends=True)
    if offset:
        lines = lines[1:]
    return "".join(lines[-count:]) if count else ""
