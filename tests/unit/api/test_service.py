"""The service as a process, asked by the command line over TLS."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests import artifact_server
from tests.ports import free_port
from tests.waiting import wait_until

from kubedcos.api import identity, settings
from kubedcos.cli import contexts
from kubedcos.errors import InvalidInput

pytestmark = pytest.mark.long

START_SECONDS = 60.0


@pytest.fixture
def artifacts_url() -> Iterator[str]:
    with artifact_server.serving() as url:
        yield url


@dataclass
class Service:
    config: Path
    port: int
    folder: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBEDCOS_CONFIG": str(self.folder / "cli")}

    def start(self) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "kubedcos.cli.main", "scheduler", "run"]
        program = subprocess.Popen(
            [*argv, "--config", str(self.config)], stderr=subprocess.PIPE, text=True
        )
        try:
            # Its port first: a command line costs as much as the whole start.
            wait_until(lambda: program.poll() is not None or self._listens(), START_SECONDS)
            context = self.cli("scheduler", "context", "--config", str(self.config))
            assert context.returncode == 0, context.stderr
            contexts = self.folder / "cli/contexts"
            contexts.mkdir(parents=True, exist_ok=True)
            (contexts / "test.json").write_text(context.stdout)
            wait_until(
                lambda: program.poll() is not None or self.cli("cluster", "list").returncode == 0,
                START_SECONDS,
            )
            assert program.poll() is None, "it has ended"
        except BaseException as error:
            program.kill()
            error.add_note(program.communicate()[1])
            raise
        return program

    def _listens(self) -> bool:
        with socket.socket() as link:
            return link.connect_ex(("127.0.0.1", self.port)) == 0

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kubedcos.cli.main", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def service(tmp_path: Path) -> Service:
    port, nobody = free_port(), free_port()
    config = tmp_path / "scheduler.yml"
    settings = {
        "state_dir": str(tmp_path / "state"),
        "api": {"listen": "127.0.0.1", "port": port, "addresses": ["127.0.0.1"]},
        "mesos": {"masters": f"127.0.0.1:{nobody}"},
    }
    config.write_text(yaml.safe_dump(settings))
    return Service(config, port, tmp_path)


def test_the_life_of_a_service(service: Service, artifacts_url: str, tmp_path: Path) -> None:
    options = tmp_path / "cluster.yml"
    options.write_text(
        yaml.safe_dump({"name": "k1", "version": "1.36.3", "artifacts": {"url": artifacts_url}})
    )
    program = service.start()
    try:
        created = service.cli("cluster", "create", str(options), "--json")
        assert created.returncode == 0, created.stderr
        assert json.loads(created.stdout)["changed"] is True
        assert "nothing to change" in service.cli("cluster", "create", str(options)).stdout

        assert json.loads(service.cli("plan", "show", "--json").stdout)["name"] == "deploy"
        assert service.cli("plan", "show").stdout.startswith("deploy (PENDING)")
        assert "kube-node-1" in service.cli("pod", "list").stdout
        assert service.cli("pod", "show", "etcd-0").returncode == 0
        assert service.cli("pod", "show", "etcd-9").returncode == 2
        assert service.cli("kubeconfig").returncode == 2
        assert service.cli("doctor").returncode == 1
        _steer(service, tmp_path)
        waiting = service.cli("cluster", "create", str(options), "--wait", "0.1")
        assert waiting.returncode == 4

        secret_files = [path for path in (tmp_path / "state").rglob("*.key") if path.is_file()]
        assert secret_files
        assert all(path.stat().st_mode & 0o077 == 0 for path in secret_files)

        deleted = service.cli("cluster", "delete", "k1", "--yes")
        assert deleted.returncode == 0, deleted.stderr
        assert json.loads(service.cli("cluster", "list", "--json").stdout) == []
    finally:
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=60)
    assert program.returncode == 0, said
    assert "Traceback" not in said
    token = (tmp_path / "state/api/operator-token").read_text().strip()
    assert token not in said


def _steer(service: Service, folder: Path) -> None:
    """What an operator does with a service that lives, and what he sees of it."""
    paused = service.cli("plan", "pause", "deploy", "etcd", "-m", "Wartung: früh")
    assert (paused.returncode, paused.stdout) == (0, "paused deploy/etcd\n"), paused.stderr
    assert "paused deploy/etcd" not in service.cli("plan", "pause", "deploy", "etcd").stdout
    assert service.cli("plan", "pause", "deploy", "etdc").returncode == 2
    assert "phase etcd is paused by" in service.cli("plan", "show").stdout
    actions = json.loads(service.cli("cluster", "actions", "--json").stdout)
    assert [action["what"] for action in actions][-2:] == [
        "plan pause deploy/etcd",
        "cluster create",
    ]
    assert actions[-2]["why"] == "Wartung: früh"
    assert service.cli("plan", "resume", "deploy", "etcd").returncode == 0

    status = json.loads(service.cli("status", "-o", "json").stdout)
    assert (status[0]["name"], status[0]["stage"]) == ("k1", "connecting")
    assert service.cli("status", "--wait", "0.1s").returncode == 4
    assert "Events:" in service.cli("pod", "describe", "etcd-0").stdout
    assert service.cli("logs", "etcd-0").returncode == 4
    assert service.cli("pod", "pause", "etcd-0", "-m", "test").returncode == 0
    assert service.cli("pod", "resume", "etcd-0").returncode == 0

    archive = folder / "support.tar.gz"
    assert service.cli("doctor", "--file", str(archive)).returncode == 1
    unpacked = subprocess.run(
        ["tar", "--extract", "--to-stdout", "--file", str(archive)], capture_output=True, check=True
    ).stdout
    assert b"plan pause deploy/etcd" in unpacked
    state = folder / "state"
    secrets = [state / "api/operator-token", state / "api/scrape-token"]
    secrets += [path for path in (state / "clusters/k1/vault").iterdir() if path.is_file()]
    assert len(secrets) > 2
    for path in secrets:
        lines = [line for line in path.read_bytes().splitlines() if b"CERTIFICATE" not in line]
        private = path.read_bytes().partition(b"PRIVATE KEY")[2].splitlines()[1:] or lines
        assert all(line not in unpacked for line in private if len(line) > 20), path


def test_changes_of_a_cluster(service: Service, artifacts_url: str, tmp_path: Path) -> None:
    options = tmp_path / "cluster.yml"
    wanted = {"name": "k1", "artifacts": {"url": artifacts_url}}
    options.write_text(yaml.safe_dump(wanted))
    program = service.start()
    try:
        assert service.cli("cluster", "create", str(options)).returncode == 0
        options.write_text(yaml.safe_dump({**wanted, "node": {"count": 3}}))
        pending = service.cli("cluster", "update", str(options), "--dry-run")
        assert pending.returncode == 3, pending.stderr
        assert "node.count" in pending.stdout
        assert "2 -> 3" in pending.stdout
        assert service.cli("cluster", "create", str(options)).returncode == 3
        updated = service.cli("cluster", "update", str(options), "--yes", "--json")
        assert updated.returncode == 0, updated.stderr
        assert json.loads(updated.stdout)["configuration"] == 2
        same = service.cli("cluster", "update", str(options), "--dry-run")
        assert (same.returncode, same.stdout.strip()) == (
            0,
            "nothing to change: it is configuration 2",
        )
        never = tmp_path / "never.yml"
        never.write_text(yaml.safe_dump({"name": "k1", "role": "other"}))
        refused = service.cli("cluster", "update", str(never), "--yes")
        assert refused.returncode == 3
        assert "options: role" in refused.stderr
        gone = service.cli("cluster", "scale", "--remove", "kube-node-0", "--yes", "--json")
        assert gone.returncode == 0, gone.stderr
        assert service.cli("pod", "show", "kube-node-0").returncode == 2
        back = service.cli("cluster", "rollback", "--to", "2", "--yes")
        assert back.returncode == 0, back.stderr
        history = json.loads(service.cli("cluster", "history", "--json").stdout)
        assert [made["number"] for made in history] == [4, 3, 2, 1]
        assert json.loads(service.cli("cluster", "leftovers", "--json").stdout) == []
    finally:
        program.terminate()
        program.communicate(timeout=60)


def test_killed_and_started_again_it_knows_its_clusters(
    service: Service, artifacts_url: str, tmp_path: Path
) -> None:
    options = tmp_path / "cluster.yml"
    options.write_text(yaml.safe_dump({"name": "k1", "artifacts": {"url": artifacts_url}}))
    program = service.start()
    service.cli("cluster", "create", str(options))
    program.kill()
    program.communicate()

    program = service.start()
    try:
        assert [c["name"] for c in json.loads(service.cli("cluster", "list", "--json").stdout)] == [
            "k1"
        ]
    finally:
        program.terminate()
        program.communicate(timeout=60)


def test_wrong_settings_are_named_before_anything_starts(service: Service) -> None:
    service.config.write_text("mesos: {}\nprot: 1\n")
    shown = service.cli("scheduler", "check", "--config", str(service.config))
    assert shown.returncode == 2
    assert "mesos.masters" in shown.stderr
    assert "prot" in shown.stderr


def test_no_context_before_the_first_start(service: Service) -> None:
    shown = service.cli("scheduler", "context", "--config", str(service.config))
    assert (shown.returncode, shown.stdout) == (4, "")


def test_a_context_is_kept_for_its_owner_alone_and_written_only_where_it_differs(
    service: Service,
) -> None:
    identity.ensure(settings.load(service.config).identity_dir, ["127.0.0.1"], time.time())
    file = service.folder / "root" / "contexts" / "test.json"

    def keep(*more: str) -> bool:
        words = ("scheduler", "context", "--config", str(service.config), "--keep", str(file))
        shown = service.cli(*words, *more)
        assert shown.returncode == 0, shown.stderr
        answer = json.loads(shown.stdout)
        if file.exists():
            assert json.loads(file.read_text()) == answer["context"]
            assert contexts.read(file).token == answer["context"]["token"]
        return bool(answer["changed"])

    assert keep("--dry-run")
    assert not file.exists()
    assert keep()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not keep()
    file.chmod(0o644)
    assert keep()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_port_that_is_taken_ends_the_service_with_a_sentence(service: Service) -> None:
    with socket.create_server(("127.0.0.1", service.port)):
        done = service.cli("scheduler", "run", "--config", str(service.config))
    assert done.returncode == 1
    said = f"kubedcos: the service has ended: cannot listen on 127.0.0.1:{service.port}"
    assert said in done.stderr.splitlines()[-1]


def test_a_password_in_an_address_is_not_shown(tmp_path: Path) -> None:
    config = tmp_path / "scheduler.yml"
    config.write_text(yaml.safe_dump({"mesos": {"masters": "zk://ann:s3cret@m1:2181"}}))
    with pytest.raises(InvalidInput, match=r"mesos\.masters: found zk://…@m1:2181; wanted"):
        settings.load(config)


@pytest.mark.parametrize("masters", ["", "zk://", "m1:5050,", "m1:port", "zk://m1:2181"])
def test_masters_that_are_no_address_are_found_by_the_check(tmp_path: Path, masters: str) -> None:
    config = tmp_path / "scheduler.yml"
    config.write_text(yaml.safe_dump({"mesos": {"masters": masters}}))
    with pytest.raises(InvalidInput) as caught:
        settings.load(config)
    said = str(caught.value)
    assert said.startswith(f"{config}: mesos.masters: found {masters or 'nothing'}; wanted ")
    assert said.endswith("zk://host:port,host:port/path")
