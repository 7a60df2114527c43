"""Two real API servers behind a node's balancer: people notice nothing when one of them ends."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from tests.ports import free_port

from kubedcos.kubernetes import node
from kubedcos.kubernetes.kube_api import ApiError, KubeApi, tls_context
from kubedcos.kubernetes.launcher import balance
from kubedcos.kubernetes.pki import HOUR, Profile
from kubedcos.kubernetes.vault import Ca

from .site import Site, site_with, until

pytestmark = pytest.mark.long

ETCD, FIRST, SECOND = "127.77.1.1", "127.77.1.11", "127.77.1.12"
ENDPOINTS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


def start_api_server(site: Site, program: Path, index: int, address: str) -> None:
    changes = {
        "0.0.0.0": address,
        **{f"etcd-{member}.kubernetes.mesos": ETCD for member in range(3)},
        f"--advertise-address={address}": f"--advertise-address=10.255.0.{index + 1}",
        "/var/log/kubedcos": str(site.folder / address),
    }
    at = site.situation("kube-apiserver", f"kube-apiserver-{index}", address)
    site.launch("kube-apiserver", at, program, changes)


def start_balancer(site: Site, port: int) -> subprocess.Popen[bytes]:
    """The node's own, as a process, with a resolver that knows the API servers."""
    config = node.balancer_config(site.situation("kube-apiserver", "kube-apiserver-0", FIRST))
    ca = site.folder / "ca.crt"
    ca.write_bytes(site.vault.authority(Ca.CLUSTER).certificate_pem)
    file = site.folder / "balance.json"
    file.write_text(json.dumps(config | {"listen": ["127.0.0.1", port], "ca": str(ca)}))
    program = site.folder / "balance.py"
    program.write_text(
        f"import sys\nsys.path[:0] = [{str(Path(balance.__file__).parent)!r}]\nimport balance\n"
        "async def resolve(self):\n"
        f"    self.accept({{{FIRST!r}, {SECOND!r}}})\n"
        "balance.Cluster.resolve = resolve\n"
        "sys.exit(balance.main(sys.argv[1:]))\n"
    )
    with (site.folder / "balance.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-I", str(program), str(file)], stderr=log)


def test_an_api_server_that_ends_takes_nobody_with_it(
    tmp_path: Path, etcd_program: Path, api_server_program: Path
) -> None:
    async def story() -> None:
        async with site_with(tmp_path, etcd_program) as site, AsyncExitStack() as stack:
            await site.stage("etcd-0", ETCD)
            for index, address in enumerate((FIRST, SECOND)):
                start_api_server(site, api_server_program, index, address)
            port = free_port()
            site.running["balancer"] = start_balancer(site, port)
            people = await stack.enter_async_context(_administrator(site))
            client = KubeApi(f"https://127.0.0.1:{port}", people)

            async def advertised() -> list[str]:
                slices = await client.get(ENDPOINTS)
                return sorted(a for end in slices["endpoints"] for a in end["addresses"])

            await until(lambda: _equal(advertised, ["10.255.0.1", "10.255.0.2"]), 150)
            await until(lambda: _ready(site, FIRST, SECOND))
            ending = site.running["kube-apiserver-0"]
            ending.send_signal(signal.SIGTERM)
            asked = 0
            deadline = time.monotonic() + 60
            while ending.poll() is None:
                assert time.monotonic() < deadline
                # A new connection each time, as programs that come and go make them.
                async with _administrator(site) as fresh:
                    await KubeApi(f"https://127.0.0.1:{port}", fresh).get("/api/v1/namespaces")
                asked += 1
            assert asked > 10
            # The Service that Kubernetes pods use leads to who is left.
            await until(lambda: _equal(advertised, ["10.255.0.2"]))

    asyncio.run(story())


async def _ready(site: Site, *addresses: str) -> bool:
    """The balancer said of each of them last that it is ready."""
    log = (site.folder / "balance.log").read_text()
    last = dict(re.findall(r"(?m)^balance: (\S+) is (ready|not ready)\b", log))
    return all(last.get(address) == "ready" for address in addresses)


async def _equal(look: Callable[[], Awaitable[list[str]]], wanted: list[str]) -> bool:
    try:
        return bool(await look() == wanted)
    except ApiError:
        return False


def _administrator(site: Site) -> httpx2.AsyncClient:
    authority = site.vault.authority(Ca.CLUSTER)
    profile = Profile("test", organizations=("system:masters",), client=True, lifetime=HOUR)
    pair = authority.issue_pair(profile, time.time())
    return httpx2.AsyncClient(verify=tls_context(authority.certificate_pem, pair), trust_env=False)
