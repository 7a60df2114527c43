"""Members that hold a quorum restart in order, and a play that breaks off forgets none of them."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubedcos.kubernetes.pki import Authority, Profile

from .folder_hosts import FolderHost, Run, answering, run_role

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root"),
]

NAMES = ("leader", "other")
SETTING = 31001
Reply = Callable[[bytes, bool, bool], bytes]


def zookeeper_reply(_said: bytes, serves: bool, leads: bool) -> bytes:
    if not serves:
        return b"This ZooKeeper instance is not currently serving requests\n"
    return b"Mode: leader\n" if leads else b"Mode: follower\n"


def http(status: str, document: Any) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def master_reply(_said: bytes, serves: bool, leads: bool) -> bytes:
    elected = float(serves and leads)
    return http("200 OK", {"registrar/log/recovered": float(serves), "master/elected": elected})


def dns_reply(_said: bytes, serves: bool, _leads: bool) -> bytes:
    return http("200 OK" if serves else "500 Oops", {"Version": "1"})


def scheduler_reply(_said: bytes, serves: bool, leads: bool) -> bytes:
    if not serves:
        return http("500 Oops", {})
    role = "leader" if leads else "standby"
    return http("200 OK" if leads else "503 Standing by", {"role": role})


def program(file: Path) -> dict[str, str]:
    """Something to install, and what it is verified by."""
    file.write_text("#!/bin/sh\n")
    return {"url": file.as_uri(), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


@dataclass(frozen=True)
class Service:
    """One of the roles whose services restart one at a time.

    Attributes:
        role: its name.
        unit: the service.
        file: where it reads the setting that the story changes.
        setting: that input.
        reply: what a member answers, from what was said, whether it serves, and whether it leads.
        variables: the role's inputs, from the folder of its data.
        own: inputs of a single member, from its number and its port.
        tasks: the role's file of tasks.
        beside: another unit of the role, which is no member of anything.
        tls: whether it answers by TLS, with the authority in `data/api`; systemd itself then knows
            when it is up.
    """

    role: str
    unit: str
    file: str
    setting: str
    reply: Reply
    variables: Callable[[Path], Mapping[str, Any]]
    own: Callable[[int, int], Mapping[str, Any]]
    tasks: str = "main"
    beside: str = ""
    tls: bool = False


SERVICES = [
    Service(
        role="zookeeper",
        unit="zookeeper",
        file="/etc/zookeeper/kubedcos.cfg",
        setting="zookeeper_snapshots_kept",
        reply=zookeeper_reply,
        variables=lambda folder: {
            "zookeeper_packages": [],
            "zookeeper_members": {str(at): f"10.0.0.{at}" for at in (1, 2, 3)},
            "zookeeper_quorum_secret": "only-for-this-test",
            "zookeeper_data_dir": f"{folder}/{{{{ inventory_hostname }}}}/data",
            "zookeeper_ready_timeout": 1,
        },
        own=lambda at, port: {"zookeeper_myid": at, "zookeeper_client_port": port},
    ),
    Service(
        role="mesos_master",
        unit="mesos-master",
        file="/etc/mesos/master.env",
        setting="mesos_master_max_agent_ping_timeouts",
        reply=master_reply,
        variables=lambda folder: {
            "mesos_master_zookeeper": ["127.0.0.1:2181"],
            "mesos_master_count": 3,
            "mesos_master_ip": "127.0.0.1",
            "mesos_master_region": "dc-a",
            "mesos_master_zone": "a-1",
            "mesos_master_work_dir": f"{folder}/{{{{ inventory_hostname }}}}/data",
            "mesos_master_ready_timeout": 1,
        },
        own=lambda _at, port: {"mesos_master_port": port},
    ),
    Service(
        role="mesos_dns",
        unit="mesos-dns",
        file="/etc/mesos-dns/config.json",
        setting="mesos_dns_port",
        reply=dns_reply,
        variables=lambda folder: {
            "mesos_dns_masters": ["127.0.0.1:5050"],
            "mesos_dns_bin_dir": f"{folder}/{{{{ inventory_hostname }}}}/bin",
            "mesos_dns_coredns": program(folder / "coredns"),
            "mesos_dns_ready_timeout": 1,
        },
        own=lambda _at, port: {"mesos_dns_http_port": port},
    ),
    Service(
        role="kubernetes_framework",
        unit="kubedcos-scheduler",
        file="/etc/kubedcos/scheduler.yml",
        setting="kubernetes_framework_agent_lost_seconds",
        reply=scheduler_reply,
        variables=lambda folder: {
            "kubernetes_framework_program": "/bin/true",
            "kubernetes_framework_mesos": "127.0.0.1:5050",
            "kubernetes_framework_addresses": ["127.0.0.1"],
            "kubernetes_framework_state_dir": f"{folder}/{{{{ inventory_hostname }}}}/data",
            "kubernetes_framework_ready_timeout": 1,
        },
        own=lambda _at, port: {"kubernetes_framework_port": port},
        tasks="service",
        beside="kubedcos-api-front",
        tls=True,
    ),
]


@dataclass
class Ensemble:
    """Two of three members of a service, of which the other one does not serve.

    Attributes:
        fatal: whether a member with the changed setting does not serve either.
    """

    service: Service
    folder: Path
    hosts: dict[FolderHost, dict[str, Any]] = field(default_factory=dict)
    fatal: bool = True

    def converge(self) -> Run:
        """Run the role with the changed setting."""
        variables = {**self.service.variables(self.folder), self.service.setting: SETTING}
        return run_role(self.service.role, self.hosts, variables, self.service.tasks)

    def mend(self) -> None:
        """From now on members serve with the changed setting."""
        self.fatal = False
        for host in self.hosts:
            host.systemd.change(self.service.unit, active="active", fails=False)

    def answer(self, host: FolderHost) -> Callable[[bytes], bytes]:
        """What one member says."""

        def reply(said: bytes) -> bytes:
            changed = f"{SETTING}" in host.systemd.unit(self.service.unit)["read"].get(
                self.service.file, ""
            )
            down = self.fatal and (changed or host.name == "other")
            return self.service.reply(said, not down, host.name == "leader")

        return reply

    def restarted(self) -> list[str]:
        """Members that restarted since this was asked last."""
        restart = f"restart {self.service.unit}"
        return [host.name for host in self.hosts if restart in host.systemd.told()]


def identity(folder: Path) -> ssl.SSLContext:
    """What a member proves itself by; its authority's certificate is put into the folder."""
    now = time.time()
    authority = Authority.create("of this test", now)
    pair = authority.issue_pair(Profile("member", addresses=("127.0.0.1",), server=True), now)
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(authority.certificate_pem)
    (folder / "member.pem").write_bytes(pair.certificate_pem + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "member.pem")
    return context


