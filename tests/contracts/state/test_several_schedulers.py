"""Three schedulers as processes: one leads, and whatever becomes of it another goes on."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import artifact_server
from tests.contracts.mesos.engine import Cluster, start_master, wait_for
from tests.contracts.mesos.zookeeper import ZooKeeper
from tests.contracts.state.tunnel import Tunnel
from tests.ports import free_port

pytestmark = pytest.mark.long

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
TAKEOVER_SECONDS = 15.0
START_SECONDS = 60.0


@pytest.fixture(scope="module")
def artifacts_url() -> Iterator[str]:
    with artifact_server.serving() as url:
        yield url


@pytest.fixture(scope="module")
def mesos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(f"127.0.0.1:{free_port()}")
    try:
        start_master(cluster, tmp_path_factory.mktemp("master"))
        yield cluster
    finally:
        cluster.stop()


@dataclass
class Installation:
    """Hosts that differ in their address and their folder."""

    folder: Path
    zookeeper: str
    masters: str
    port: int = field(default_factory=free_port)
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def configure(self, host: str, *, several: bool = True) -> Path:
        home = self.folder / host
        home.mkdir(exist_ok=True)
        for name in ("password", "seal"):
            secret = home / name
            secret.write_text("0123456789" * 4)
            secret.chmod(0o600)
        settings: dict[str, Any] = {
            "state_dir": str(home / "state"),
            "api": {
                "listen": host,
                "port": self.port,
                "addresses": [host],
                "schedulers": list(HOSTS) if several else [host],
            },
            "mesos": {"masters": self.masters},
        }
        if several:
            settings["state"] = {
                "zookeeper": f"zk://{self.zookeeper}/{self.folder.name}",
                "password_file": str(home / "password"),
                "seal_file": str(home / "seal"),
                # A busy machine has to reconnect within it.
                "session_timeout_seconds": 4,
            }
        config = home / "scheduler.yml"
        config.write_text(yaml.safe_dump(settings))
        return config

    def start(self, host: str, **more: bool) -> None:
        config = self.configure(host, **more)
        argv = [sys.executable, "-m", "kubedcos.cli.main", "scheduler", "run"]
        with (self.folder / host / "log").open("ab") as log:
            self.programs[host] = subprocess.Popen(
                [*argv, "--config", str(config)], stdout=log, stderr=log
            )
        wait_for(lambda: self.health(host), f"{host} answers", START_SECONDS)

    def end(self, host: str, number: signal.Signals) -> None:
        program = self.programs.pop(host)
        program.send_signal(number)
        program.wait(30)

    def log(self, host: str) -> str:
        return (self.folder / host / "log").read_text()

    def ask(self, host: str, path: str) -> tuple[int, Any]:
        trusted = ssl.create_default_context(cafile=self.folder / host / "state/api/ca.crt")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        try:
            token = (self.folder / host / "state/api/operator-token").read_text().strip()
            request = urllib.request.Request(
                f"https://{host}:{self.port}/v1/{path}",
                headers={"Authorization": f"Bearer {token}"},
            )
            with opener.open(request, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def health(self, host: str) -> Any:
        program = self.programs.get(host)
        if program is not None and program.poll() is not None:
            raise AssertionError(self.log(host))
        if not (self.folder / host / "state/api/ca.crt").exists():
            return None
        return self.ask(host, "health")[1]

    def leader(self) -> str:
        leading = [h for h in self.programs if (self.health(h) or {}).get("role") == "leader"]
        return leading[0] if len(leading) == 1 else ""

    def cli(self, host: str, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line with the context of a host."""
        return subprocess.run(
            [sys.executable, "-m", "kubedcos.cli.main", *words],
            env={**os.environ, "KUBEDCOS_CONFIG": str(self.folder / host / "cli")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def context(self, host: str) -> dict[str, str]:
        """Writes the context of a host, too."""
        config = self.folder / host / "scheduler.yml"
        shown = self.cli(host, "scheduler", "context", "--config", str(config))
        assert shown.returncode == 0, shown.stderr
        contexts = self.folder / host / "cli/contexts"
        contexts.mkdir(parents=True, exist_ok=True)
        (contexts / "test.json").write_text(shown.stdout)
        found: dict[str, str] = json.loads(shown.stdout)
        return found

    def clusters(self, host: str) -> list[Any]:
        shown = self.cli(host, "cluster", "list", "--json")
        assert shown.returncode == 0, shown.stderr
        found: list[Any] = json.loads(shown.stdout)
        return found

    def subscribed(self) -> str:
        """Framework id of the cluster once its scheduler is connected."""
        leader = self.leader()
        if not leader:
            return ""
        status, clusters = self.ask(leader, "clusters")
        cluster = clusters[0] if status == 200 and clusters else {"connected": False}
        return str(cluster["framework_id"]) if cluster["connected"] else ""

    def create(self, host: str, artifacts_url: str) -> None:
        options = self.folder / "cluster.yml"
        options.write_text(yaml.safe_dump({"name": "k1", "artifacts": {"url": artifacts_url}}))
        made = self.cli(host, "cluster", "create", str(options), "--wait-for-capacity", "--json")
        assert made.returncode == 0, made.stderr


@pytest.fixture
def installation(tmp_path: Path, zookeeper: ZooKeeper, mesos: Cluster) -> Iterator[Installation]:
    made = Installation(tmp_path, zookeeper.address, mesos.address)
    yield made
    for host in list(made.programs):
        made.end(host, signal.SIGKILL)


def test_another_takes_over_with_the_same_framework_and_the_same_operators(
    installation: Installation, artifacts_url: str
) -> None:
    for host in HOSTS:
        installation.start(host)
    leader = wait_for(installation.leader, "one leads")
    contexts = {host: installation.context(host) for host in HOSTS}
    assert len({(c["ca_pem"], c["token"]) for c in contexts.values()}) == 1
    standby = next(host for host in HOSTS if host != leader)

    status, said = installation.ask(standby, "clusters")
    url = f"https://{leader}:{installation.port}"
    assert (status, said["leader"], said["exit_code"]) == (503, url, 4)
    assert installation.health(standby)["leader"] == url

    # The command line finds the one that leads, whichever it asks first.
    installation.create(standby, artifacts_url)
    framework_id = wait_for(installation.subscribed, "subscribed")

    installation.end(leader, signal.SIGKILL)
    killed_at = time.monotonic()
    new = wait_for(installation.leader, "another leads", TAKEOVER_SECONDS)
    after = wait_for(installation.subscribed, "subscribed", TAKEOVER_SECONDS)
    assert time.monotonic() - killed_at < TAKEOVER_SECONDS
    assert after == framework_id
    assert [cluster["name"] for cluster in installation.clusters(standby)] == ["k1"]

    # One that ends as it should hands over at once.
    installation.start(leader)
    assert installation.health(leader)["role"] == "standby"
    installation.end(new, signal.SIGTERM)
    third = wait_for(installation.leader, "the third leads", TAKEOVER_SECONDS)
    assert third not in {leader, new}
    assert wait_for(installation.subscribed, "subscribed") == framework_id
    token = contexts[leader]["token"]
    for host in HOSTS:
        assert "Traceback" not in installation.log(host)
        assert token not in installation.log(host)


def test_one_that_was_stopped_for_longer_than_its_session_does_nothing_more(
    installation: Installation, artifacts_url: str
) -> None:
    for host in HOSTS[:2]:
        installation.start(host)
        installation.context(host)
    old = wait_for(installation.leader, "one leads")
    new = next(host for host in HOSTS[:2] if host != old)
    installation.create(new, artifacts_url)
    framework_id = wait_for(installation.subscribed, "subscribed")
    program = installation.programs[old]
    program.send_signal(signal.SIGSTOP)

    def leads() -> bool:
        health = installation.health(new)
        return bool(health and health["role"] == "leader")

    wait_for(leads, "the other leads", TAKEOVER_SECONDS)
    program.send_signal(signal.SIGCONT)
    assert program.wait(30) == 1, "it ends, and systemd starts it again"
    del installation.programs[old]
    assert "may lead" in installation.log(old)
    assert "Traceback" not in installation.log(old)
    assert wait_for(installation.subscribed, "subscribed") == framework_id
    installation.start(old)
    assert installation.health(old)["role"] == "standby"


def test_one_without_a_rival_outlives_a_broken_connection_and_begins_anew_after_a_long_silence(
    tmp_path: Path, zookeeper: ZooKeeper, mesos: Cluster, artifacts_url: str
) -> None:
    tunnel = Tunnel(zookeeper.address)
    installation = Installation(tmp_path, tunnel.address, mesos.address)
    host = HOSTS[0]
    try:
        installation.start(host)
        installation.context(host)
        program = installation.programs[host]
        wait_for(installation.leader, "it leads")
        passed = tunnel.passed
        tunnel.cut()
        tunnel.mend()
        wait_for(lambda: tunnel.passed > passed, "it is connected again")
        installation.create(host, artifacts_url)
        framework_id = wait_for(installation.subscribed, "subscribed")
        assert program.poll() is None
        assert "may lead" not in installation.log(host)

        tunnel.cut()
        assert program.wait(30) == 1, "it ends, and systemd starts it again"
        del installation.programs[host]
        assert "may lead" in installation.log(host)
        tunnel.mend()
        installation.start(host)
        wait_for(installation.leader, "it leads again", TAKEOVER_SECONDS)
        assert wait_for(installation.subscribed, "subscribed") == framework_id
        assert "Traceback" not in installation.log(host)
    finally:
        for left in list(installation.programs):
            installation.end(left, signal.SIGKILL)
        tunnel.close()


def test_the_state_of_one_host_moves_when_others_come(
    installation: Installation, artifacts_url: str
) -> None:
    first, second = HOSTS[:2]
    installation.start(first, several=False)
    before = installation.context(first)
    installation.create(first, artifacts_url)
    framework_id = wait_for(installation.subscribed, "subscribed")

    config = installation.configure(first)
    used = installation.cli(first, "scheduler", "import", "--config", str(config))
    assert used.returncode == 1
    assert "another program has" in used.stderr
    installation.end(first, signal.SIGTERM)

    early = installation.cli(first, "scheduler", "run", "--config", str(config))
    assert early.returncode == 3
    assert "kubedcos scheduler import" in early.stderr

    for changed, clusters in ((True, ["k1"]), (False, [])):
        moved = installation.cli(first, "scheduler", "import", "--config", str(config))
        assert moved.returncode == 0, moved.stderr
        assert json.loads(moved.stdout) == {"changed": changed, "clusters": clusters}

    installation.start(second)
    installation.start(first)
    assert wait_for(installation.leader, "one leads") == second
    after = installation.context(second)
    assert (after["ca_pem"], after["token"]) == (before["ca_pem"], before["token"])
    assert wait_for(installation.subscribed, "subscribed") == framework_id

    installation.end(first, signal.SIGTERM)
    alone = installation.configure(first, several=False)
    back = installation.cli(first, "scheduler", "run", "--config", str(alone))
    assert back.returncode == 3
    assert "wanted state.zookeeper in the settings" in back.stderr
