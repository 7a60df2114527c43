"""A master and an agent with a relay on every way between them, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

from tests.contracts.mesos.client import Http
from tests.contracts.mesos.engine import (
    REGIONS,
    Cluster,
    Process,
    domain,
    start_master,
    wait_for,
)
from tests.ports import free_port

from .relay import Relay

MESSAGES = {
    "CHECKPOINT_RESOURCES": "ApplyOperation",
    "RUN_TASKS": "RunTask",
    "KILL_TASK": "KillTask",
    "ACKNOWLEDGE": "StatusUpdateAcknowledgement",
}
"""What Apache Mesos calls the messages of `kubedcos.embedded.protocol`."""
STATES = {"TASK_STARTING": 0, "TASK_KILLED": 4}
"""Numbers in `mesos.proto`."""
PATIENCE = 60.0
"""Seconds that a process may take to come back."""
CLEAN = 30.0
"""Seconds in which all that belonged to a task is gone."""


class Lab:
    """Made once for many stories; each must leave it as it found it.

    Attributes:
        scheduler_side: relay between framework and master.
        master_side: relay from the agent to the master.
        agent_side: relay from the master to the agent.
        broken: a story failed here: nothing that follows would mean anything.
    """

    def __init__(self, directory: Path) -> None:
        self.home = directory
        self.starts = directory / "starts"
        self.starts.mkdir()
        self.broken = False
        self.cluster = Cluster(f"127.0.0.1:{free_port()}")
        self.cluster.own = True
        self.master = self.cluster.master
        self.scheduler_side = Relay(self.master.port)
        self.master_side = Relay(self.master.port)
        agent_port = free_port()
        self.agent_side = Relay(agent_port)
        self.through_relay = Http(f"127.0.0.1:{self.scheduler_side.port}")
        self.cgroups_root = f"kubedcos-survival-{uuid.uuid4().hex[:8]}"
        try:
            # An agent that is only restarted is back before that, also on a busy machine.
            self.master_process = start_master(
                self.cluster,
                directory,
                f"--advertise_port={self.master_side.port}",
                in_memory=False,
                patience=10,
            )
            self.agent_process = self._agent(agent_port)
            self.agent_process.start()
            self.wait_for_agent()
        except BaseException:
            self.close()
            raise

    def _agent(self, port: int) -> Process:
        root = os.geteuid() == 0
        process = Process(
            "agent",
            [
                f"--master=127.0.0.1:{self.master_side.port}",
                "--ip=127.0.0.1",
                "--hostname=127.0.0.1",
                f"--port={port}",
                f"--advertise_port={self.agent_side.port}",
                f"--work_dir={self.home / 'work'}",
                f"--runtime_dir={self.home / 'run'}",
                f"--fetcher_cache_dir={self.home / 'cache'}",
                "--resources=cpus:4;mem:4096;disk:4096",
                f"--domain={domain(*REGIONS[0])}",
                f"--launcher={'linux' if root else 'posix'}",
                f"--isolation={'filesystem/linux,' if root else ''}posix/cpu,posix/mem",
                f"--cgroups_root={self.cgroups_root}",
                "--no-switch_user",
                "--registration_backoff_factor=100ms",
                "--executor_shutdown_grace_period=1secs",
            ],
            self.home / "agent.log",
        )
        self.cluster.processes.append(process)
        self.cluster.agents.append(process)
        return process

    # What goes between them

    def message(self, kind: str) -> bytes:
        """What a message from the master to the agent has in it."""
        if self.cluster.embedded:
            return f'"type":"{kind}"'.encode()
        return f"/mesos.internal.{MESSAGES[kind]}Message ".encode()

    def status(self, task_id: str, state: str) -> bytes:
        """What the agent's message about a state of a task has in it."""
        if self.cluster.embedded:
            return f'"state":"{state}"'.encode()
        return task_id.encode() + bytes([2 << 3, STATES[state]])  # field 2 behind the task's id

    # The victims

    def restart_master(self) -> None:
        self.master_process.start()
        self.cluster.wait_for_master(PATIENCE)
        self.wait_for_agent()

    def kill_agent(self) -> None:
        """Returns when the master has noticed."""
        self.agent_process.kill()
        wait_for(lambda: not self._agents(active=True), "the master misses the agent", PATIENCE)

    def start_agent(self) -> None:
        self.agent_process.start()
        self.wait_for_agent()

    def cut_agent(self) -> None:
        """Cut both ways to the agent until the master gives it up."""
        self.agent_side.cut()
        self.master_side.cut()
        wait_for(lambda: not self._agents(), "the master gives the agent up", PATIENCE)

    def heal_agent(self) -> None:
        for side in (self.agent_side, self.master_side):
            side.heal()
            side.close_severed()
        self.wait_for_agent()

    def kill_executors(self) -> None:
        for pid in self.executors():
            self.kill(pid)

    def kill(self, pid: int) -> None:
        """One process of a container."""
        os.kill(pid, signal.SIGKILL)

    def wait_for_agent(self) -> None:
        wait_for(lambda: self._agents(active=True), "the agent is registered", PATIENCE)

    def _agents(self, *, active: bool = False) -> list[Any]:
        slaves = self.master.get("/slaves").json["slaves"]
        return [slave for slave in slaves if slave["active"] or not active]

    # What there is

    def executors(self) -> list[int]:
        mark = "launch.json" if self.cluster.embedded else "mesos-executor"
        return [pid for pid, words in self._processes() if mark in words]

    def connected(self, framework_id: str) -> bool:
        frameworks = self.master.get("/frameworks").json["frameworks"]
        return any(one["id"] == framework_id and one["connected"] for one in frameworks)

    def started(self, task_id: str) -> int:
        """How often a task's command ran."""
        path = self.starts / task_id
        return len(path.read_text().split()) if path.exists() else 0

    def checkpointed(self, task_id: str) -> bool:
        pattern = f"slaves/*/frameworks/*/executors/{task_id}/runs/*/**/task.info"
        return any((self.home / "work/meta").glob(pattern))

    def _processes(self) -> list[tuple[int, str]]:
        """Processes of containers: whatever names the agent's directory or writes below it."""
        own = {process.process.pid for process in self.cluster.processes if process.process}
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (
                    (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
                marks = (path / "environ").read_bytes().decode("utf-8", "replace")
                output = str((path / "fd/1").readlink())
                if f"{self.home}/work/" in words + marks + output and int(path.name) not in own:
                    found.append((int(path.name), words))
        return found

    def leftovers(self) -> list[str]:
        """Everything that belongs to a task and is still there."""
        found = [f"process {pid}: {words}" for pid, words in self._processes()]
        found += [f"socket {path}" for path in (self.home / "run/executors").glob("*")]
        found += [
            f"mount {line}"
            for line in Path("/proc/self/mounts").read_text().splitlines()
            # The agent shares its work directory's mount with its containers, as Mesos' does.
            if str(self.home) in line and line.split()[1] != f"{self.home}/work"
        ]
        found += [f"cgroup {path}" for path in self._cgroups("*/*")]
        state = self.master.get("/state").json
        for slave in state["slaves"]:
            used = {name: slave["used_resources"][name] for name in ("cpus", "mem", "disk")}
            if any(used.values()):
                found.append(f"used resources {used}")
            if slave["reserved_resources"]:
                found.append(f"reservations {slave['reserved_resources']}")
        for framework in state["frameworks"]:
            found.append(f"framework {framework['name']}")
        found += [f"volume {path}" for path in (self.home / "work/volumes/roles").glob("*/*")]
        return found

    def _cgroups(self, below: str) -> list[Path]:
        base = Path("/sys/fs/cgroup")
        places = [base / self.cgroups_root, *base.glob(f"*/{self.cgroups_root}")]
        pattern = below.partition("/")[2]
        return [path for place in places for path in place.glob(pattern) if path.is_dir()]

    def close(self) -> None:
        self.scheduler_side.close()
        self.master_side.close()
        self.agent_side.close()
        self.cluster.stop()
        for pid, _ in self._processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        while (
            subprocess.run(
                ["umount", self.home / "work"], capture_output=True, check=False
            ).returncode
            == 0
        ):
            pass
        base = Path("/sys/fs/cgroup")
        for place in (base / self.cgroups_root, *base.glob(f"*/{self.cgroups_root}")):
            below = sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True)
            for path in (*below, place):
                with contextlib.suppress(OSError):
                    path.rmdir()
