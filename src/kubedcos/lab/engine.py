"""Podman, with the options that this machine's kernel asks for; no configuration is written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedcos.errors import InvalidInput, NotYetComplete, Problem
from kubedcos.lab.program import ProgramFailed, Runner, run

LAB_LABEL = "kubedcos.lab"
HOST_LABEL = "kubedcos.host"
HASH_LABEL = "kubedcos.made-from"


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides how containers must be run here.

    Attributes:
        unified_cgroups: only the version 2 hierarchy is mounted.
        systemd: systemd is this machine's process 1.
        runtimes: which of ``crun`` and ``runc`` are installed.
    """

    unified_cgroups: bool
    systemd: bool
    runtimes: frozenset[str]


def detect(root: Path = Path("/")) -> Machine:
    """Look at the running machine."""
    found = {name for name in ("crun", "runc") if shutil.which(name)}
    return Machine(
        unified_cgroups=(root / "sys/fs/cgroup/cgroup.controllers").exists(),
        systemd=(root / "run/systemd/system").is_dir(),
        runtimes=frozenset(found),
    )


def global_options(machine: Machine) -> tuple[str, ...]:
    """Podman's options before the subcommand.

    crun refuses the cgroup hierarchies of version 1 and 2 side by side; runc takes them.

    Raises:
        InvalidInput: no installed runtime can run the hosts here.
    """
    if machine.unified_cgroups and machine.systemd:
        return ()
    if machine.unified_cgroups:
        return ("--cgroup-manager", "cgroupfs")
    if "runc" not in machine.runtimes:
        raise InvalidInput(
            [
                Problem(
                    "container runtime",
                    ", ".join(sorted(machine.runtimes)) or "none",
                    "runc, because this machine uses cgroup version 1",
                    id="lab-runtime",
                    fix="Install the package runc",
                )
            ]
        )
    return ("--runtime", "runc", "--cgroup-manager", "cgroupfs")


class Podman:
    """Runs podman. Safe to use from several threads."""

    def __init__(self, options: Sequence[str] = (), *, runner: Runner = run) -> None:
        self._prefix = ("podman", *options)
        self._run = runner

    def argv(self, *arguments: str) -> list[str]:
        """The command line for `arguments`."""
        return [*self._prefix, *arguments]

    def __call__(
        self,
        *arguments: str,
        # Podman waits for whoever works on a container; on a busy machine that takes a while.
        timeout: float = 180.0,
        check: bool = True,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run podman with `arguments`.

        Raises:
            ProgramFailed: in podman's own words.
        """
        return self._run(
            self.argv(*arguments),
            timeout=timeout,
            check=check,
            stdin=stdin,
            environment=environment,
            shielded=True,
        )

    def json(self, *arguments: str) -> Any:
        """Podman's answer as data."""
        return json.loads(self(*arguments, "--format", "json").stdout or "null") or []

    def containers(self) -> list[Mapping[str, Any]]:
        """All containers of this machine, running or not."""
        answer: list[Mapping[str, Any]] = self.json("ps", "--all")
        return answer

    def networks(self) -> list[Mapping[str, Any]]:
        """All networks that podman has."""
        answer: list[Mapping[str, Any]] = self.json("network", "ls")
        return answer


def network_of(podman: Podman, container: str) -> tuple[str, ...]:
    """The beginning of a command line that runs in the network of a container.

    Raises:
        NotYetComplete: the container does not run, or there is none.
        ProgramFailed: podman fails.
    """
    try:
        pid = podman("container", "inspect", "--format={{.State.Pid}}", container).stdout.strip()
    except ProgramFailed as error:
        if "no such container" not in error.reason:
            raise
        pid = ""
    if not pid.isdigit() or pid == "0":
        raise NotYetComplete(f"{container} does not run; `kubedcos lab up` starts it")
    return ("nsenter", f"--net=/proc/{pid}/ns/net")


def strays(containers: Iterable[str], proc: Path = Path("/proc")) -> list[int]:
    """Processes of podman that still make or remove one of `containers`.

    They outlive a run of ours that was killed, and must not be overtaken: podman would keep an
    address for a container that is gone.
    """
    names = set(containers)
    found = []
    for path in proc.glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        named = names & {word.removeprefix("--name=") for word in words}
        doing = {"create", "start", "rm"} & set(words)
        if named and doing and Path(words[0]).name == "podman":
            found.append(int(path.parent.name))
    return found


def label(thing: Mapping[str, Any], key: str) -> str:
    """A label of a container or network; empty when it has none."""
    labels = thing.get("Labels") or thing.get("labels") or {}
    return str(labels.get(key, ""))
