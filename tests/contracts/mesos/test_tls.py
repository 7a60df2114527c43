"""A cluster that speaks TLS alone, by Mesos' own environment variables.

Statements of `mesos-flags.md` (`LIBPROCESS_SSL_*`).
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.ports import free_port

from kubedcos.mesos.client import HttpConnector
from kubedcos.mesos.detector import ListDetector, NoMaster
from kubedcos.mesos.messages import CallSubscribe, FrameworkCapability, FrameworkInfo
from kubedcos.mesos.tls import client_context

from .client import Http, launch, subscribed, task
from .engine import Cluster, start_agent, start_master


class Authority(Protocol):
    file: Path

    def issue(self, name: str, *names: str, addresses: tuple[str, ...] = ()) -> dict[str, str]: ...


@pytest.fixture(scope="module")
def names(authority: Authority) -> dict[str, str]:
    """Variables of master and agent: everybody needs a certificate of the authority."""
    return authority.issue("localhost", "localhost", addresses=("127.0.0.1",)) | {
        "LIBPROCESS_SSL_REQUIRE_CLIENT_CERT": "1",
        "LIBPROCESS_SSL_VERIFY_IPADD": "1",
    }


def context(names: dict[str, str], *, own: bool = True) -> ssl.SSLContext:
    """What a client of that cluster needs; without a certificate of its `own` perhaps."""
    files = [names[f"LIBPROCESS_SSL_{what}_FILE"] for what in ("CA", "CERT", "KEY")]
    return client_context(*files) if own else client_context(files[0])


@pytest.fixture(scope="module")
def closed(
    own_flags: None, names: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("tls")
    made = Cluster(f"127.0.0.1:{free_port()}", tls=context(names))
    made.environment = names
    try:
        start_master(made, directory)
        # Mesos gives an executor nothing of its agent's environment that begins with LIBPROCESS_.
        executors = json.dumps(names | {"PATH": os.environ["PATH"]})
        start_agent(made, directory, 0, f"--executor_environment_variables={executors}")
        made.wait_for_agents(1)
        yield made
    finally:
        made.stop()


@pytest.mark.contract(behaviour="tls")
def test_tasks_run_and_offers_say_http_all_the_same(closed: Cluster) -> None:
    """`Master::offer` names no other scheme."""
    with subscribed(closed.master, "tls") as framework:
        [offer] = framework.offers()
        assert offer["url"]["scheme"] == "http"
        framework.accept([offer], [launch(task(offer, "t", "exec sleep 100"))])
        framework.status("t", "TASK_RUNNING")
        address = offer["url"]["address"]
        agent = Http(f"{address['ip']}:{address['port']}", tls=closed.master.tls)
        assert agent.get("/state").json["frameworks"][0]["id"] == framework.id


@pytest.mark.contract(behaviour="tls")
def test_plain_http_gets_no_answer(closed: Cluster) -> None:
    with pytest.raises((OSError, http.client.HTTPException)) as caught:
        Http(closed.address).get("/health")
    assert not isinstance(caught.value, TimeoutError)


@pytest.mark.contract(behaviour="tls")
def test_a_client_without_a_certificate_gets_no_answer(
    closed: Cluster, names: dict[str, str]
) -> None:
    assert Http(closed.address, tls=context(names)).get("/health").status == 200
    with pytest.raises(OSError, match=r"alert|reset|EOF|closed"):
        Http(closed.address, tls=context(names, own=False)).get("/health")


@pytest.mark.contract(behaviour="tls")
def test_a_certificate_of_another_host_does_not_count(
    closed: Cluster, authority: Authority
) -> None:
    other = authority.issue("elsewhere", "elsewhere", addresses=("127.9.9.9",))
    with pytest.raises(OSError, match=r"alert|reset|EOF|closed"):
        Http(closed.address, tls=context(other)).get("/health")


@pytest.mark.contract(behaviour="tls staging")
def test_our_framework_client_speaks_it(closed: Cluster, names: dict[str, str]) -> None:
    async def framework_id(tls: ssl.SSLContext | None) -> str:
        connector = HttpConnector(ListDetector((closed.address,)), tls=tls)
        multi_role = (FrameworkCapability("MULTI_ROLE"),)
        info = FrameworkInfo("root", "client", roles=("lab",), capabilities=multi_role)
        connection = await connector.connect(CallSubscribe(info))
        await connection.close()
        return connection.subscribed.framework_id.value

    assert asyncio.run(framework_id(context(names)))
    with pytest.raises(NoMaster):
        asyncio.run(framework_id(None))
