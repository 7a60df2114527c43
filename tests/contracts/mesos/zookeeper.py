"""A ZooKeeper for tests: Debian's where it is installed, otherwise a double of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests.ports import free_port

from .engine import wait_for
from .zookeeper_double import ZooKeeperDouble

JARS = Path(os.environ.get("ZOOKEEPER_JARS", "/usr/share/java"))
"""Where Debian's package libzookeeper-java and those that it needs have their jars."""
NEEDED = ("zookeeper", "zookeeper-jute", "slf4j-api", "netty-handler", "netty-common")
ALSO = ("netty-buffer", "netty-transport", "metrics-core", "snappy-java", "slf4j-nop")


class ZooKeeper(Protocol):
    """One member, listening on `address`."""

    address: str

    def stop(self) -> None: ...


def installed() -> bool:
    """Whether ZooKeeper itself can be started here."""
    return shutil.which("java") is not None and all(
        (JARS / f"{name}.jar").exists() for name in NEEDED
    )


class DebianZooKeeper:
    """A process of ZooKeeper with an empty directory."""

    def __init__(self, directory: Path, heap_mb: int = 64) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        settings = {
            "tickTime": 250,
            "dataDir": directory / "zookeeper",
            "clientPort": port,
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "minSessionTimeout": 500,
            "maxSessionTimeout": 60000,
        }
        file = directory / "zoo.cfg"
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        paths = ":".join(str(JARS / f"{name}.jar") for name in (*NEEDED, *ALSO))
        options = (f"-Xmx{heap_mb}m", "-XX:TieredStopAtLevel=1", "-cp", paths)
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        with (directory / "zookeeper.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["java", *options, main, str(file)], stdout=log, stderr=log
            )
        wait_for(self._answers, "ZooKeeper answers")

    def _answers(self) -> bool:
        assert self._process.poll() is None, "ZooKeeper did not start"
        host, _, port = self.address.partition(":")
        with socket.create_connection((host, int(port)), 1) as probe:
            probe.sendall(b"srvr")
            return b"Mode: standalone" in probe.recv(4096)

    def stop(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
            return
        self._process.kill()
        self._process.wait(10)


def start_zookeeper(directory: Path) -> ZooKeeper:
    return DebianZooKeeper(directory) if installed() else ZooKeeperDouble()
