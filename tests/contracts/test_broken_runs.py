"""A play that breaks off between files and the restart of who reads them: the next one restarts."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .folder_hosts import FolderHost, Run, answering, run_role
from .test_restarts import http

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root"),
    pytest.mark.skipif(sys.base_prefix.startswith("/usr/local"), reason="Python is laid over"),
]

UNITS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "dns": {"kubedcos-dns": {}},
    "mesos_dns": {"mesos-dns": {}},
    "bootstrap": {"docker-registry": {}, "nginx": {}},
    "mesos_agent": {"mesos-agent": {}},
}
LEFT_OVER = "usr/local/lib/kubedcos/mesos-agent-resources"
INDEX = '{"artifacts": []}'
METRICS = {"slave/registered": 1}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[dict[FolderHost, dict[str, Any]]]:
    """A host for each of the roles, named so, whose services run with nothing of the role's."""
    program = tmp_path / "coredns"
    program.write_text("CoreDNS\n")
    coredns = {
        "url": program.as_uri(),
        "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
    }
    export = tmp_path / "export/artifacts"
    export.mkdir(parents=True)
    (export / "index.json").write_text(INDEX)
    made: dict[FolderHost, dict[str, Any]] = {}
    with ExitStack() as stack:
        port = stack.enter_context(answering(lambda _said: http("200 OK", METRICS)))
        inputs: dict[str, dict[str, Any]] = {
            "dns": {
                "dns_artifact": coredns,
                "dns_program": f"{tmp_path}/dns/bin/coredns",
                "dns_address": "10.0.0.1",
                "dns_upstreams": ["10.0.0.2"],
                "dns_manage_resolver": False,
                "dns_saved_resolver": f"{tmp_path}/dns/saved.json",
            },
            "mesos_dns": {
                "mesos_dns_coredns": coredns,
                "mesos_dns_bin_dir": f"{tmp_path}/mesos_dns/bin",
                "mesos_dns_masters": ["127.0.0.1:5050"],
                "mesos_dns_http_port": port,
            },
            "bootstrap": {
                "bootstrap_packages": [],
                "bootstrap_export_dir": str(export.parent),
                "bootstrap_export_program": "",
                "bootstrap_root": f"{tmp_path}/bootstrap/served",
                "bootstrap_registry_port": port,
            },
            "mesos_agent": {
                "mesos_agent_master": "127.0.0.1:5050",
                "mesos_agent_ip": "127.0.0.1",
                "mesos_agent_port": port,
                "mesos_agent_region": "dc-a",
                "mesos_agent_zone": "a-1",
                "mesos_agent_work_dir": f"{tmp_path}/mesos_agent/work",
            },
        }
        for role, given in inputs.items():
            host = FolderHost.make(tmp_path / role, UNITS[role])
            validator = host.systemd.programs / "nginx"
            validator.write_text("#!/bin/sh\n")
            validator.chmod(0o755)
            host.systemd.refuse("restart")
            made[host] = {"tested_role": role, **given}
        left_over = tmp_path / "mesos_agent" / LEFT_OVER
        left_over.parent.mkdir(parents=True)
        left_over.write_text("#!/usr/bin/python3\n")
        yield made


def converge(hosts: dict[FolderHost, dict[str, Any]]) -> Run:
    return run_role("{{ tested_role }}", hosts, {}, together=False)


def test_what_a_broken_run_wrote_is_restarted_by_the_next(
    hosts: dict[FolderHost, dict[str, Any]], tmp_path: Path
) -> None:
    broken = converge(hosts)
    assert len(broken.failed) == len(hosts), broken.text
    assert all("Restart " in said for said in broken.failed), broken.failed
    # A program is one of the files that make who runs it outdated.
    for role, unit in (("dns", "kubedcos-dns"), ("mesos_dns", "mesos-dns")):
        note = json.loads((tmp_path / role / f"run/kubedcos/outdated/{unit}.service").read_text())
        assert f"{tmp_path}/{role}/bin/coredns" in note["files"]
    assert not (tmp_path / "mesos_agent" / LEFT_OVER).exists()

    for host in hosts:
        host.systemd.told()
        host.systemd.refuse()
    mended = converge(hosts)
    assert not mended.failed, mended.text
    assert len(mended.changed) == len(hosts), mended.changed
    for host in hosts:
        unit = next(iter(UNITS[host.name]))
        (told,) = host.systemd.told()
        assert told.removesuffix(".service") == f"restart {unit}"