@pytest.fixture(params=SERVICES, ids=lambda service: service.role)
def ensemble(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ensemble]:
    """Two members that run with other files than the role's."""
    service: Service = request.param
    unit = {
        "definition": f"/etc/systemd/system/{service.unit}.service",
        "reads": [service.file],
        "fails": service.tls,
    }
    units = {service.unit: unit} | ({service.beside: {}} if service.beside else {})
    made = Ensemble(service, tmp_path)
    with ExitStack() as stack:
        for at, name in enumerate(NAMES, start=1):
            host = FolderHost.make(tmp_path / name, units, "zookeeper")
            tls = identity(host.folder / "data/api") if service.tls else None
            port = stack.enter_context(answering(made.answer(host), tls))
            made.hosts[host] = dict(service.own(at, port))
        yield made


def test_what_a_broken_run_left_is_restarted_once_those_that_were_restarted_serve(
    ensemble: Ensemble,
) -> None:
    broken = ensemble.converge()
    assert "what the service logged" in " ".join(broken.failed), broken.text
    # It goes first, having nothing to lose; as it does not serve then, the leader is not touched.
    assert ensemble.restarted() == ["other"]
    again = ensemble.converge()
    assert "what the service logged" in " ".join(again.failed), again.text
    assert (again.changed, ensemble.restarted()) == ([], [])

    ensemble.mend()
    mended = ensemble.converge()
    assert not mended.failed, mended.text
    assert ensemble.restarted() == ["leader"]
    assert all(": Restart " in name for name in mended.changed), "no file was to be changed"
