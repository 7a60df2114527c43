"""The processes that belong to a command, found in /proc, and signals to all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One line of /proc/PID/stat as far as it is needed."""

    pid: int
    state: str
    parent: int
    group: int
    session: int


def parse_stat(text: str) -> Process:
    """Read /proc/PID/stat; the command name in it may hold blanks and parentheses."""
    head, _, tail = text.rpartition(")")
    state, parent, group, session = tail.split()[:4]
    return Process(int(head.split(" ", 1)[0]), state, int(parent), int(group), int(session))


def processes(proc: Path = Path("/proc")) -> list[Process]:
    """All processes of this PID namespace; those that end meanwhile are left out."""
    found = []
    for entry in os.scandir(proc):
        if entry.name.isdigit():
            try:
                found.append(parse_stat((proc / entry.name / "stat").read_text()))
            except (OSError, ValueError):
                continue
    return found


def tree(root: int, everything: Iterable[Process], spare: int) -> set[int]:
    """`root`, its descendants, and whoever shares a group or session with one of them.

    Args:
        root: process id of the command; it leads a session of its own.
        everything: all processes.
        spare: process id that is never part of the tree (the executor).
    """
    everything = list(everything)
    living = [process for process in everything if process.pid != spare and process.state != "Z"]
    foreign = {0, 1} | {i for p in everything if p.pid == spare for i in (p.group, p.session)}
    found: set[int] = {root}
    groups: set[int] = {root}
    sessions: set[int] = {root}
    while True:
        new = [
            process
            for process in living
            if process.pid not in found
            and (process.parent in found or process.group in groups or process.session in sessions)
        ]
        if not new:
            return found & {process.pid for process in living}
        for process in new:
            found.add(process.pid)
            groups |= {process.group} - foreign
            sessions |= {process.session} - foreign


def host_pid(pid: int, neighbour: int, proc: Path = Path("/proc")) -> int:
    """The id here of a process that is `pid` in the PID namespace of another one.

    Args:
        pid: as the namespace knows it.
        neighbour: id here of a process in that namespace.
        proc: where to look.

    Returns:
        `pid` itself when the namespace is ours, or the process is gone.
    """
    try:
        namespace = (proc / str(neighbour) / "ns/pid").readlink()
        if namespace == (proc / "self/ns/pid").readlink():
            return pid
    except OSError:
        return pid
    for process in processes(proc):
        try:
            if (proc / str(process.pid) / "ns/pid").readlink() != namespace:
                continue
            lines = (proc / str(process.pid) / "status").read_text().splitlines()
        except OSError:
            continue
        if any(line.startswith("NSpid:") and line.split()[-1] == str(pid) for line in lines):
            return process.pid
    return pid


def signal_tree(root: int, number: int) -> int:
    """Send `number` to the tree of `root`; returns how many processes got it.

    The processes are stopped first, so that none can fork away between the look and the signal.
    """
    own = os.getpid()
    stopped: set[int] = set()
    for _ in range(4):
        new = tree(root, processes(), own) - stopped
        if not new:
            break
        for pid in new:
            _send(pid, signal.SIGSTOP)
        stopped |= new
    hit = sum(_send(pid, number) for pid in stopped)
    for pid in stopped:
        _send(pid, signal.SIGCONT)
    return hit


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
