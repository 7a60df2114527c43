"""An ensemble whose members change never has two leaders, nor one who knows nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .ansible_runs import ROOT
from .folder_hosts import FolderHost, Run, answering, run_role

CHECK = (ROOT / "roles/zookeeper/files/membership.sh").read_text()
CONFIGURATION = "etc/zookeeper/kubedcos.cfg"
SERVES_NOT = b"This ZooKeeper instance is not currently serving requests\n"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
pytestmark = pytest.mark.long


def configuration(*members: str) -> str:
    servers = [f"server.{at}={address}:2888:3888" for at, address in enumerate(members, start=1)]
    return "\n".join(["tickTime=2000", *servers, ""])


Check = Callable[[str | None, str, Mapping[str, bytes]], str]


@pytest.fixture
def refusal(tmp_path: Path) -> Check:
    """Why a host refuses a configuration, from what it has, and what each address answers."""

    def run(before: str | None, wanted: str, answers: Mapping[str, bytes]) -> str:
        old, new, port = tmp_path / "old.cfg", tmp_path / "new.cfg", 0
        new.write_text(wanted)
        old.unlink(missing_ok=True)
        if before is not None:
            old.write_text(before)
        with ExitStack() as stack:
            for address, answer in answers.items():
                there = answering(lambda _said, answer=answer: answer, address=address, port=port)
                port = stack.enter_context(there)
            done = subprocess.run(
                ["bash", "-c", CHECK, str(new), str(old), str(port or 1)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert (done.returncode == 0) == (not done.stderr), done
        return done.stderr

    return run


SELF, OTHER = "127.0.0.1", "127.0.0.2"
TWO, THREE = configuration(SELF, OTHER), configuration(SELF, OTHER, "127.0.0.3")


def test_members_change_where_this_one_serves_or_nobody_does(refusal: Check) -> None:
    for mode in (b"Mode: leader\n", b"Mode: follower\n"):
        assert not refusal(TWO, THREE, {SELF: mode, OTHER: b"Mode: follower\n"})
    assert not refusal(TWO, THREE, {SELF: SERVES_NOT, OTHER: SERVES_NOT})
    assert not refusal(TWO, THREE, {})


def test_members_do_not_change_while_another_serves_and_this_one_does_not(refusal: Check) -> None:
    for answers in ({SELF: SERVES_NOT, OTHER: b"Mode: leader\n"}, {OTHER: b"Mode: leader\n"}):
        assert "while 127.0.0.2 serves and this one does not" in refusal(TWO, THREE, answers)


def test_a_member_that_serves_alone_gets_no_others(refusal: Check) -> None:
    assert "serves alone" in refusal(configuration(), THREE, {SELF: b"Mode: standalone\n"})
    assert not refusal(configuration(), THREE, {})


def test_other_settings_and_new_hosts_are_not_refused(refusal: Check) -> None:
    down = {SELF: SERVES_NOT, OTHER: b"Mode: leader\n"}
    assert not refusal(TWO, TWO.replace("2000", "3000"), down)
    assert not refusal(None, THREE, down)
    assert not refusal(configuration(), configuration() + "x=1\n", {SELF: b"Mode: standalone\n"})


class Growing:
    """Two members of an ensemble that have a configuration of two, and a host beside them.

    Attributes:
        serving: members that say so while they run; the new one does from the second time on.
        before: members that had restarted when the new one said first that it serves.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        unit = {
            "definition": "/etc/systemd/system/zookeeper.service",
            "reads": ["/etc/zookeeper/kubedcos.cfg"],
        }
        self.folder = folder
        self.serving = {"leader", "new"}
        self.before: list[str] | None = None
        self.hosts: dict[FolderHost, dict[str, Any]] = {}
        self._asked = 0
        for at, name in enumerate(("leader", "other", "new"), start=1):
            state = {"active": "inactive", "at_boot": ""} if name == "new" else {}
            host = FolderHost.make(folder / name, {"zookeeper": {**unit, **state}}, "zookeeper")
            if name != "new":
                (host.folder / CONFIGURATION).parent.mkdir()
                (host.folder / CONFIGURATION).write_text(TWO)
            port = stack.enter_context(answering(self.answer(host)))
            self.hosts[host] = {"zookeeper_myid": at, "zookeeper_client_port": port}
            if name == "other":
                # Hosts of this test have one address; the leader is at another one for this one.
                seen = answering(lambda _said: b"Mode: leader\n", address=OTHER, port=port)
                stack.enter_context(seen)

    def answer(self, host: FolderHost) -> Callable[[bytes], bytes]:
        """What a member says."""

        def reply(_said: bytes) -> bytes:
            runs = host.systemd.unit("zookeeper")["active"] == "active"
            if not runs or host.name not in self.serving:
                return SERVES_NOT
            if host.name == "new":
                self._asked += 1
                if self._asked == 1:
                    return SERVES_NOT
                if self.before is None:
                    self.before = self.restarted()
            return b"Mode: leader\n" if host.name == "leader" else b"Mode: follower\n"

        return reply

    def restarted(self) -> list[str]:
        """Members that run with the configuration of three, the new one apart."""
        return [
            host.name
            for host in self.hosts
            if host.name != "new"
            and any("server.3" in text for text in host.systemd.unit("zookeeper")["read"].values())
        ]

    def converge(self, *names: str) -> Run:
        """Run the role with three members, on these."""
        variables = {
            "zookeeper_packages": [],
            "zookeeper_members": {"1": OTHER, "2": SELF, "3": "127.0.0.3"},
            "zookeeper_data_dir": f"{self.folder}/{{{{ inventory_hostname }}}}/data",
            "zookeeper_ready_timeout": 2,
        }
        hosts = {host: given for host, given in self.hosts.items() if host.name in names}
        return run_role("zookeeper", hosts, variables)


@as_root
def test_no_member_restarts_before_the_new_ones_have_joined_those_that_serve(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        growing = Growing(tmp_path, stack)
        refused = growing.converge("other")
        assert "this one does not" in " ".join(refused.failed), refused.text
        assert growing.restarted() == []

        growing.serving.add("other")
        whole = growing.converge("leader", "other", "new")
        assert not whole.failed, whole.text
        assert (growing.before, growing.restarted()) == ([], ["leader", "other"])
