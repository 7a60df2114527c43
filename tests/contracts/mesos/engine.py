"""A master and agents as processes on loopback: the embedded ones, or those of a folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.waiting import wait_until

from .client import DEADLINE, Http

REGIONS = (("dc-a", "a1"), ("dc-b", "b1"))
EMBEDDED = {
    name: [sys.executable, "-m", f"kubedcos.embedded.{name}"] for name in ("master", "agent")
}
PROGRAMS = dict(EMBEDDED)
"""How a master and an agent are started."""


def use_binaries(folder: Path) -> None:
    """From now on start `mesos-master` and `mesos-agent` of this folder."""
    for name in PROGRAMS:
        path = folder / f"mesos-{name}"
        if not os.access(path, os.X_OK):
            raise FileNotFoundError(f"--mesos-binaries: no program {path}")
        PROGRAMS[name] = [str(path)]
    # What the tests start is no unit of systemd, and must not end in a slice of its.
    PROGRAMS["agent"].append("--no-systemd_enable_support")


def wait_for(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """The first true value of `condition`; who does not answer yet is asked again."""
    return wait_until(condition, deadline, what, passing=OSError, pause=0.05)


def domain(region: str, zone: str) -> str:
    return json.dumps({"fault_domain": {"region": {"name": region}, "zone": {"name": zone}}})


class Process:
    """One master or agent and its log."""

    def __init__(
        self, program: str, flags: list[str], log: Path, environment: dict[str, str] | None = None
    ) -> None:
        self._arguments = [*PROGRAMS[program], *flags]
        self._environment = environment or {}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MESOS_")}
        environment |= self._environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(DEADLINE)

    def stop(self) -> None:
        if self.process is not None and self.runs:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(DEADLINE)


class Cluster:
    """A master and agents, started here or running elsewhere.

    Attributes:
        own: its processes were started here, and may be killed.
        agents: processes of our own agents, none when the cluster runs elsewhere.
        environment: variables for master and agents.
    """

    def __init__(
        self,
        master: str,
        credential: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = master
        self.master = Http(master, credential, tls)
        self.environment: dict[str, str] = {}
        self.processes: list[Process] = []
        self.agents: list[Process] = []
        self.own = False

    @property
    def embedded(self) -> bool:
        """Whether this is the embedded engine."""
        return self.own and PROGRAMS == EMBEDDED

    def wait_for_master(self, deadline: float = DEADLINE) -> None:
        """Until it leads and has read its registry: before that it says 404, 307 or 503."""
        wait_for(
            lambda: self.master.operator("GET_HEALTH").status in {200, 401, 403},
            "the master leads",
            deadline,
        )

    def wait_for_agents(self, count: int) -> None:
        def registered() -> bool:
            for agent in self.agents:
                assert agent.process is not None
                assert agent.process.poll() is None, agent.log.read_text()
            slaves = self.master.get("/slaves").json["slaves"]
            return sum(slave["active"] for slave in slaves) >= count

        wait_for(registered, f"{count} agents registered")

    def stop(self) -> None:
        """End everything, executors included: agents that were killed left theirs behind."""
        homes = [str(agent.log.parent) for agent in self.agents]
        # Those of an agent that does not run wait for its return.
        ending = [str(agent.log.parent) for agent in self.agents if agent.runs]
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not _executors(ending), "no executor is left", 5)
        for process in reversed(self.processes):
            process.stop()
        for pid in _executors(homes):
            _kill_tree(pid)


def _executors(homes: Sequence[str]) -> list[int]:
    """Processes that agents with these directories started, and that name one or were told it."""
    found = []
    for path in Path("/proc").glob("[0-9]*") if homes else ():
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            if any(f"{home}/work/".encode() in words for home in homes):
                found.append(int(path.name))
    return found


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(pid, signal.SIGKILL)
        for child in children:
            _kill_tree(int(child))


def start_master(
    cluster: Cluster, directory: Path, *flags: str, in_memory: bool = True, patience: int = 3
) -> Process:
    """A master that gives an agent up after `patience` seconds of silence."""
    host, _, port = cluster.address.rpartition(":")
    process = Process(
        "master",
        [
            f"--ip={host}",
            f"--port={port}",
            f"--hostname={host}",
            "--cluster=lab",
            f"--domain={domain(*REGIONS[0])}",
            f"--work_dir={directory}",
            *(["--registry=in_memory"] if in_memory else []),
            "--agent_ping_timeout=1secs",
            f"--max_agent_ping_timeouts={patience}",
            *flags,
        ],
        directory / "master.log",
        cluster.environment,
    )
    process.start()
    cluster.processes.append(process)

    def answers() -> bool:
        if process.process is not None and process.process.poll() is not None:
            raise AssertionError(process.log.read_text())
        return cluster.master.get("/health").status == 200

    wait_for(answers, "the master answers")
    cluster.wait_for_master()
    return process


def start_agent(cluster: Cluster, directory: Path, number: int, *flags: str) -> Process:
    home = directory / f"agent{number}"
    home.mkdir(parents=True, exist_ok=True)
    region, zone = REGIONS[number % len(REGIONS)]
    low = 31000 + 1000 * number
    process = Process(
        "agent",
        [
            f"--master={cluster.address}",
            "--ip=127.0.0.1",
            "--hostname=127.0.0.1",
            f"--port={free_port()}",
            f"--work_dir={home / 'work'}",
            f"--runtime_dir={home / 'run'}",
            f"--fetcher_cache_dir={home / 'cache'}",
            f"--resources=cpus:4;mem:4096;disk:4096;ports:[{low}-{low + 999}]",
            f"--attributes=rack:r{number + 1};os:linux",
            f"--domain={domain(region, zone)}",
            "--launcher=posix",
            "--isolation=posix/cpu,posix/mem",
            "--no-switch_user",
            *flags,
        ],
        home / "agent.log",
        cluster.environment,
    )
    process.start()
    cluster.processes.append(process)
    cluster.agents.append(process)
    return process


def local_cluster(directory: Path, agents: int = 2, master_flags: Sequence[str] = ()) -> Cluster:
    cluster = Cluster(f"127.0.0.1:{free_port()}")
    cluster.own = True
    try:
        # None of these agents is meant to be lost, however busy the machine is.
        start_master(cluster, directory, *master_flags, patience=30)
        for number in range(agents):
            start_agent(cluster, directory, number)
        cluster.wait_for_agents(agents)
    except BaseException:
        cluster.stop()
        raise
    return cluster
