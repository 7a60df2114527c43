"""Several masters and their ZooKeeper: processes started here, or those of any Mesos."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from tests.ports import free_port

from .client import DEADLINE, Http
from .engine import Cluster, Process, domain, start_agent, wait_for
from .zookeeper import ZooKeeper, start_zookeeper

Json = dict[str, Any]

SESSION_TIMEOUT = 5


class Ensemble:
    """Masters that share a path in ZooKeeper, given as ``host:port,…/path``."""

    def __init__(self, zk: str, credential: tuple[str, str] | None = None) -> None:
        self.zk, self.credential = zk, credential
        self._client: KazooClient | None = None

    def nodes(self) -> dict[str, tuple[Json, bool]]:
        """What masters wrote and whether it goes with them, by name, the leader's node first."""
        hosts, _, path = self.zk.partition("/")
        if self._client is None:
            self._client = KazooClient(hosts=hosts, read_only=True)
            self._client.start(30)
        found: dict[str, tuple[Json, bool]] = {}
        if self._client.exists(f"/{path}") is not None:
            for name in sorted(self._client.get_children(f"/{path}")):
                if name.startswith("json.info_"):
                    with suppress(NoNodeError):  # it has gone since it was listed
                        data, stat = self._client.get(f"/{path}/{name}")
                        found[name] = json.loads(data), stat.ephemeralOwner != 0
        return found

    def masters(self) -> list[Http]:
        """The leader first."""
        addresses = (info["address"] for info, _ in self.nodes().values())
        return [Http(f"{each['ip']}:{each['port']}", self.credential) for each in addresses]

    def stop(self) -> None:
        """End the session with ZooKeeper."""
        if self._client is not None:
            self._client.stop()
            self._client.close()


class OwnEnsemble(Ensemble):
    """Three masters, one agent, and a ZooKeeper with nothing else in it."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.zookeeper: ZooKeeper = start_zookeeper(directory)
        super().__init__(f"{self.zookeeper.address}/mesos")
        self.url = f"zk://{self.zk}"
        self.cluster = Cluster("127.0.0.1:0")
        self.cluster.address = self.url
        self.processes: dict[str, Process] = {}
        for number in range(3):
            home = directory / f"master{number}"
            home.mkdir()
            port = free_port()
            process = Process(
                "master",
                [
                    "--ip=127.0.0.1",
                    "--hostname=127.0.0.1",
                    f"--port={port}",
                    f"--zk={self.url}",
                    "--quorum=2",
                    f"--zk_session_timeout={SESSION_TIMEOUT}secs",
                    f"--work_dir={home}",
                    f"--domain={domain('dc-a', 'a1')}",
                    "--agent_ping_timeout=1secs",
                    *flags,
                ],
                home / "master.log",
            )
            process.start()
            self.processes[f"127.0.0.1:{port}"] = process
        self.cluster.processes += self.processes.values()
        self.agent = start_agent(self.cluster, directory, 0)

    def alive(self) -> list[str]:
        """Addresses of the masters that run."""
        return [
            address
            for address, made in self.processes.items()
            if made.process is not None and made.process.poll() is None
        ]

    def complete(self) -> None:
        """Wait until all masters take part, one leads, and the agent is there."""
        # Of two that are left none may go: Mesos' replicated log needs both.
        for address in self.processes.keys() - set(self.alive()):
            self.processes[address].start()

        def settled() -> bool:
            return len(self.nodes()) == len(self.alive()) and bool(
                self.leader().get("/slaves").json["slaves"]
            )

        wait_for(settled, "masters and agent are there", 2 * DEADLINE)

    def leader(self) -> Http:
        """Wait for a leader that has read its registry."""

        def found() -> Http | None:
            masters = map(Http, self.alive())
            metric = "master/elected"
            elected = (m for m in masters if m.get("/metrics/snapshot").json[metric] == 1.0)
            # Elected it still has to read.
            return next((m for m in elected if m.operator("GET_HEALTH").status == 200), None)

        leader: Http = wait_for(found, "a master leads")
        return leader

    def process_of(self, master: Http) -> Process:
        return self.processes[f"{master.host}:{master.port}"]

    def stop(self) -> None:
        self.cluster.stop()
        super().stop()
        self.zookeeper.stop()
